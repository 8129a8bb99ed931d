"""Keys counted by their leading bits."""

from typing import Any

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.selection.keys import Width
from graph_masker.selection.pieces import Keys


def _open_bits(width: Width) -> int:
    """Returns how many bits a bin leaves open: it spans a 32nd or, of float64, a 16th of a power of two."""
    return 18 if width.bits == 32 else 48


def _positive_bins(width: Width) -> int:
    return 1 << (width.bits - 1 - _open_bits(width))


def histogram(keys: Keys) -> Any:
    """Counts keys by their leading bits, lowest first.

    Returns:
        int32 [bins]; twice as many bins where keys may be below 0.
    """
    bins = _positive_bins(keys.width)
    shift = tf.constant(_open_bits(keys.width), keys.width.whole)

    def count(part: Any) -> Any:
        leading = tf.cast(tf.bitwise.right_shift(part, shift), tf.int32)
        return tf_compat.bincount(leading + bins, 2 * bins) if keys.signed else tf_compat.bincount(leading, bins)

    return keys.total(count, [2 * bins if keys.signed else bins])


def none_infinite(counts: Any, width: Width) -> Any:
    """Returns whether no score is infinite or not a number, a bool scalar: of magnitudes, these have bins of their own.

    Args:
        counts: the histogram of magnitudes.
        width: of their keys.
    """
    return tf.equal(tf.reduce_sum(counts[(width.finite >> _open_bits(width)) + 1 :]), 0)


def lowest_of_bin(index: Any, width: Width, signed: bool) -> Any:
    """Returns the lowest key that is counted in a bin."""
    leading = tf.cast(index - _positive_bins(width) if signed else index, width.whole)
    return tf.bitwise.left_shift(leading, tf.constant(_open_bits(width), width.whole))


def highest_of_bin(index: Any, width: Width, signed: bool) -> Any:
    """Returns the highest key that is counted in a bin."""
    return lowest_of_bin(index, width, signed) + ((1 << _open_bits(width)) - 1)
