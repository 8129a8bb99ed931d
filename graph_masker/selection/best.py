"""The best of a vector of scores, exactly as many as asked for; of equal ones the first."""

from typing import Any, NamedTuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.selection.keys import from_key
from graph_masker.selection.masks import count_above, mask_of, mask_of_first
from graph_masker.selection.pieces import Extent, Keys
from graph_masker.selection.search import guess, kth_by_halves, mark_between, scan


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
    mark = mark_between(low, high)
    found = scan(keys, low, high, mark, dtype)
    few = keys.of(tf.gather(keys.scores, found.indices))
    is_marked = few > mark
    marked = tf.reduce_sum(tf.cast(is_marked, tf.int32))
    # Of those found, so many stay.
    staying = kept - (found.marked - marked)

    def right() -> Best:
        key = tf_compat.nth_element(few, tf.size(few) - staying)
        at_least, equals = few >= key, tf.equal(few, key)
        differing, equal = (tf.reshape(tf.where_v2(x), [-1]) for x in (tf.not_equal(at_least, is_marked), equals))
        # All those that differ do so alike: none that stays is marked, or none that is marked stays.
        change = tf_compat.choose(key > mark, -1, 1)
        room = staying - (marked + change * tf.size(differing) - tf.size(equal))
        leaving = tf.slice(equal, [room], [-1])
        changes = tf.concat([tf.fill(tf.shape(differing), change), tf.fill(tf.shape(leaving), -1)], 0)
        places = tf.gather(found.indices, tf.concat([differing, leaving], 0))
        mask = tf_compat.add_at(found.mask, places, tf.cast(changes, dtype))
        if keys.is_large:
            mask = tf.slice(mask, [0], tf.reshape(keys.size, [1]))
        return Best(mask, from_key(key, keys.signed))

    def wrong(scores: Any, kept: Any, low: Any, high: Any) -> Any:
        keys_again = Keys(scores, keys.signed, keys.extent)
        last = kth_by_halves(keys_again, kept, low, high)
        mask = mask_of(keys_again, last.key, kept - last.above, last.equal, dtype)
        return mask, from_key(tf_compat.choose(kept > 0, last.key, tf.zeros_like(last.key)), keys.signed)

    rarely = tf_compat.outlined(wrong, [keys.scores.dtype, tf.int32, low.dtype, low.dtype])
    is_right = found.complete & (staying > 0) & (staying <= tf.size(few))
    return Best(*tf.cond(is_right, lambda: tuple(right()), lambda: tuple(rarely(keys.scores, kept, low, high))))


def _of_few(keys: Keys, kept: Any, dtype: Any) -> Best:
    """As `keep_best`, for one key or more, in few ops: they, not the keys, are what takes time."""
    whole = keys.all()
    key = tf_compat.nth_element(whole, tf.size(whole) - kept)
    room = kept - count_above(whole, key)
    return Best(mask_of_first(whole, key, room, dtype)[0], from_key(key, keys.signed))
