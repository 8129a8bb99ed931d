"""Masks: ones for the keys that stay."""

from typing import Any, Optional

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.selection.pieces import Keys, Rows, loop, zero_or_one


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


def one_for(dtype: Any) -> Any:
    """Returns what `as_mask` needs for masks of a type."""
    one, whole = _ONE[tf.as_dtype(dtype).base_dtype]
    return tf.constant(one, whole)


def as_mask(stays: Any, dtype: Any, one: Optional[Any] = None) -> Any:
    """Returns integers that are 0 or 1 as floats, by way of their bits: quicker than a cast.

    Args:
        stays: integers.
        dtype: of the mask.
        one: `one_for(dtype)`, where it was made before a loop.
    """
    one = one_for(dtype) if one is None else one
    return tf.bitcast(tf.cast(stays, one.dtype) * one, dtype)


def count_above(part: Any, key: Any) -> Any:
    """Returns how many keys lie above a key, an int32 scalar."""
    return tf.cast(tf.reduce_sum(zero_or_one(part, key)), tf.int32)


def _tied(keys: Keys, key: Any, room: Any, dtype: Any) -> Any:
    if keys.is_short:
        return mask_of_first(keys.all(), key, room, dtype)[0]
    pieces = keys.pieces()
    rows = Rows(pieces, dtype)

    def add(index: Any, room: Any, masks: Any) -> Any:
        at = pieces.at(index)
        mask, equal = mask_of_first(keys.of(pieces.piece(at)), key, room, dtype)
        return pieces.after(index), tf.maximum(room - equal, 0), rows.put(masks, at, mask)

    _, room, masks = loop(lambda index, *_: index < pieces.number, add, [0, room, rows.empty])
    if pieces.rest is not None:
        masks = rows.put_rest(masks, mask_of_first(keys.of(pieces.rest), key, room, dtype)[0])
    return tf.slice(tf.reshape(masks, [-1]), [0], tf.expand_dims(keys.size, 0))
