"""Finds the k-th best of many keys without sorting: counts them by their leading bits, then looks at a few.

Each count narrows the range of the k-th key by 13 bits or more. Once few keys are left in it, or one key only, however
often it occurs, the k-th of them is selected.
"""

from typing import Any, NamedTuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.selection.keys import Width
from graph_masker.selection.pieces import Keys

# Bits that one more count resolves.
_STEP = 13

# Keys that are few enough to be looked at: so many, or a sixteenth of all.
_FEW = 4096
_SHARE = 16


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


class Kth(NamedTuple):
    """The k-th best key.

    Attributes:
        key: the key.
        above: int32, number of keys above it.
        equal: int32, number of keys that equal it.
    """

    key: Any
    above: Any
    equal: Any


def first_shift(width: Width) -> int:
    """Returns how many bits the first count leaves open."""
    return 18 if width.bits == 32 else 47


def histogram(keys: Keys) -> Any:
    """Counts keys by their leading bits, lowest first; the leading bits of magnitudes are never below 0.

    Returns:
        int32 [bins]
    """
    shift = first_shift(keys.width)
    bins = 2 ** (keys.width.bits - 1 - shift)

    def count(part: Any) -> Any:
        leading = tf.cast(tf.bitwise.right_shift(part, tf.constant(shift, part.dtype)), tf.int32)
        return tf_compat.bincount(leading + bins, 2 * bins) if keys.signed else tf_compat.bincount(leading, bins)

    return keys.total(count, [2 * bins if keys.signed else bins])


def first_range(counts: Any, kept: Any, width: Width, signed: bool) -> Range:
    """Returns the range that holds the `kept`-th best key.

    Args:
        counts: what `histogram` returned.
        kept: int32 scalar, at least 1 unless there are no keys.
        width: of the keys.
        signed: whether keys may be below 0.
    """
    shift = first_shift(width)
    index, above, inside = _bin_of(counts, kept)
    bins = 2 ** (width.bits - 1 - shift)
    leading = tf.cast(index - bins if signed else index, width.whole)
    low = tf.bitwise.left_shift(leading, tf.constant(shift, width.whole))
    return Range(low, tf.constant(shift), above, inside)


def narrowed(keys: Keys, found: Range, kept: Any) -> Range:
    """Returns a part of a range that holds the `kept`-th best key and few others, or copies of it alone."""
    few = tf.maximum(tf.size(keys.scores) // _SHARE, _FEW)

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
            return tf_compat.bincount(tf.cast(digit, tf.int32), bins + 1)

        counts = keys.total(count, [bins + 1])[1:]
        index, higher, inside = _bin_of(counts, kept - above)
        low = low + tf.bitwise.left_shift(tf.cast(index, low.dtype), bits)
        return Range(low, left, above + higher, inside)

    return Range(*tf.while_loop(is_wide, narrow, found, parallel_iterations=1, back_prop=False))


def inside(keys: Keys, found: Range) -> Any:
    """Returns the keys that lie in a range, in order; of a range of one key, that key once."""
    bits = tf.bitwise.left_shift(tf.constant(-1, keys.width.whole), tf.cast(found.shift, keys.width.whole))

    def choose(part: Any) -> Any:
        return tf.boolean_mask(part, tf.equal(tf.bitwise.bitwise_and(part, bits), found.low))

    return tf.cond(found.shift > 0, lambda: keys.join(choose), lambda: tf.reshape(found.low, [1]))


def kth(keys: Keys, kept: Any) -> Kth:
    """Returns the `kept`-th best key (from 1; int32 scalar)."""
    found = first_range(histogram(keys), kept, keys.width, keys.signed)
    if keys.large:
        found = narrowed(keys, found, kept)
    return kth_of(inside(keys, found), found, kept, keys.width)


def kth_of(few: Any, found: Range, kept: Any, width: Width) -> Kth:
    """Returns the `kept`-th best key, given those that `inside` returned."""
    # One key above all others changes no rank from below, and stands for the k-th of none.
    padded = tf.concat([few, [width.highest]], 0)
    alone = tf.equal(found.shift, 0)
    rank = tf.where(alone, 0, tf.size(few) - (kept - found.above))
    key = tf_compat.nth_element(padded, rank)
    above = found.above + tf.reduce_sum(tf.cast(few > key, tf.int32))
    equal = tf.where(alone, found.inside, tf.reduce_sum(tf.cast(tf.equal(few, key), tf.int32)))
    return Kth(key, above, equal)


def _bin_of(counts: Any, kept: Any) -> Any:
    """Returns the bin of the `kept`-th best, how many lie in bins above it, and how many in it."""
    from_here = tf.cumsum(counts, reverse=True)
    index = tf.reduce_sum(tf.cast(from_here >= kept, tf.int32)) - 1
    number = tf.gather(counts, index)
    return index, tf.gather(from_here, index) - number, number
