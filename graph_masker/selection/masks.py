"""Masks: ones for the keys that stay."""

from typing import Any

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.selection import pieces
from graph_masker.selection.keys import Width
from graph_masker.selection.pieces import Keys, array, loop, position_of_equal


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
        lambda: ones(keys.all(), key, keys.width, dtype),
    )


def ones(part: Any, least: Any, width: Width, dtype: Any) -> Any:
    """Returns 1 for keys not below `least`, 0 for the others."""
    return as_mask(not_below(part, least), width, dtype)


def not_below(part: Any, least: Any) -> Any:
    """Returns integers: 1 for keys not below `least`, 0 for the others."""
    # By arithmetic in place: the result of a comparison costs four times as much to turn into numbers.
    below = least - 1
    return tf.maximum(tf.minimum(part, least), below) - below


def as_mask(bits: Any, width: Width, dtype: Any) -> Any:
    """Returns integers that are 0 or 1 as floats."""
    return tf.cast(tf.bitcast(bits * width.one, width.real), dtype)


def ones_until(whole: Any, key: Any, stop: Any, width: Width, dtype: Any) -> Any:
    """Returns 1 for keys above `key`, and for those that equal it before index `stop`; 0 for the others."""
    return tf.concat([ones(whole[:stop], key, width, dtype), ones(whole[stop:], key + 1, width, dtype)], 0)


def _tied(keys: Keys, key: Any, room: Any, dtype: Any) -> Any:
    size, after = keys.size, key + 1
    stop = position_of_equal(keys, key, room) + 1
    if not keys.is_large:
        return ones_until(keys.all(), key, stop, keys.width, dtype)

    def add(index: Any, start: Any, mask: Any) -> Any:
        early = start < stop
        end = tf.minimum(tf.where(early, stop, size) - start, pieces.PIECE) + start
        part = keys.part(start, end)
        return index + 1, end, mask.write(index, ones(part, tf.where(early, key, after), keys.width, dtype))

    # One piece ends where equal keys stay no longer.
    count = (stop - 1) // pieces.PIECE + 1 + (size - stop + pieces.PIECE - 1) // pieces.PIECE
    return loop(lambda index, *_: index < count, add, [0, 0, array(dtype, count)])[2].concat()
