"""From results of single runs to what is compared."""

import math
from enum import Enum
from statistics import mean, median
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from benchmarks.accuracy.counting import KINDS, MASKED
from benchmarks.accuracy.settings import Case, Run

Results = Sequence[Dict[str, Any]]


class Score(NamedTuple):
    """A case over its seeds.

    Attributes:
        case: the net.
        accuracies: of the seeds, in their order, 0 to 1.
        parameters: weights, biases and the factors and offsets of batch normalization, zero or not.
        nonzero: how many of these are not zero; the median of the seeds.
        masked_entries: of the weights that pruning masks, or would mask.
        masked_nonzero: how many of these are not zero; the median of the seeds.
        statistics: moving means and variances, which are in neither.
        raw: bytes of parameters and statistics.
        gzipped: the same by gzip; the median of the seeds.
        seconds: of training; the median of the seeds.
    """

    case: Case
    accuracies: Tuple[float, ...]
    parameters: int
    nonzero: int
    masked_entries: int
    masked_nonzero: int
    statistics: int
    raw: int
    gzipped: int
    seconds: float

    @property
    def mean(self) -> float:
        """Of the accuracies."""
        return mean(self.accuracies)

    @property
    def low(self) -> float:
        """Of the accuracies."""
        return min(self.accuracies)

    @property
    def high(self) -> float:
        """Of the accuracies."""
        return max(self.accuracies)


class Verdict(Enum):
    """How the accuracies of one net's seeds lie beside those of another's."""

    HIGHER = "higher"
    LOWER = "lower"
    EVEN = "even"


class Pair(NamedTuple):
    """A small dense net, and the large sparse one with about as many nonzero parameters."""

    dense: Score
    sparse: Score

    @property
    def verdict(self) -> Verdict:
        """Of the sparse net beside the dense one."""
        return compared(self.sparse, self.dense)


def compared(score: Score, other: Score) -> Verdict:
    """Returns HIGHER or LOWER where every seed of one is beyond every seed of the other, EVEN where they overlap."""
    if score.low > other.high:
        return Verdict.HIGHER
    return Verdict.LOWER if score.high < other.low else Verdict.EVEN


def scores(results: Results) -> List[Score]:
    """Returns one score per case, in the order in which cases first come."""
    by_case: Dict[Case, List[Dict[str, Any]]] = {}
    for result in results:
        by_case.setdefault(Run.from_dict(result["run"]).case, []).append(result)
    return [_score(case, found) for case, found in by_case.items()]


def _score(case: Case, results: Results) -> Score:
    counts = [result["counts"] for result in results]
    return Score(
        case,
        tuple(result["accuracy"] for result in results),
        sum(counts[0]["entries"][kind] for kind in KINDS),
        int(median(sum(count["nonzero"][kind] for kind in KINDS) for count in counts)),
        counts[0]["entries"][MASKED],
        int(median(count["nonzero"][MASKED] for count in counts)),
        counts[0]["statistics"],
        counts[0]["bytes"],
        int(median(count["gzip"] for count in counts)),
        median(result["train_seconds"] for result in results),
    )


def pairs(found: Sequence[Score]) -> List[Pair]:
    """Returns each dense net but the largest, beside the pruned one nearest to it by nonzero parameters."""
    dense = [score for score in found if not score.case.sparsity]
    pruned = [score for score in found if score.case.sparsity]
    largest = max(dense, key=lambda score: score.case.depth)
    return [
        Pair(small, min(pruned, key=lambda score: abs(math.log(score.nonzero / small.nonzero))))
        for small in dense
        if small is not largest
    ]


def by_rate(results: Results) -> Dict[float, Dict[Case, float]]:
    """Returns accuracies on the validation digits, by learning rate and case."""
    found: Dict[float, Dict[Case, float]] = {}
    for result in results:
        run = Run.from_dict(result["run"])
        found.setdefault(run.training.rate, {})[run.case] = result["accuracy"]
    return found


def best_rate(results: Results) -> float:
    """Returns the rate with the highest mean accuracy on the validation digits; the lower one of equals."""
    found = by_rate(results)
    return max(sorted(found), key=lambda rate: mean(found[rate].values()))
