"""The k-th best of many keys, without sorting: a sample tells where to look, and one pass over the keys does.

The pass counts the keys above a low one and collects those between it and a high one. If the sample misled, or too many
keys lie between, all keys are looked at.
"""

from typing import Any, Callable, NamedTuple, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.selection import pieces
from graph_masker.selection.keys import Width, to_keys
from graph_masker.selection.pieces import Keys, array, loop, zero_or_one

# Beyond one key of so many there are too many to collect.
_FEW_SHARE = 2

# Size of the sample: at most so many, and one key of so many.
_SAMPLE = 2**14
_SAMPLE_SHARE = 24

# How far the k-th of the sample may be off, in standard deviations and in ranks.
_DEVIATIONS = 3.0
_RANKS = 4.0

# Keys that are tested at once for whether one of them is in a range.
_ROW = 8


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
    low, high = guess(keys, kept)
    found = between(keys, low, high, keys.size // _FEW_SHARE, counted=True)
    above = found.above_low - tf.size(found.keys)
    is_below = kept > found.above_low

    def otherwise(scores: Any, kept: Any, low: Any, is_below: Any) -> Kth:
        return _otherwise(Keys(scores, keys.signed, keys.extent), kept, low, is_below)

    rarely = tf_compat.outlined(otherwise, [keys.scores.dtype, tf.int32, keys.width.whole, tf.bool])
    return Kth(
        *tf.cond(
            found.complete & (above < kept) & tf.logical_not(is_below),
            lambda: _among_found(found.keys, above, kept, keys.width),
            lambda: Kth(*rarely(keys.scores, kept, low, found.complete & is_below)),
        )
    )


def kth_guessed(whole: Any, keys: Keys, kept: Any) -> Tuple[Kth, Any]:
    """As `kth`, of keys that have all been computed, without a second look where the sample misled.

    Args:
        whole: `keys.all()`.
        keys: one or more.
        kept: int32 scalar, from 1.

    Returns:
        The key; and whether it is right, a bool scalar.
    """
    low, high = guess(keys, kept)
    near, above_low = _between_of(whole, low, high, counted=True)
    above = above_low - tf.size(near)
    last = kth_of(near, above, tf.minimum(tf.maximum(kept, above), above_low), keys.width)
    return last, (above < kept) & (kept <= above_low)


def _among_found(few: Any, above: Any, kept: Any, width: Width) -> Kth:
    return kth_of(few, above, kept, width)


def _otherwise(keys: Keys, kept: Any, low: Any, is_below: Any) -> Kth:
    def count(scores: Any, key: Any) -> Any:
        """Returns how many keys lie above a key, and how many equal it."""

        def of_piece(part: Any) -> Any:
            above, from_here = (tf.reduce_sum(zero_or_one(part, limit)) for limit in (key, key - 1))
            return tf.cast(tf.stack([above, from_here - above]), tf.int32)

        return tf.unstack(Keys(scores, keys.signed, keys.extent).total(of_piece, [2]), 2)

    counts = tf_compat.outlined(count, [keys.scores.dtype, keys.width.whole])
    # Many keys may equal the lower end of the range: the zeros of a weight that is sparse already.
    above, equal = tf.cond(is_below, lambda: tuple(counts(keys.scores, low)), lambda: (0, 0))
    return Kth(
        *tf.cond(
            is_below & (kept <= above + equal),
            lambda: _at_low_end(low, above, equal),
            lambda: _among_all(keys, kept, lambda key: counts(keys.scores, key)),
        )
    )


def _at_low_end(low: Any, above: Any, equal: Any) -> Kth:
    return Kth(low, above, equal)


def _among_all(keys: Keys, kept: Any, count: Callable[[Any], Any]) -> Kth:
    none = tf.constant(keys.width.highest, keys.width.whole)
    key = tf.cond(kept > 0, lambda: tf_compat.nth_element(keys.all(), keys.size - kept), lambda: none)
    return Kth(key, *count(key))


def kth_of(few: Any, above: Any, kept: Any, width: Width) -> Kth:
    """Returns the `kept`-th best key of all, given some and the number of keys above these."""
    # One key above all others changes no rank from below, and stands for the k-th of none.
    padded = tf.concat([few, [width.highest]], 0)
    key = tf_compat.nth_element(padded, tf.size(few) - (kept - above))
    higher = tf.reduce_sum(tf.cast(few > key, tf.int32))
    return Kth(key, above + higher, tf.reduce_sum(tf.cast(tf.equal(few, key), tf.int32)))


class Between(NamedTuple):
    """What was found between two keys.

    Attributes:
        complete: bool scalar, False where too many keys were to look at; the rest says nothing then.
        above_low: int32 scalar, how many keys lie above the lower one; 0 where this was not asked for.
        keys: those that lie above the lower one and not above the upper one, in order.
    """

    complete: Any
    above_low: Any
    keys: Any


def between(keys: Keys, low: Any, high: Any, few: Any, counted: bool = False) -> Between:
    """Finds the keys above `low` that do not lie above `high`; gives up beyond about `few` of them."""
    if not keys.is_large:
        found, above_low = _between_of(keys.all(), low, high, counted)
        return Between(tf.constant(True), above_low, found)
    rows = keys.size // _ROW
    scores = tf.reshape(tf.slice(keys.scores, [0], [rows * _ROW]), [-1, _ROW])
    rest = to_keys(tf.slice(keys.scores, [rows * _ROW], [-1]), keys.signed)
    look = _looking(low, high, counted)
    complete, above_low, near = _look_by_pieces(
        scores, lambda part: look(to_keys(part, keys.signed)), few // _ROW, keys.width.whole
    )
    found, more = _tested(near, rest, low, high, counted)
    return Between(complete, above_low + more, found)


def _between_of(whole: Any, low: Any, high: Any, counted: bool) -> Tuple[Any, Any]:
    """As `between`, of all keys at once; returns those found and how many lie above the lower one."""
    split = tf.size(whole) // _ROW * _ROW
    rows = tf.reshape(tf.slice(whole, [0], tf.reshape(split, [1])), [-1, _ROW])
    above_low, near = _looking(low, high, counted)(rows)
    found, more = _tested(near, tf.slice(whole, tf.reshape(split, [1]), [-1]), low, high, counted)
    return found, above_low + more


def _looking(low: Any, high: Any, counted: bool) -> Callable[[Any], Tuple[Any, Any]]:
    """Returns a function of rows of keys: how many lie above the lower end, and the rows that may have some between."""
    one, axis, axes = tf.ones_like(low), tf.constant(1), tf.constant([0, 1])
    half = tf.bitwise.right_shift(high, one) - tf.bitwise.right_shift(low, one)
    middle = low + one + half

    def look(part: Any) -> Tuple[Any, Any]:
        # A row has a key in the range if one is near its middle. That lets a key or two above the range pass, and
        # the difference may wrap around into it, so that each key of these rows is tested in the end.
        distance = tf.reduce_min(tf.abs(part - middle), axis)
        return _count_above(part, low, axes, counted), tf.gather_nd(part, tf.where_v2(distance <= half))

    return look


def _tested(near: Any, rest: Any, low: Any, high: Any, counted: bool) -> Tuple[Any, Any]:
    """Returns the keys between; and how many of the rest, which filled no row, lie above the lower end."""
    near = tf.concat([tf.reshape(near, [-1]), rest], 0)
    found = tf.gather_nd(near, tf.where_v2((near > low) & (near <= high)))
    return found, _count_above(rest, low, tf.constant(0), counted)


def _count_above(part: Any, low: Any, axes: Any, counted: bool) -> Any:
    return tf.cast(tf.reduce_sum(zero_or_one(part, low), axes), tf.int32) if counted else tf.constant(0)


def _look_by_pieces(scores: Any, look: Callable[[Any], Any], few: Any, dtype: Any) -> Any:
    """Adds up what `look` returns of pieces of rows, until it has returned more than `few` rows."""
    size, step, width, zero, one = (
        tf.shape(scores)[0],
        tf.constant(pieces.PIECE // _ROW),
        *map(tf.constant, (_ROW, 0, 1)),
    )
    # One piece at least: nothing can be read of an array that nothing was written to.
    count = tf.maximum(1, (size - 1) // step + 1)

    def is_open(index: Any, start: Any, total: Any, number: Any, near: Any) -> Any:
        return (index < count) & (number <= few)

    def add(index: Any, start: Any, total: Any, number: Any, near: Any) -> Any:
        length = tf.minimum(size - start, step)
        above_low, rows = look(tf.slice(scores, tf.stack([start, zero]), tf.stack([length, width])))
        found = tf.shape(rows, out_type=tf.int32)[0]
        return index + one, start + length, total + above_low, number + found, near.write(index, rows)

    index, _, total, __, near = loop(is_open, add, [0, 0, 0, 0, array(dtype, count)])
    complete = tf.equal(index, count)
    none = tf.zeros([0, _ROW], dtype)
    return complete, total, tf.cond(complete, near.concat, lambda: none)


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
    padded = tf.concat([sample, [keys.width.highest]], 0)
    high = tf_compat.nth_element(padded, number - tf.maximum(upper, 0))
    low = tf_compat.nth_element(padded, tf.maximum(number - lower, 0))
    lowest = tf.constant(keys.width.lowest if keys.signed else -1, keys.width.whole)
    # One less than the highest integer, so that there is one above it.
    return tf_compat.choose(lower > number, lowest, low), tf.minimum(high, keys.width.highest - 1)
