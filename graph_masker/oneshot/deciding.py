"""Decides what stays of each weight of a model. Weights are read one by one, and what is kept of them is little."""

import functools
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple, Union

import numpy as np

from graph_masker.errors import SourceError
from graph_masker.oneshot.cuts import Cut, best
from graph_masker.oneshot.keys import all_finite, flushed, is_float, wide_type
from graph_masker.oneshot.patterns import NOfM
from graph_masker.oneshot.structures import ELEMENTS, Blocks, Channels, Units
from graph_masker.oneshot.together import Member, cut_together
from graph_masker.plan import Pruning
from graph_masker.schedule import kept_entries
from graph_masker.spec import NM, Block, Channel

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Weight:
    """One weight; parts of a partitioned one count as one.

    Attributes:
        name: for messages and results.
        shape: of the weight.
        dtype: numpy's, of weight, mask and threshold.
        pruning: target, structure and group.
        scores: returns what its entries are scored by, an array of its shape; called several times.
        signed: whether the scores' signs count.
        steps: how many training steps the scores are to be averaged over; None where they are no sums.
    """

    name: str
    shape: Tuple[int, ...]
    dtype: Any
    pruning: Pruning
    scores: Callable[[], Any]
    signed: bool = False
    steps: Optional[int] = None

    @property
    def structure(self) -> Union[Units, NOfM]:
        """What is pruned as one."""
        structure, axes = self.pruning.structure, self.pruning.output_axes
        if isinstance(structure, Block):
            return Blocks(structure.height, structure.width, structure.pooling, axes)
        if isinstance(structure, NM):
            return NOfM(structure.n, structure.m, axes)
        return Channels(structure.norm, axes) if isinstance(structure, Channel) else ELEMENTS


@dataclass(frozen=True)
class Decision:
    """What stays of a weight.

    Attributes:
        weight: the weight.
        threshold: score of the last unit that stays, a scalar of the weight's type.
    """

    weight: Weight
    threshold: Any
    _cut: Optional[Cut] = None

    def stays(self, scores: Any) -> Any:
        """Returns which entries stay, bool in the weight's shape; given the scores that were decided by."""
        structure, signed = self.weight.structure, self.weight.signed
        if isinstance(structure, NOfM):
            return structure.select(scores, self.weight.pruning.target_sparsity, signed)[0]
        assert self._cut is not None, "units are cut"
        return structure.spread(self._cut.stays(_unit_scores(structure, scores, signed), signed), self.weight.shape)


def decide(weights: Sequence[Weight], max_sparsity: float = 1.0, progress: Optional[Progress] = None) -> List[Decision]:
    """Decides what stays, as one mask update at the targets of the weights does.

    Args:
        weights: all of them, in the order of the plan.
        max_sparsity: no weight of a group gets sparser than this fraction of zeros.
        progress: called with the number of weights done and of all.

    Raises:
        SourceError: what a weight is scored by is not finite, or no float; the message names it.
    """
    deciding = _Deciding(len(weights), progress)
    groups: Dict[str, List[Weight]] = {}
    for weight in weights:
        if weight.pruning.group is not None:
            groups.setdefault(weight.pruning.group, []).append(weight)
    found = {weight.name: deciding.alone(weight) for weight in weights if weight.pruning.group is None}
    for group in groups.values():
        found.update(deciding.together(group, max_sparsity))
    return [found[weight.name] for weight in weights]


class _Deciding:
    def __init__(self, count: int, progress: Optional[Progress]) -> None:
        self._count = count
        self._progress = progress
        self._seen: Set[str] = set()

    def alone(self, weight: Weight) -> Decision:
        structure = weight.structure
        scores = self._scores(weight)
        if isinstance(structure, NOfM):
            score = structure.select(scores, weight.pruning.target_sparsity, weight.signed)[1]
            return Decision(weight, _threshold(weight, score, scores.dtype))
        units = _unit_scores(structure, scores, weight.signed)
        cut = best(units, kept_entries(len(units), weight.pruning.target_sparsity), weight.signed)
        return _decision(weight, cut, scores.dtype)

    def together(self, group: Sequence[Weight], max_sparsity: float) -> Dict[str, Decision]:
        types, members = {}, []
        for weight in group:
            structure, scores = weight.structure, self._scores(weight)
            assert isinstance(structure, Units), "a spec refuses n:m with one threshold for all"
            types[weight.name] = scores.dtype
            units = structure.count(weight.shape)
            floor = 1 if max_sparsity >= 1.0 else kept_entries(units, max_sparsity)
            read = functools.partial(_read_units, weight, structure)
            members.append(Member(read, min(floor, units)))
        kinds = {(wide_type(types[weight.name]), weight.signed) for weight in group}
        if len(kinds) > 1:
            raise SourceError(
                f"group {group[0].pruning.group!r}: expected scores of one kind, found float64 beside narrower ones, "
                "or scores with signs beside magnitudes; put these weights into groups of their own"
            )
        ((dtype, signed),) = kinds
        cuts = cut_together(members, group[0].pruning.target_sparsity, signed, 8 * dtype.itemsize)
        return {weight.name: _decision(weight, cut, types[weight.name]) for weight, cut in zip(group, cuts)}

    def _scores(self, weight: Weight) -> Any:
        scores = weight.scores()
        if weight.name not in self._seen:
            self._seen.add(weight.name)
            if not is_float(scores.dtype):
                raise SourceError(f"{weight.name}: expected values of a float type, found {scores.dtype}; exclude it")
            if not all_finite(scores):
                raise SourceError(
                    f"{weight.name}: the values by which it is pruned are not finite (NaN or Inf); exclude it, or take "
                    "a checkpoint from before training diverged"
                )
            if self._progress is not None:
                self._progress(len(self._seen), self._count)
        return scores


def _unit_scores(structure: Units, scores: Any, signed: bool) -> Any:
    # Sums and squares that overflow are infinite, and rank as such, as they do in the graph.
    with np.errstate(over="ignore", under="ignore"):
        return structure.scores(scores, signed)


def _read_units(weight: Weight, structure: Units) -> Any:
    return _unit_scores(structure, weight.scores(), weight.signed)


def _decision(weight: Weight, cut: Cut, dtype: Any) -> Decision:
    structure = weight.structure
    assert isinstance(structure, Units), "n:m has no cut"
    return Decision(weight, _threshold(weight, structure.threshold(cut.threshold(wide_type(dtype))), dtype), cut)


def _threshold(weight: Weight, score: Any, dtype: Any) -> Any:
    """Returns a score as a threshold: in the scores' own type first, as sums may be too small for the weight's."""
    with np.errstate(over="ignore", under="ignore"):
        own = np.asarray(score).astype(dtype)
        if weight.steps is not None:
            own = flushed(np.asarray(own / own.dtype.type(max(weight.steps, 1))))
        return own.astype(weight.dtype)
