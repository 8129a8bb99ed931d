"""Budgets of the streaming group, and what was measured against them."""

from statistics import median
from typing import List, NamedTuple, Sequence, Tuple

from benchmarks.budgets import Budget, Outcome
from benchmarks.streaming.files import Checkpoint, Made
from benchmarks.streaming.measuring import Round

COMMANDS = ("fold", "rewrite", "prune")
TIME = Budget("time", "time / a plain copy with fsync", 2.5, "{:.2f}")
MEMORY = Budget("memory", "peak memory / (400 MB + 3 times the largest tensor)", 1.0, "{:.2f}")
_BASE = 400e6


class Cost(NamedTuple):
    """One command and checkpoint: medians over the rounds, seconds and bytes."""

    command: str
    kind: Checkpoint
    made: Made
    copy: float
    seconds: float
    ratio: float
    ratios: Tuple[float, float]
    peak: int
    rounds: Sequence[Round]

    @property
    def subject(self) -> str:
        """What was measured, in words."""
        return f"{self.command}: {self.kind.title}"

    @property
    def memory(self) -> float:
        """The peak as a share of its budget."""
        return self.peak / (_BASE + 3 * self.made.largest)


def summarize(command: str, kind: Checkpoint, made: Made, rounds: Sequence[Round]) -> Cost:
    """Returns the cost of a command on a checkpoint: ratios are paired, the peak is the highest."""
    ratios = [item.command / item.copy for item in rounds]
    seconds = [median(item.copy for item in rounds), median(item.command for item in rounds)]
    span = (min(ratios), max(ratios))
    return Cost(command, kind, made, *seconds, median(ratios), span, max(item.peak for item in rounds), rounds)


def outcomes(costs: Sequence[Cost]) -> List[Outcome]:
    """Returns every budget with every command and checkpoint. How long pruning takes is its selection's affair."""
    timed = [cost for cost in costs if cost.command != "prune"]
    times = [Outcome(TIME, cost.subject, cost.ratio) for cost in timed]
    return times + [Outcome(MEMORY, cost.subject, cost.memory) for cost in costs]
