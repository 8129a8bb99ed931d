"""Which entries stay: the best, exactly as many as asked for, of equal ones the first."""

from typing import Any, NamedTuple, Optional

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.selection.counts import kept_units
from graph_masker.selection.keys import from_key
from graph_masker.selection.masks import mask_of
from graph_masker.selection.pieces import Extent, Keys
from graph_masker.selection.search import kth


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
    extent: Extent = Extent.LARGE,
) -> Selected:
    """Keeps the k best entries; of equal ones those of lowest flat index.

    Args:
        scores: finite float tensor of any shape, known or not.
        sparsity: float32 scalar, fraction of zeros; k is `kept_units` of it.
        most: int32 or int64 scalar, keep no more than this; None for no ceiling.
        floor: keep no fewer than this.
        signed: False ranks magnitudes, True the scores with their signs.
        dtype: type of mask and threshold; None for that of the scores.
        extent: how many entries there may be (see `extent_of`); it changes the time that this takes, not its result.
    """
    dtype = dtype or scores.dtype
    keys = Keys(tf.reshape(scores, [-1]), signed, extent)
    with tf_compat.first_control_flow():
        size = keys.size
        kept = kept_units(size, sparsity, most, floor)
        last = kth(keys, kept)
        mask = mask_of(keys, last.key, kept - last.above, last.equal, dtype)
        threshold = from_key(tf.where(size > 0, last.key, tf.zeros_like(last.key)), signed)
    return Selected(tf.reshape(mask, tf.shape(scores)), tf.cast(threshold, dtype))
