"""Counts what masks keep."""

from typing import Any

import tensorflow.compat.v1 as tf

from graph_masker import selection

_ROW = 2**20


def ones_in(mask: Any) -> Any:
    """Returns how many ones a mask of zeros and ones has, an int32 scalar."""
    # float32 adds up ones exactly as far as it holds every count; rows of fewer than that are added as integers.
    flat = tf.reshape(mask, [-1])
    split = tf.size(flat) // _ROW * _ROW
    rows = tf.reduce_sum(tf.cast(tf.reshape(flat[:split], [-1, _ROW]), tf.float32), 1)
    rest = tf.reduce_sum(tf.cast(flat[split:], tf.float32))
    return tf.reduce_sum(tf.cast(rows, tf.int32)) + tf.cast(rest, tf.int32)


def units_in(mask: Any, structure: selection.Structure) -> Any:
    """Returns how many units a mask keeps, an int64 scalar: a ceiling for `selection.select`."""
    if isinstance(structure, selection.Elements):
        return tf.cast(ones_in(mask), tf.int64)
    return structure.kept_of(mask)
