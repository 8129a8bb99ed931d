"""Which entries stay: the best, exactly as many as asked for, of equal ones the first."""

from typing import Any, NamedTuple, Optional

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.selection.counts import kept_units
from graph_masker.selection.keys import from_key, to_keys


class Selected(NamedTuple):
    """A mask of zeros and ones in the weight's shape, and the score of the last unit that stays, both of one type."""

    mask: Any
    threshold: Any


def select_entries(
    scores: Any,
    sparsity: Any,
    most: Optional[Any] = None,
    floor: int = 1,
    signed: bool = False,
    dtype: Any = None,
    large: bool = True,
) -> Selected:
    """Keeps the k best entries; of equal ones those of lowest flat index.

    Args:
        scores: finite float tensor of any shape, known or not.
        sparsity: float32 scalar, fraction of zeros; k is `kept_units` of it.
        most: int32 or int64 scalar, keep no more than this; None for no ceiling.
        floor: keep no fewer than this.
        signed: False ranks magnitudes, True the scores with their signs.
        dtype: type of mask and threshold; None for that of the scores.
        large: whether there may be many entries (see `is_large`).
    """
    dtype = dtype or scores.dtype
    keys = to_keys(tf.reshape(scores, [-1]), signed)
    kept = kept_units(tf.size(keys), sparsity, most, floor)
    threshold = tf_compat.nth_element(keys, tf.size(keys) - kept)
    above = keys > threshold
    equal = tf.equal(keys, threshold)
    room = kept - tf.reduce_sum(tf.cast(above, tf.int32))
    mask = tf.logical_or(above, tf.logical_and(equal, tf.cumsum(tf.cast(equal, tf.int32)) <= room))
    return Selected(tf.reshape(tf.cast(mask, dtype), tf.shape(scores)), tf.cast(from_key(threshold, signed), dtype))
