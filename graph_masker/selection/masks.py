"""Masks: ones for the keys that stay."""

from typing import Any

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.selection.keys import Width
from graph_masker.selection.pieces import PIECE, Extent, Keys, array, loop, position_of_equal


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
        return _tied_mask(Keys(scores, keys.signed, keys.extent), key, room, dtype)

    if keys.extent is Extent.SMALL:
        return tied(keys.scores, key, room)
    tied_mask = tf_compat.outlined(tied, [keys.scores.dtype, keys.width.whole, tf.int32])
    return tf.cond(
        room < equal,
        lambda: tied_mask(keys.scores, key, room),
        lambda: _ones(keys.all(), key, keys.width, dtype),
    )


def _ones(part: Any, least: Any, width: Width, dtype: Any) -> Any:
    """Returns 1 for keys not below `least`, 0 for the others."""
    # By arithmetic in place: the result of a comparison costs four times as much to turn into numbers.
    below = least - 1
    bits = (tf.maximum(tf.minimum(part, least), below) - below) * width.one
    return tf.cast(tf.bitcast(bits, width.real), dtype)


def _tied_mask(keys: Keys, key: Any, room: Any, dtype: Any) -> Any:
    size, above = keys.size, key + 1
    if not keys.is_large:
        whole = keys.all()
        # The size follows the positions: it is what is left to take where there are no keys at all.
        places = tf.concat([tf.reshape(tf.where(tf.equal(whole, key)), [-1]), [tf.cast(size - 1, tf.int64)]], 0)
        stop = tf.cast(places[room - 1], tf.int32) + 1
        kept = tf.concat([whole[:stop] >= key, whole[stop:] > key], 0)
        return tf.cast(kept, dtype)
    stop = position_of_equal(keys, key, room) + 1

    def add(index: Any, start: Any, mask: Any) -> Any:
        early = start < stop
        end = tf.minimum(tf.where(early, stop, size) - start, PIECE) + start
        part = keys.part(start, end)
        return index + 1, end, mask.write(index, _ones(part, tf.where(early, key, above), keys.width, dtype))

    # A piece ends where equal keys stop to stay.
    count = (stop - 1) // PIECE + 1 + (size - stop + PIECE - 1) // PIECE
    return loop(lambda index, *_: index < count, add, [0, 0, array(dtype, count)])[2].concat()
