"""What `prune_model` says of what it wrote."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Tuple

from graph_masker.naming import whole_name
from graph_masker.plan import MaskPlan, Pruning


@dataclass(frozen=True)
class PrunedWeight:
    """One weight after pruning.

    Attributes:
        variable: its key, or the name of its constant.
        entries: their number.
        zeros: how many of them are pruned.
        pruning: target, structure, criterion and group.
        threshold: score of the last unit that stays, a scalar of the weight's type.
    """

    variable: str
    entries: int
    zeros: int
    pruning: Pruning
    threshold: Any


@dataclass(frozen=True)
class PruneResult:
    """What `prune_model` wrote.

    Attributes:
        path: of the new file or directory; of a checkpoint the prefix.
        files: those that hold the tensors.
        plan: what was pruned, and what was not and why.
        weights: all pruned weights, in the order of the plan.
        copies: keys of moving averages that got their weights' zeros.
        masks: keys of masks that got them.
        unused: fields of the spec that one shot has no use for.
    """

    path: str
    files: Tuple[str, ...]
    plan: MaskPlan
    weights: Tuple[PrunedWeight, ...]
    copies: Tuple[str, ...]
    masks: Tuple[str, ...]
    unused: Tuple[str, ...]

    @property
    def part_by_part(self) -> Tuple[str, ...]:
        """Weights whose parts were pruned each by itself: constants of a frozen graph, which nothing holds together."""
        parts = Counter(whole_name(w.variable) for w in self.weights if whole_name(w.variable) != w.variable)
        return tuple(sorted(name for name, number in parts.items() if number > 1))

    @property
    def sparsity(self) -> float:
        """Fraction of pruned entries over all pruned weights."""
        return sum(weight.zeros for weight in self.weights) / max(1, sum(weight.entries for weight in self.weights))
