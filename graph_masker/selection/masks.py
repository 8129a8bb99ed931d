"""Masks: ones for the keys that stay."""

from typing import Any

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.selection.pieces import Keys, buffer, loop, put, put_last, zero_or_one


def mask_of(keys: Keys, key: Any, room: Any, equal: Any, dtype: Any) -> Any:
    """Returns 1 for the keys above `key` and for the first `room` of those that equal it, 0 for the others.

    Args:
        keys: vector.
        key: the lowest key that stays.
        room: int32 scalar, how many keys that equal it stay.
        equal: int32 scalar, how many there are.
        dtype: of the mask.
    """

    def tied(scores: Any, key: Any, room: Any) -> Any:
        return _tied(Keys(scores, keys.signed, keys.extent), key, room, dtype)

    tied_mask = tf_compat.outlined(tied, [keys.scores.dtype, keys.width.whole, tf.int32])
    return tf.cond(
        room < equal,
        lambda: tied_mask(keys.scores, key, room),
        lambda: as_mask(zero_or_one(keys.all(), key - 1), dtype),
    )


def mask_of_first(part: Any, key: Any, room: Any, dtype: Any) -> Any:
    """Returns 1 for keys above `key` and for the first `room` of those that equal it; and how many do equal it."""
    places = tf.reshape(tf.where_v2(tf.equal(part, key)), [-1])
    equal = tf.size(places)
    stop = tf.cast(tf.concat([[0], places + 1], 0)[tf.minimum(room, equal)], tf.int32)
    mask = tf.concat([zero_or_one(part[:stop], key - 1), zero_or_one(part[stop:], key)], 0)
    return as_mask(mask, dtype), equal


# The bits of 1, and integers of their width.
_ONE = {
    tf.float16: (0x3C00, tf.int16),
    tf.bfloat16: (0x3F80, tf.int16),
    tf.float32: (0x3F800000, tf.int32),
    tf.float64: (0x3FF0000000000000, tf.int64),
}


def as_mask(stays: Any, dtype: Any) -> Any:
    """Returns integers that are 0 or 1 as floats, by way of their bits: quicker than a cast."""
    one, whole = _ONE[tf.as_dtype(dtype).base_dtype]
    return tf.bitcast(tf.cast(stays, whole) * one, dtype)


def count_above(part: Any, key: Any) -> Any:
    """Returns how many keys lie above a key, an int32 scalar."""
    return tf.cast(tf.reduce_sum(zero_or_one(part, key)), tf.int32)


def _tied(keys: Keys, key: Any, room: Any, dtype: Any) -> Any:
    if not keys.is_large:
        return mask_of_first(keys.all(), key, room, dtype)[0]
    number = keys.whole_pieces()

    def add(index: Any, room: Any, masks: Any) -> Any:
        mask, equal = mask_of_first(keys.of(keys.whole_piece(index)), key, room, dtype)
        return index + 1, tf.maximum(room - equal, 0), put(masks, index, mask)

    _, room, masks = loop(lambda index, *_: index < number, add, [0, room, buffer(number + 1, dtype)])
    last, _ = mask_of_first(keys.of(keys.last_piece(number)), key, room, dtype)
    return tf.slice(tf.reshape(put_last(masks, number, last), [-1]), [0], tf.reshape(keys.size, [1]))
