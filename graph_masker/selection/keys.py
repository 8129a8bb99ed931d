"""Scores as integers of the same order.

The bits of a float of 0 or above, read as an integer, are ordered as the float is. Everything is selected on such
keys: kernels run with denormals flushed to zero, so that comparing floats would take every denormal for a zero.
"""

from typing import Any, NamedTuple

import tensorflow.compat.v1 as tf


class Width(NamedTuple):
    """Keys of one width.

    Attributes:
        bits: of a key and of the float it stands for.
        real: the float type.
        whole: the integer type.
        mantissa: bits after those of the exponent.
    """

    bits: int
    real: Any
    whole: Any
    mantissa: int

    @property
    def lowest(self) -> int:
        """The lowest integer: its bits are those of -0."""
        return -(1 << (self.bits - 1))

    @property
    def highest(self) -> int:
        """The highest integer; above every key."""
        return (1 << (self.bits - 1)) - 1

    @property
    def finite(self) -> int:
        """The key of the largest float."""
        return self.highest - (1 << self.mantissa)


SINGLE = Width(32, tf.float32, tf.int32, 23)
DOUBLE = Width(64, tf.float64, tf.int64, 52)


def width_of(dtype: Any) -> Width:
    """Returns the keys for scores of a float type; half precision widens to float32, exactly."""
    return DOUBLE if tf.as_dtype(dtype).base_dtype == tf.float64 else SINGLE


def widened(scores: Any) -> Any:
    """Returns scores as float32, or float64 where they are; no value changes."""
    if scores.dtype.base_dtype != tf.bfloat16:
        return tf.cast(scores, width_of(scores.dtype).real)
    # As the upper half of a float32: the kernel that casts takes four times as long.
    return tf.bitcast(tf.cast(tf.bitcast(scores, tf.int16), tf.int32) * 2**16, tf.float32)


def to_keys(scores: Any, signed: bool) -> Any:
    """Returns integers ordered as the scores are; -0 and +0 get one key, 0.

    Args:
        scores: finite float tensor.
        signed: False takes magnitudes, True the scores with their signs.

    Returns:
        int32 or int64 tensor of the same shape; none is below 0 unless `signed`.
    """
    width = width_of(scores.dtype)
    wide = widened(scores)
    if not signed:
        return tf.bitcast(tf.abs(wide), width.whole)
    bits = tf.bitcast(wide, width.whole)
    below = tf.bitwise.bitwise_xor(bits, tf.constant(width.lowest, width.whole))
    return tf.maximum(bits, 0) - tf.maximum(below, 0)


def from_key(key: Any, signed: bool) -> Any:
    """Returns the scores that keys stand for: float32 of int32 keys, float64 of int64 ones."""
    width = SINGLE if key.dtype == tf.int32 else DOUBLE
    bits = tf.where_v2(key < 0, width.lowest - key, key) if signed else key
    return tf.bitcast(bits, width.real)
