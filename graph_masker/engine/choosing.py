"""What one call of a graph function does for one weight: from scores to mask and threshold."""

import functools
from typing import Any, Iterator, List, NamedTuple, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import selection, tf_compat
from graph_masker.engine.counting import ones_in, units_in


class Choice(NamedTuple):
    """All that a function depends on; weights that agree in it share one.

    Attributes:
        dtype: of mask and threshold.
        score_dtype: of the scores.
        structure: what stays or goes as one.
        signed: whether the scores' signs count.
        extent: how much there may be to search.
        is_long: whether it has many entries to count: see `counting.is_long`.
        continues: whether a mask that is sparser than asked for stays so.
        decay: share of the previous threshold in the new one.
        averages: whether scores are sums to be divided by a count, and start anew.
    """

    dtype: Any
    score_dtype: Any
    structure: selection.Structure
    signed: bool
    extent: selection.Extent
    is_long: bool
    continues: bool
    decay: float
    averages: bool

    @property
    def inputs(self) -> List[Any]:
        """Types of the function's inputs: scores, sparsity, then mask, threshold and count where they are needed."""
        types = [self.score_dtype, tf.float32]
        optional = ((self.continues, self.dtype), (self.decay > 0, self.dtype), (self.averages, tf.int32))
        return types + [dtype for is_needed, dtype in optional if is_needed]


@functools.lru_cache(maxsize=None)
def choosing(choice: Choice) -> tf_compat.Function:
    """Returns a function (scores, sparsity, [mask], [threshold], [count]) -> (mask, threshold, entries kept).

    Scores are of the weight's shape, and finite. Counts and ties are as `graph_masker.selection` has them.
    """

    def graph_masker_select(scores: Any, sparsity: Any, *others: Any) -> Tuple[Any, Any, Any]:
        rest: Iterator[Any] = iter(others)
        most = units_in(next(rest), choice.structure, choice.is_long) if choice.continues else None
        # In the scores' own type: sums, and averages of squares, may be too small for half precision.
        dtype = choice.score_dtype
        mask, threshold, units = selection.select(
            scores, sparsity, choice.structure, most, signed=choice.signed, dtype=dtype, extent=choice.extent
        )
        previous = tf.cast(next(rest), dtype) if choice.decay else None
        if choice.averages:
            count = tf.cast(tf.maximum(next(rest), 1), dtype)
            threshold = threshold / count
        if previous is not None:
            averages = scores / count if choice.averages else scores
            mask, threshold = _smoothed(choice, averages, threshold, previous)
        mask = tf.cast(mask, choice.dtype)
        # Known of entries, so that the whole mask need not be read again.
        is_known = isinstance(choice.structure, selection.Elements) and previous is None
        kept = units if is_known else ones_in(mask, choice.is_long)
        return mask, tf.cast(threshold, choice.dtype), kept

    return tf_compat.as_function(graph_masker_select, choice.inputs)


def _smoothed(choice: Choice, scores: Any, threshold: Any, previous: Any) -> Tuple[Any, Any]:
    """Returns the mask of what lies above the smoothed threshold: a count of its own accord, as in contrib."""
    assert isinstance(choice.structure, selection.UnitStructure), "a spec refuses n:m with threshold_decay"
    # Term by term as tf.contrib.model_pruning has it.
    smoothed = tf.add_n([threshold * (1 - choice.decay), previous * choice.decay])
    units = choice.structure.scores(scores, choice.signed)
    ranked = choice.structure.threshold(units if choice.signed else tf.abs(units))
    # A threshold that lags above all scores would end the weight; its best unit stays.
    highest = tf.cast(tf.reduce_max(ranked), smoothed.dtype)
    smoothed = tf.where_v2(tf.size(ranked) > 0, tf.minimum(smoothed, highest), smoothed)
    stays = tf.cast(ranked >= tf.cast(smoothed, ranked.dtype), scores.dtype)
    return choice.structure.spread(stays, scores), smoothed


@functools.lru_cache(maxsize=None)
def finiteness(dtype: Any) -> tf_compat.Function:
    """Returns a function scores -> whether all of them are finite."""

    def graph_masker_finite(scores: Any) -> Any:
        return selection.all_finite(scores)

    return tf_compat.as_function(graph_masker_finite, [dtype])
