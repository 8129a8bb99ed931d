"""Counts what masks keep."""

from typing import Any

import tensorflow.compat.v1 as tf

from graph_masker import selection

_ROW = 2**20

# float32 adds up ones exactly as far as it holds every count.
_EXACT = 2**24


def is_long(entries: int) -> bool:
    """Tells whether a mask has too many entries to count them in one float32."""
    return entries > _EXACT


def ones_in(mask: Any, is_long: bool = True) -> Any:
    """Returns how many ones a mask of zeros and ones has, an int32 scalar.

    Args:
        mask: of any shape.
        is_long: what `is_long` tells of its entries; True is right for any number.
    """
    wide = mask if mask.dtype in (tf.float32, tf.float64) else tf.cast(mask, tf.float32)
    flat = tf.reshape(wide, [-1])
    if not is_long:
        return tf.cast(tf.reduce_sum(flat, 0), tf.int32)
    split = tf.size(flat) // _ROW * _ROW
    # Rows of fewer than float32 counts are added as integers.
    rows = tf.reduce_sum(tf.reshape(flat[:split], [-1, _ROW]), 1)
    return tf.reduce_sum(tf.cast(rows, tf.int32)) + tf.cast(tf.reduce_sum(flat[split:]), tf.int32)


def units_in(mask: Any, structure: selection.Structure, is_long: bool = True) -> Any:
    """Returns how many units a mask keeps, an int64 scalar: a ceiling for `selection.select`.

    Args:
        mask: of any shape.
        structure: says what a unit is.
        is_long: as for `ones_in`.
    """
    if isinstance(structure, selection.Elements):
        return tf.cast(ones_in(mask, is_long), tf.int64)
    return structure.kept_of(mask)
