"""The best of a vector of scores, exactly as many as asked for; of equal ones the first."""

from typing import Any, NamedTuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.selection.keys import from_key
from graph_masker.selection.masks import as_mask, count_above, mask_of, mask_of_first
from graph_masker.selection.pieces import Extent, Keys, zero_or_one
from graph_masker.selection.scanning import mark_between, scan
from graph_masker.selection.search import guess, kth_by_halves


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
        return _of_many(keys, kept, dtype)


def _of_many(keys: Keys, kept: Any, dtype: Any) -> Best:
    low, high = guess(keys, kept)
    found = scan(keys, low, high, mark_between(low, high), dtype)
    few, number = found.keys, tf.size(found.keys)
    # Of those in the range, so many stay. All this is computed whether the guess was right or not: in a branch of a
    # cond, its ops would be skipped one by one.
    staying = kept - found.above
    padded = tf.concat([few, [keys.width.highest]], 0)
    key = tf_compat.nth_element(padded, tf.minimum(tf.maximum(number - staying, 0), number))

    def tied(near: Any, few: Any, key: Any, staying: Any) -> Any:
        return mask_of_first(near, key, staying - count_above(few, key), dtype)[0]

    def wrong(scores: Any, kept: Any, low: Any, high: Any) -> Any:
        keys_again = Keys(scores, keys.signed, keys.extent)
        last = kth_by_halves(keys_again, kept, low, high)
        mask = mask_of(keys_again, last.key, kept - last.above, last.equal, dtype)
        return mask, from_key(tf_compat.choose(kept > 0, last.key, tf.zeros_like(last.key)), keys.signed)

    whole = low.dtype
    ties = tf_compat.outlined(tied, [whole, whole, whole, tf.int32])
    rarely = tf_compat.outlined(wrong, [keys.scores.dtype, tf.int32, whole, whole])
    rows, unlike = found.unlike(key)
    part = as_mask(zero_or_one(unlike, key - 1), dtype)
    is_right = found.complete & (staying > 0) & (staying <= number)
    is_tied = is_right & (count_above(few, key - 1) > staying)
    rewritten = tf.cond(is_tied, lambda: (found.rows, ties(found.near, few, key, staying)), lambda: (rows, part))
    mask = found.with_rows(*rewritten)
    lowest = from_key(key, keys.signed)
    return Best(*tf.cond(is_right, lambda: (mask, lowest), lambda: tuple(rarely(keys.scores, kept, low, high))))


def _of_few(keys: Keys, kept: Any, dtype: Any) -> Best:
    """As `keep_best`, for one key or more, in few ops: they, not the keys, are what takes time."""
    whole = keys.all()
    key = tf_compat.nth_element(whole, tf.size(whole) - kept)
    room = kept - count_above(whole, key)
    return Best(mask_of_first(whole, key, room, dtype)[0], from_key(key, keys.signed))
