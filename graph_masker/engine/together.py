"""Adds the update of a group of weights that share one threshold."""

import contextlib
import functools
from dataclasses import replace
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Sequence, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import selection, tf_compat
from graph_masker.engine.counting import ones_in, units_in
from graph_masker.engine.weights import Weight
from graph_masker.engine.writing import Writer
from graph_masker.schedule import kept_entries


class Group:
    """One group of weights.

    `selection.select_together` says what is computed; here each of its calls becomes one op beside its weight. A weight
    is written as soon as its mask is made, one after the other, so that memory is needed for one mask only.
    """

    def __init__(self, writer: Writer, weights: Sequence[Weight], check: Callable[[Sequence[Any]], Any]) -> None:
        """Args: what writes masks; the weights, whose scores it has read; and a function that is given whether the
        scores of each weight are finite, and returns the op that fails where they are not.
        """
        self.weights = list(weights)
        self._writer = writer
        self._check = check
        self._checked: Any = None
        self._index = 0
        self._finite: List[Any] = []
        self._held: List[Any] = []
        self._kept: List[Any] = []

    def write(self, sparsity: Any, most_sparse: float) -> List[Any]:
        """Selects what stays and assigns it; returns, per weight, the number of entries that do.

        Args:
            sparsity: float32 scalar, fraction of zeros among the units of all weights.
            most_sparse: no weight gets sparser than this fraction of zeros.
        """
        choice = self.weights[0].choice
        selection.select_together(
            [self._writer.scores[weight.name] for weight in self.weights],
            [_member(weight) for weight in self.weights],
            sparsity,
            None if most_sparse >= 1.0 else tf.constant([_least(weight, most_sparse) for weight in self.weights]),
            self._most if choice.continues else None,
            self._outline,
            [self._beside(index) for index in range(len(self.weights))],
        )
        return self._kept

    def _beside(self, index: int) -> Callable[[], ContextManager[None]]:
        @contextlib.contextmanager
        def context() -> Iterator[None]:
            self._index = index
            yield

        return context

    def _most(self) -> Any:
        """Returns how many units the masks hold now: a group that is sparser than asked for stays so."""
        return tf.reduce_sum(tf.cast(tf.stack(self._held), tf.int64))

    def _outline(self, step: str, body: Callable[..., Any], types: Sequence[Any]) -> Callable[..., Any]:
        steps: Dict[str, Callable[..., Any]] = {"count": self._count, "contend": self._contend, "finish": self._finish}
        return functools.partial(steps[step], types)

    def _count(self, types: Sequence[Any], entries: Any) -> Tuple[Any, ...]:
        weight = self.weights[self._index]
        masks = [self._writer.read_masks(weight)] if weight.choice.continues else []
        function = _counting(_member(weight), weight.choice.continues, weight.choice.is_long, tuple(types))
        *counted, finite, held = self._writer.call(weight, "count", function, [entries, *masks])
        self._finite.append(finite)
        self._held.append(held)
        return (*counted, finite)

    def _contend(self, types: Sequence[Any], *inputs: Any) -> Tuple[Any, ...]:
        weight = self.weights[self._index]
        return tuple(self._writer.call(weight, "contend", _contending(_member(weight), tuple(types)), inputs))

    def _finish(self, types: Sequence[Any], *inputs: Any) -> Tuple[Any, ...]:
        weight = self.weights[self._index]
        if self._checked is None:
            self._checked = self._check(self._finite)
        extra = [self._writer.count] if weight.choice.averages else []
        function = _finishing(_member(weight), weight.choice.averages, weight.choice.is_long, tuple(types))
        after = self._writer.turn(weight, self._checked)
        mask, threshold, kept = self._writer.call(weight, "select", function, [*inputs, *extra], after)
        self._writer.assign(weight, mask, threshold)
        self._kept.append(kept)
        return mask, threshold


def _member(weight: Weight) -> selection.Member:
    choice = weight.choice
    assert isinstance(choice.structure, selection.UnitStructure), "a spec refuses n:m with one threshold for all"
    return selection.Member(choice.structure, choice.score_dtype, choice.dtype, choice.signed, choice.extent)


def _least(weight: Weight, most_sparse: float) -> int:
    structure = weight.choice.structure
    assert isinstance(structure, selection.UnitStructure), "checked by _member"
    return kept_entries(structure.units_in(weight.shape), most_sparse)


@functools.lru_cache(maxsize=None)
def _counting(member: selection.Member, continues: bool, is_long: bool, types: Tuple[Any, ...]) -> tf_compat.Function:
    def graph_masker_count(entries: Any, *masks: Any) -> Tuple[Any, ...]:
        held = units_in(masks[0], member.structure, is_long) if continues else tf.constant(0)
        return (*member.count(entries), held)

    return tf_compat.as_function(graph_masker_count, [*types, *([member.mask_dtype] if continues else [])])


@functools.lru_cache(maxsize=None)
def _contending(member: selection.Member, types: Tuple[Any, ...]) -> tf_compat.Function:
    def graph_masker_contend(scores: Any, place: Any) -> Any:
        return member.contend(scores, place)

    return tf_compat.as_function(graph_masker_contend, types)


@functools.lru_cache(maxsize=None)
def _finishing(member: selection.Member, averages: bool, is_long: bool, types: Tuple[Any, ...]) -> tf_compat.Function:
    def graph_masker_finish(*inputs: Any) -> Tuple[Any, ...]:
        # In the scores' own type: sums, and averages of squares, may be too small for half precision.
        chosen = replace(member, mask_dtype=member.dtype).finish(*inputs[: len(types)])
        mask, threshold = tf.cast(chosen.mask, member.mask_dtype), chosen.threshold
        if averages:
            threshold = threshold / tf.cast(tf.maximum(inputs[-1], 1), member.dtype)
        # Known of entries, so that the whole mask need not be read again.
        kept = chosen.units if isinstance(member.structure, selection.Elements) else ones_in(mask, is_long)
        return mask, tf.cast(threshold, member.mask_dtype), kept

    return tf_compat.as_function(graph_masker_finish, [*types, *([tf.int32] if averages else [])])
