"""The k-th best of many keys, without sorting: a sample tells where to look; if it was wrong, halving finds it."""

from typing import Any, NamedTuple, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.selection.keys import Width, to_keys
from graph_masker.selection.masks import count_above
from graph_masker.selection.pieces import Keys, loop
from graph_masker.selection.scanning import LOW_BITS

# Size of the sample: at most so many, and one key of so many.
_SAMPLE = 2**14
_SAMPLE_SHARE = 24

# How far the k-th of the sample may be off, in standard deviations and in ranks.
_DEVIATIONS = 3.0
_RANKS = 4.0


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


def kth_by_halves(keys: Keys, kept: Any, low: Any, high: Any) -> Kth:
    """Returns the `kept`-th best key (from 1; int32 scalar), whatever the keys are: slowly, and in little memory.

    It is looked for between two keys first: one equal to the upper end, or near the lower one, is soon found.
    """
    width = keys.width

    def above(key: Any) -> Any:
        return keys.total(lambda part: count_above(part, key), [])

    def halve(low: Any, high: Any) -> Any:
        """At least `kept` keys lie above `low`, and fewer above `high`."""
        one = tf.ones_like(low)
        odd = tf.bitwise.bitwise_and(tf.bitwise.bitwise_and(low, high), one)
        middle = tf.bitwise.right_shift(low, one) + tf.bitwise.right_shift(high, one) + odd
        is_low = above(middle) >= kept
        return tf_compat.choose(is_low, middle, low), tf_compat.choose(is_low, high, middle)

    lowest, highest = (tf.constant(key, width.whole) for key in (width.lowest if keys.signed else -1, width.highest))
    start = [
        tf_compat.choose(above(low) >= kept, tf.maximum(low, lowest), lowest),
        tf_compat.choose(above(high) < kept, high, highest),
    ]
    _, key = loop(lambda low, high: low < high - 1, halve, start)
    higher = above(key)
    return Kth(key, higher, above(key - 1) - higher)


def kth_of(few: Any, above: Any, kept: Any, width: Width) -> Kth:
    """Returns the `kept`-th best key of all, given some and the number of keys above these."""
    # One key above all others changes no rank from below, and stands for the k-th of none.
    padded = tf.concat([few, [width.highest]], 0)
    key = tf_compat.nth_element(padded, tf.size(few) - (kept - above))
    higher = tf.reduce_sum(tf.cast(few > key, tf.int32))
    return Kth(key, above + higher, tf.reduce_sum(tf.cast(tf.equal(few, key), tf.int32)))


def guess(keys: Keys, kept: Any) -> Tuple[Any, Any]:
    """Returns two keys, by a sample: the `kept`-th best very likely lies above the first, and not above the second."""
    size = keys.size
    # Odd, so that a sample of a kernel meets all of its outputs.
    stride = tf.bitwise.bitwise_or(tf.maximum(size // _SAMPLE, _SAMPLE_SHARE), 1)
    sample = to_keys(keys.scores[::stride], keys.signed)
    number = tf.size(sample)
    share = tf.cast(kept, tf.float32) / tf.cast(tf.maximum(size, 1), tf.float32)
    expected = share * tf.cast(number, tf.float32)
    margin = _DEVIATIONS * tf.sqrt(tf.maximum(expected * (1.0 - share), 0.0)) + _RANKS
    upper, lower = tf.cast(expected - margin, tf.int32), tf.cast(expected + margin, tf.int32)
    # One more, so that there is a key to return where there are none.
    padded = tf.concat([sample, [keys.width.highest]], 0)
    low = tf_compat.nth_element(padded, tf.maximum(number - lower, 0))
    high = tf_compat.nth_element(padded, tf.maximum(number - tf.maximum(upper, 1), 0))
    # Beyond the sample: as far as four times its largest score.
    beyond = 2 << keys.width.mantissa
    high = tf_compat.choose(upper < 1, tf.minimum(high, keys.width.finite - beyond) + beyond, high)
    lowest = tf.maximum(low, beyond - keys.width.finite) - beyond if keys.signed else -tf.ones_like(low)
    low = tf.bitwise.bitwise_and(tf_compat.choose(lower > number, lowest, low), -(1 << LOW_BITS))
    return low, tf.minimum(high, keys.width.finite)
