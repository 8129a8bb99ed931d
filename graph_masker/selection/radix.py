"""Where the k-th best of many keys lies, by counting keys by their leading bits.

One count narrows the range of the k-th key down to a 32nd of its power of two. Where too many keys are left, further
counts resolve 13 bits each, at last to one key, however often it occurs.
"""

from typing import Any, NamedTuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.selection.keys import Width
from graph_masker.selection.pieces import Keys

# Bits that each count after the first resolves.
_STEP = 13

# Bins that are added up at once.
_GROUP = 128


class Range(NamedTuple):
    """Keys that agree in all but their last bits.

    Attributes:
        low: the lowest key of the range; its last bits are 0.
        shift: int32, how many bits may differ.
        above: int32, number of keys above the range.
        inside: int32, number of keys in it.
    """

    low: Any
    shift: Any
    above: Any
    inside: Any

    @property
    def high(self) -> Any:
        """The highest key of the range."""
        ones = tf.bitwise.left_shift(tf.constant(-1, self.low.dtype), tf.cast(self.shift, self.low.dtype))
        return tf.bitwise.bitwise_or(self.low, tf.bitwise.invert(ones))


def first_shift(width: Width) -> int:
    """Returns how many bits the first count leaves open."""
    return 18 if width.bits == 32 else 47


def histogram(keys: Keys) -> Any:
    """Counts keys by their leading bits, lowest first.

    Returns:
        int32 [bins]; twice as many bins where keys may be below 0.
    """
    shift = first_shift(keys.width)
    bins = 2 ** (keys.width.bits - 1 - shift)

    def count(part: Any) -> Any:
        leading = tf.cast(tf.bitwise.right_shift(part, tf.constant(shift, part.dtype)), tf.int32)
        return tf_compat.bincount(leading + bins, 2 * bins) if keys.signed else tf_compat.bincount(leading, bins)

    return keys.total(count, [2 * bins if keys.signed else bins])


def lowest_of_bin(index: Any, width: Width, signed: bool) -> Any:
    """Returns the lowest key that `histogram` counts in a bin."""
    shift = first_shift(width)
    leading = tf.cast(index - 2 ** (width.bits - 1 - shift) if signed else index, width.whole)
    return tf.bitwise.left_shift(leading, tf.constant(shift, width.whole))


def highest_of_bin(index: Any, width: Width, signed: bool) -> Any:
    """Returns the highest key that `histogram` counts in a bin."""
    return lowest_of_bin(index, width, signed) + (2 ** first_shift(width) - 1)


def first_range(counts: Any, kept: Any, width: Width, signed: bool) -> Range:
    """Returns the range that holds the `kept`-th best key.

    Args:
        counts: what `histogram` returned.
        kept: int32 scalar, at least 1 unless there are no keys.
        width: of the keys.
        signed: whether keys may be below 0.
    """
    index, above, inside = _bin_of(counts, kept)
    return Range(lowest_of_bin(index, width, signed), tf.constant(first_shift(width)), above, inside)


def narrowed(keys: Keys, found: Range, kept: Any, few: Any) -> Range:
    """Returns a part of a range that holds the `kept`-th best key: at most `few` keys, or copies of one only."""

    def is_wide(_: Any, shift: Any, __: Any, inside: Any) -> Any:
        return tf.logical_and(inside > few, shift > 0)

    def narrow(low: Any, shift: Any, above: Any, _: Any) -> Range:
        left = tf.maximum(shift - _STEP, 0)
        bits = tf.cast(left, low.dtype)
        start = tf.bitwise.right_shift(low, bits)
        bins = 2**_STEP

        def count(part: Any) -> Any:
            # Bin 0 takes what lies below the range, the last one what lies above it. No difference wraps around
            # into the range: finite scores leave the ends of the integers free.
            digit = tf.bitwise.right_shift(part, bits) - start
            digit = tf.maximum(tf.minimum(digit, bins), -1) + 1
            return tf_compat.bincount(tf.cast(digit, tf.int32), bins + 2)

        counts = keys.total(count, [bins + 2])[1:-1]
        index, higher, inside = _bin_of(counts, kept - above)
        low = low + tf.bitwise.left_shift(tf.cast(index, low.dtype), bits)
        return Range(low, left, above + higher, inside)

    return Range(*tf.while_loop(is_wide, narrow, found, parallel_iterations=1, back_prop=False))


def _bin_of(counts: Any, kept: Any) -> Any:
    """Returns the bin of the `kept`-th best, how many lie in bins above it, and how many in it."""
    # In two steps: a running sum over all bins would take longer than counting a small weight.
    groups = tf.reshape(counts, [-1, _GROUP])
    group, above, _ = _last_reaching(tf.reduce_sum(groups, 1), kept)
    index, higher, number = _last_reaching(tf.gather(groups, group), kept - above)
    return group * _GROUP + index, above + higher, number


def _last_reaching(counts: Any, kept: Any) -> Any:
    from_here = tf.cumsum(counts, reverse=True)
    index = tf.reduce_sum(tf.cast(from_here >= kept, tf.int32)) - 1
    number = tf.gather(counts, index)
    return index, tf.gather(from_here, index) - number, number
