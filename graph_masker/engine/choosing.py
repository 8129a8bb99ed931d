"""What one call of a graph function does for one weight: from scores to mask and threshold."""

import functools
from typing import Any, Iterator, List, NamedTuple, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import selection, tf_compat
from graph_masker.engine.counting import ones_in
from graph_masker.spec.structure import Structure


class Choice(NamedTuple):
    """All that a function depends on; weights that agree in it share one.

    Attributes:
        dtype: of mask and threshold.
        score_dtype: of the scores.
        structure: what is pruned as one.
        output_axes: see `plan.Pruning`.
        rank: of the weight.
        signed: whether the scores' signs count.
        extent: how many units there may be.
        continues: whether a mask that is sparser than asked for stays so.
        decay: share of the previous threshold in the new one.
        averages: whether scores are sums to be divided by a count, and start anew.
    """

    dtype: Any
    score_dtype: Any
    structure: Structure
    output_axes: Tuple[int, ...]
    rank: int
    signed: bool
    extent: selection.Extent
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
        most = ones_in(next(rest)) if choice.continues else None
        mask, threshold = selection.select_entries(
            scores, sparsity, most, signed=choice.signed, dtype=choice.score_dtype, extent=choice.extent
        )
        previous = tf.cast(next(rest), choice.score_dtype) if choice.decay else None
        if choice.averages:
            # In the scores' own type: sums, and averages of squares, may be too small for half precision.
            count = tf.cast(tf.maximum(next(rest), 1), choice.score_dtype)
            scores, threshold = scores / count, threshold / count
        if previous is not None:
            # Term by term as tf.contrib.model_pruning has it.
            threshold = tf.add_n([threshold * (1 - choice.decay), previous * choice.decay])
            ranks = scores if choice.signed else tf.abs(scores)
            # A threshold that lags above all scores would end the weight; its best entry stays.
            threshold = tf.where(tf.size(ranks) > 0, tf.minimum(threshold, tf.reduce_max(ranks)), threshold)
            mask = tf.cast(ranks >= threshold, choice.dtype)
        mask = tf.cast(mask, choice.dtype)
        return mask, tf.cast(threshold, choice.dtype), ones_in(mask)

    return tf_compat.as_function(graph_masker_select, choice.inputs)


@functools.lru_cache(maxsize=None)
def finiteness(dtype: Any) -> tf_compat.Function:
    """Returns a function scores -> whether all of them are finite."""

    def graph_masker_finite(scores: Any) -> Any:
        return tf.reduce_all(tf.is_finite(tf.cast(scores, dtype if dtype != tf.bfloat16 else tf.float32)))

    return tf_compat.as_function(graph_masker_finite, [dtype])
