"""Budgets of the streaming group, and what was measured against them."""

from statistics import median
from typing import List, NamedTuple, Sequence, Tuple

from benchmarks.budgets import Budget, Outcome
from benchmarks.streaming.files import Checkpoint, Made
from benchmarks.streaming.measuring import Round

TIME = Budget("time", "fold / a plain copy with fsync", 2.5, "{:.2f}")
MEMORY = Budget("memory", "peak memory / (400 MB + 3 times the largest tensor)", 1.0, "{:.2f}")
_BASE = 400e6


class Cost(NamedTuple):
    """One checkpoint: medians over the rounds, seconds and bytes."""

    kind: Checkpoint
    made: Made
    copy: float
    fold: float
    ratio: float
    ratios: Tuple[float, float]
    peak: int
    rounds: Sequence[Round]

    @property
    def memory(self) -> float:
        """The peak as a share of its budget."""
        return self.peak / (_BASE + 3 * self.made.largest)


def summarize(kind: Checkpoint, made: Made, rounds: Sequence[Round]) -> Cost:
    """Returns the cost of one checkpoint: ratios are paired, the peak is the highest."""
    ratios = [item.command / item.copy for item in rounds]
    seconds = [median(item.copy for item in rounds), median(item.command for item in rounds)]
    span = (min(ratios), max(ratios))
    return Cost(kind, made, *seconds, median(ratios), span, max(item.peak for item in rounds), rounds)


def outcomes(costs: Sequence[Cost]) -> List[Outcome]:
    """Returns every budget with every checkpoint."""
    found: List[Outcome] = []
    for budget, value in ((TIME, lambda cost: cost.ratio), (MEMORY, lambda cost: cost.memory)):  # type: Any
        found += [Outcome(budget, cost.kind.title, value(cost)) for cost in costs]
    return found
