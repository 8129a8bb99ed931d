"""The k-th best of many keys, without sorting: a sample tells where to look, and one pass over the keys does.

The pass counts the keys above a low one, marks them in a mask, and collects those between it and a high one.
"""

from typing import Any, Callable, NamedTuple, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.selection import pieces
from graph_masker.selection.keys import Width, from_key, to_keys, widened
from graph_masker.selection.masks import as_mask, count_above
from graph_masker.selection.pieces import Keys, array, loop

# Size of the sample: at most so many, and one key of so many.
_SAMPLE = 2**14
_SAMPLE_SHARE = 24

# How far the k-th of the sample may be off, in standard deviations and in ranks.
_DEVIATIONS = 3.0
_RANKS = 4.0

# Beyond so many keys in the range, and one of so many, there are too many to collect: each takes 8 bytes.
_FEW = 2**13
_FEW_SHARE = 8

# Keys that are tested at once for whether one of them is in a range.
_ROW = 8

# Of a key that is marked by, so many bits are 0: times the bits of a one, which have as many in front of them, it is 0
# in any width, and the next integer is that one. (See `masks.as_mask`.)
LOW_BITS = 12


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


class Found(NamedTuple):
    """What lies between two keys, in order.

    Attributes:
        indices: int64, of the keys above the lower one that do not lie above the upper one.
        marked: int32 scalar, how many of all keys lie above the one to mark by.
        mask: of all keys, ones for these; with some more entries at its end. Neither this nor `marked` means anything
            unless asked for.
        complete: bool scalar, False where there were too many; the rest means nothing then.
    """

    indices: Any
    marked: Any
    mask: Any
    complete: Any


def scan(keys: Keys, low: Any, high: Any, mark: Any = None, mask_dtype: Any = None) -> Found:
    """Looks at all keys once; with a mask to make, gives up where they are too many, for the sake of memory.

    Args:
        keys: vector.
        low: a key.
        high: not below `low`.
        mark: one whose `LOW_BITS` lowest bits are 0.
        mask_dtype: of the mask to make and the keys to count; None for neither.
    """
    look = _looking(keys, low, high, mark, mask_dtype)
    if not keys.is_large:
        return look(keys.scores, None)
    number = keys.whole_pieces()
    masks = tf.zeros([], tf.float32) if mask_dtype is None else pieces.buffer(number + 1, mask_dtype)
    few = keys.size if mask_dtype is None else tf.maximum(keys.size // _FEW_SHARE, _FEW)

    def is_open(index: Any, total: Any, so_far: Any, *_: Any) -> Any:
        return (index < number) & (so_far <= few)

    def add(index: Any, total: Any, so_far: Any, indices: Any, masks: Any) -> Any:
        part = look(keys.whole_piece(index), index * pieces.PIECE)
        masks = masks if mask_dtype is None else pieces.put(masks, index, part.mask)
        so_far += tf.size(part.indices)
        return index + 1, total + part.marked, so_far, indices.write(index, part.indices), masks

    _, total, so_far, indices, masks = loop(is_open, add, [0, 0, 0, array(tf.int64, number + 1), masks])
    complete = so_far <= few
    last = look(keys.last_piece(number), number * pieces.PIECE)
    if mask_dtype is not None:
        masks = pieces.put_last(masks, number, last.mask)
    # An array that has not been filled cannot be read.
    found = indices.write(number, last.indices)
    few_indices = tf.cond(complete, found.concat, lambda: tf.zeros([0], tf.int64))
    return Found(few_indices, total + last.marked, tf.reshape(masks, [-1]), complete)


def _looking(keys: Keys, low: Any, high: Any, mark: Any, mask_dtype: Any) -> Callable[[Any, Any], Found]:
    """Returns a function of a piece and the index of its first key (None for 0) that returns what is found in it."""
    after_mark = None if mark is None else mark + 1
    middle = middle_of(low, high)
    least, most = (-keys.width.finite if keys.signed else 0), keys.width.finite
    ends = [from_key(tf.minimum(tf.maximum(key, least), most), keys.signed) for key in (low, middle, high)]
    farthest = tf.maximum(*(tf.math.squared_difference(end, ends[1]) for end in (ends[0], ends[2])))
    shift, within = tf.constant(_ROW.bit_length() - 1, tf.int64), tf.constant(_ROW - 1, tf.int64)

    def look(part: Any, first: Any) -> Found:
        wide = widened(part) if keys.signed else tf.abs(widened(part))
        whole = to_keys(wide, True) if keys.signed else tf.bitcast(wide, keys.width.whole)
        candidates, rows = _candidates(wide, whole, ends[1], farthest)
        places = tf.reshape(tf.where_v2((candidates > low) & (candidates <= high)), [-1])
        starts = rows if first is None else rows + tf.cast(first, tf.int64)
        indices = tf.gather(starts, tf.bitwise.right_shift(places, shift)) + tf.bitwise.bitwise_and(places, within)
        if mask_dtype is None:
            return Found(indices, tf.constant(0), tf.constant(0), tf.constant(True))
        held = tf.maximum(tf.minimum(whole, after_mark), mark)
        # As many times the mark as there are keys may be more than an integer holds: what wraps around does so on both
        # sides.
        marked = tf.cast(tf.reduce_sum(held) - tf.size(held, out_type=held.dtype) * mark, tf.int32)
        return Found(indices, marked, as_mask(held, mask_dtype), tf.constant(True))

    return look


def _candidates(wide: Any, whole: Any, middle: Any, farthest: Any) -> Tuple[Any, Any]:
    """Returns the keys of a piece that may lie in the range, in rows, and the place of the first of each row, int64.

    A row may have a key in the range if a score in it is near the middle, by floats: of integers, TensorFlow takes the
    least of each row slowly. Squares of differences are rounded alike, so that none in the range is farther from the
    middle than its ends are. Some beyond may seem as near: all, where all scores are below 1e-19, whose squares are 0.
    """
    length = whole.shape.num_elements()
    is_even = length is not None and length % _ROW == 0
    full = tf.constant([-1]) if is_even else tf.expand_dims(tf.size(whole) // _ROW * _ROW, 0)

    def in_rows(values: Any) -> Any:
        return tf.reshape(values if is_even else tf.slice(values, [0], full), [-1, _ROW])

    near = tf.where_v2(tf.reduce_min(tf.math.squared_difference(in_rows(wide), middle), tf.constant(1)) <= farthest)
    keys, rows = tf.reshape(tf.gather_nd(in_rows(whole), near), [-1]), tf.reshape(near, [-1]) * _ROW
    if is_even:
        return keys, rows
    # What fills no row counts as one.
    rest = tf.range(tf.cast(full[0], tf.int64), tf.size(whole, out_type=tf.int64), _ROW)
    return tf.concat([keys, tf.slice(whole, full, [-1])], 0), tf.concat([rows, rest], 0)


def middle_of(low: Any, high: Any) -> Any:
    """Returns a key half way between two, which may be as far apart as keys can be; not above the mean."""
    one = tf.ones_like(low)
    return tf.bitwise.right_shift(low, one) + tf.bitwise.right_shift(high, one)


def mark_between(low: Any, high: Any) -> Any:
    """Returns a key to mark by, not below `low` if that has as many bits of 0 as it needs."""
    return tf.bitwise.bitwise_and(middle_of(low, high), -(1 << LOW_BITS))


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
    # The upper one is among the few that are not below the lower one.
    best = tf.gather_nd(padded, tf.where_v2(padded >= low))
    high = tf_compat.nth_element(best, tf.maximum(tf.size(best) - 1 - tf.maximum(upper, 1), 0))
    # Beyond the sample: as far as four times its largest score.
    beyond = 2 << keys.width.mantissa
    high = tf_compat.choose(upper < 1, tf.minimum(high, keys.width.finite - beyond) + beyond, high)
    lowest = tf.maximum(low, beyond - keys.width.finite) - beyond if keys.signed else -tf.ones_like(low)
    low = tf.bitwise.bitwise_and(tf_compat.choose(lower > number, lowest, low), -(1 << LOW_BITS))
    return low, tf.minimum(high, keys.width.finite)
