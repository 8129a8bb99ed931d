"""The k-th best of many keys, without sorting: a sample tells where to look, and one pass over the keys does.

The pass counts the keys above a low one and collects those between it and a high one. If the sample misled, or too many
keys lie between, keys are counted by their leading bits instead (`radix`), which no distribution defeats.
"""

from typing import Any, NamedTuple, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.selection import radix
from graph_masker.selection.keys import Width
from graph_masker.selection.pieces import Collected, Keys, number_of_equal

# Keys that are few enough to be looked at: so many, or a sixteenth of all.
_FEW = 4096
_FEW_SHARE = 16

# Size of the sample: at most so many, and one key of so many.
_SAMPLE = 2**14
_SAMPLE_SHARE = 48

# How far the k-th of the sample may be off, in standard deviations and in ranks.
_DEVIATIONS = 4.0
_RANKS = 4.0

# Keys that are tested at once for whether one of them is in a range.
_ROW = 16


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


def kth(keys: Keys, kept: Any) -> Kth:
    """Returns the `kept`-th best key (from 1; int32 scalar)."""
    if not keys.large:
        return kth_of(keys.all(), 0, kept, keys.width)
    few = tf.maximum(keys.size // _FEW_SHARE, _FEW)
    low, high = _guess(keys, kept)
    above_low, found = between(keys, low, high, few)
    above = above_low - tf.size(found.keys)

    def by_counting() -> Kth:
        return _by_counting(keys, kept, few)

    def below() -> Kth:
        copies = tf.cond(found.complete & (kept > above_low), lambda: number_of_equal(keys, low), lambda: 0)
        at_low = found.complete & (kept > above_low) & (kept <= above_low + copies)
        return Kth(*tf.cond(at_low, lambda: Kth(low, above_low, copies), by_counting))

    is_found = found.complete & (above < kept) & (kept <= above_low)
    return Kth(*tf.cond(is_found, lambda: kth_of(found.keys, above, kept, keys.width), below))


def kth_of(few: Any, above: Any, kept: Any, width: Width) -> Kth:
    """Returns the `kept`-th best key of all, given some and the number of keys above these."""
    # One key above all others changes no rank from below, and stands for the k-th of none.
    padded = tf.concat([few, [width.highest]], 0)
    key = tf_compat.nth_element(padded, tf.size(few) - (kept - above))
    higher = tf.reduce_sum(tf.cast(few > key, tf.int32))
    return Kth(key, above + higher, tf.reduce_sum(tf.cast(tf.equal(few, key), tf.int32)))


def between(keys: Keys, low: Any, high: Any, few: Any) -> Tuple[Any, Collected]:
    """Returns how many keys lie above `low`, and those of them that do not lie above `high`, unless they are many."""
    first = low + 1
    half = tf.bitwise.right_shift(high, tf.ones_like(high)) - tf.bitwise.right_shift(low, tf.ones_like(low))
    middle = first + half

    def look(part: Any) -> Tuple[Any, Any]:
        above_low = tf.reduce_sum(tf.maximum(tf.minimum(part, first), low) - low)
        # Rows without a key in the range are dropped by its distance from the middle. That lets a key or two above the
        # range pass, and may wrap around into it, so that a test of each key follows.
        head = tf.reshape(part[: tf.size(part) // _ROW * _ROW], [-1, _ROW])
        distance = tf.reduce_min(tf.abs(head - middle), 1)
        rows = tf.gather(head, tf.squeeze(tf.where(distance <= half), 1))
        near = tf.concat([tf.reshape(rows, [-1]), part[tf.size(head) :]], 0)
        return tf.cast(above_low, tf.int32), tf.boolean_mask(near, (near > low) & (near <= high))

    return keys.collect(look, few)


def _guess(keys: Keys, kept: Any) -> Tuple[Any, Any]:
    """Returns keys that the `kept`-th best very probably lies between, by a sample; it may be the upper, not the lower."""
    size = keys.size
    # Odd, so that a sample of a kernel meets all of its outputs.
    stride = tf.bitwise.bitwise_or(tf.maximum(size // _SAMPLE, _SAMPLE_SHARE), 1)
    sample = keys.every(stride)
    number = tf.size(sample)
    expected = tf.cast(kept, tf.float32) * (tf.cast(number, tf.float32) / tf.cast(tf.maximum(size, 1), tf.float32))
    spread = tf.sqrt(tf.maximum(expected * (1.0 - tf.cast(kept, tf.float32) / tf.cast(tf.maximum(size, 1), tf.float32)), 0.0))
    margin = _DEVIATIONS * spread + _RANKS
    upper, lower = (tf.cast(tf.floor(expected + offset), tf.int32) for offset in (-margin, margin))
    padded = tf.concat([sample, [keys.width.highest]], 0)
    high = tf_compat.nth_element(padded, number - tf.maximum(upper, 0))
    low = tf_compat.nth_element(padded, tf.maximum(number - lower, 0))
    lowest = tf.constant(keys.width.lowest if keys.signed else -1, keys.width.whole)
    # One below the highest integer, so that there is one above it.
    return tf.where(lower > number, lowest, low), tf.minimum(high, keys.width.highest - 1)


def _by_counting(keys: Keys, kept: Any, few: Any) -> Kth:
    counts = radix.histogram(keys)
    found = radix.narrowed(keys, radix.first_range(counts, kept, keys.width, keys.signed), kept, few)

    def select() -> Kth:
        inside = between(keys, found.low - 1, found.high, found.inside)[1].keys
        return kth_of(inside, found.above, kept, keys.width)

    return Kth(*tf.cond(found.shift > 0, select, lambda: Kth(found.low, found.above, found.inside)))
