"""The best of a vector of scores, exactly as many as asked for; of equal ones the first."""

from typing import Any, NamedTuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.selection.keys import from_key
from graph_masker.selection.masks import as_mask, mask_of, mask_of_first
from graph_masker.selection.pieces import Extent, Keys, zero_or_one
from graph_masker.selection.search import kth, kth_guessed


class Best(NamedTuple):
    """What `keep_best` kept.

    Attributes:
        mask: vector of ones for the keys that stay, zeros for the others.
        lowest: score of the lowest that stays, a scalar; 0 where there are no keys.
    """

    mask: Any
    lowest: Any


def keep_best(keys: Keys, kept: Any, dtype: Any) -> Best:
    """Keeps the `kept` best keys; of equal ones those of lowest index.

    Args:
        keys: vector.
        kept: int32 scalar, from 1 to the number of keys; 0 where there are none.
        dtype: of the mask.
    """
    if keys.extent is Extent.SMALL:
        return _of_few(keys, kept, dtype)
    with tf_compat.first_control_flow():
        return (_of_some if keys.extent is Extent.MEDIUM else _of_many)(keys, kept, dtype)


def _of_many(keys: Keys, kept: Any, dtype: Any) -> Best:
    last = kth(keys, kept)
    mask = mask_of(keys, last.key, kept - last.above, last.equal, dtype)
    return Best(mask, from_key(tf_compat.choose(kept > 0, last.key, tf.zeros_like(last.key)), keys.signed))


def _of_some(keys: Keys, kept: Any, dtype: Any) -> Best:
    """As `keep_best`, for one key or more: what is rare is one branch, so that few ops are skipped."""
    whole = keys.all()
    last, is_right = kth_guessed(whole, keys, kept)

    def otherwise(scores: Any, kept: Any) -> Any:
        best = _of_many(Keys(scores, keys.signed, Extent.LARGE), kept, dtype)
        return best.mask, best.lowest

    rarely = tf_compat.outlined(otherwise, [keys.scores.dtype, tf.int32])
    return Best(
        *tf.cond(
            # Ties are rare, too.
            is_right & (kept - last.above >= last.equal),
            lambda: (as_mask(zero_or_one(whole, last.key - 1), dtype), from_key(last.key, keys.signed)),
            lambda: rarely(keys.scores, kept),
        )
    )


def _of_few(keys: Keys, kept: Any, dtype: Any) -> Best:
    """As `keep_best`, for one key or more, in few ops: they, not the keys, are what takes time."""
    whole = keys.all()
    key = tf_compat.nth_element(whole, tf.size(whole) - kept)
    room = kept - tf.cast(tf.reduce_sum(zero_or_one(whole, key)), tf.int32)
    return Best(mask_of_first(whole, key, room, dtype)[0], from_key(key, keys.signed))
