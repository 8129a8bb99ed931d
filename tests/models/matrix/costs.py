"""What masking adds to building a model's training graph, by the stopwatch of the benchmarks."""

from benchmarks.rewriting.measuring import Pair, build_once
from benchmarks.rewriting.training import Training
from tests.models.matrix.result import Costs


def costs_of(training: Training) -> Costs:
    """Builds a training graph as it is, and masked, and returns what was measured; all code has run before."""
    pair = Pair(build_once(training, masked=False), build_once(training, masked=True))
    assert not pair.masked.missing, pair.masked.missing
    return Costs(pair.dense.ops, pair.dense.seconds, sum(pair.phases.values()))
