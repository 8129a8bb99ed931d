"""One pass over many keys: it counts those above a key and marks them in a mask, and finds those of a range.

A row of a few scores may have a key in the range if one of them is near the middle of it. The pass keeps how near each
row comes; only the few rows that come near are looked at again, all together.
"""

from typing import Any, NamedTuple, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.selection.keys import from_key, widened
from graph_masker.selection.masks import as_mask, count_above, one_for
from graph_masker.selection.pieces import ROW, Extent, Keys, Pieces, Rows, loop

# Beyond so many rows that come near, and one of so many, there are too many to look at, for the sake of memory.
_FEW = 2**12
_FEW_SHARE = 2

# Of a key that is marked by, so many bits are 0: times the bits of a one, which have as many in front of them, it is 0
# in any width, and the next integer is that one. (See `masks.as_mask`.)
LOW_BITS = 12


class Found(NamedTuple):
    """What lies between two keys, and around them.

    Attributes:
        keys: those above the lower one that do not lie above the upper one, in order.
        above: int32 scalar, how many of all keys lie above the upper one. This, and what follows, means nothing unless
            a mask is asked for.
        near: all keys of the rows that were looked at, in order.
        rows: int32, their numbers.
        mask: of all keys, ones for those above the range, right but for these rows; with some more entries at its end.
        size: int32 scalar, the number of keys.
        complete: bool scalar, False where there were too many; of what was found, something is missing then.
    """

    keys: Any
    above: Any
    near: Any
    rows: Any
    mask: Any
    size: Any
    complete: Any

    def completed(self, near: Any) -> Any:
        """Returns the mask of all keys, given that of the keys near the range."""
        mask = tf.reshape(self.mask, [-1, ROW])
        mask = tf.reshape(tf_compat.set_rows(mask, self.rows, tf.reshape(near, [-1, ROW])), [-1])
        return tf.slice(mask, [0], tf.expand_dims(self.size, 0))


def scan(keys: Keys, low: Any, high: Any, mark: Any = None, mask_dtype: Any = None) -> Found:
    """Looks at all keys once; with a mask to make, gives up where too many may be in range, for the sake of memory.

    Args:
        keys: vector.
        low: a key.
        high: not below `low`.
        mark: one whose `LOW_BITS` lowest bits are 0.
        mask_dtype: of the mask to make and the keys to count; None for neither.
    """
    if keys.extent is Extent.SMALL and mask_dtype is None:
        near, nothing = keys.all(), tf.constant(0)
        found = tf.gather_nd(near, tf.where_v2((near > low) & (near <= high)))
        return Found(found, nothing, near, nothing, nothing, keys.size, tf.constant(True))
    look = _Look(keys, low, high, mark, mask_dtype)
    pieces = None if keys.is_short else keys.pieces()
    distances, total, mask = look.at(keys.scores) if pieces is None else _in_pieces(pieces, look)
    rows = tf.reshape(tf.where_v2(look.near(distances)), [-1])
    few = number = tf.size(rows)
    if mask_dtype is not None:
        few = tf.minimum(number, tf.maximum(tf.size(distances) // _FEW_SHARE, _FEW))
        rows = tf.slice(rows, [0], tf.expand_dims(few, 0))
    whole, rest = keys.scores, None if pieces is None else pieces.rest
    if rest is not None:
        whole = tf.slice(whole, [0], tf.expand_dims(keys.size - tf.size(rest), 0))
    near = keys.of(tf.reshape(tf.gather_nd(tf.reshape(whole, [-1, ROW]), tf.expand_dims(rows, 1)), [-1]))
    if rest is not None:
        more = keys.of(rest)
        if mask_dtype is not None:
            total += count_above(more, mark)
            last = tf.size(distances, out_type=tf.int64) + tf.range(tf.cast((tf.size(more) - 1) // ROW + 1, tf.int64))
            rows = tf.concat([rows, last], 0)
        lowest = tf.constant(keys.width.lowest, keys.width.whole)
        near = tf.concat([near, tf.pad(more, [[0, -tf.size(more) % ROW]], constant_values=lowest)], 0)
    found = tf.gather_nd(near, tf.where_v2((near > low) & (near <= high)))
    if mask_dtype is None:
        return Found(found, total, near, rows, mask, keys.size, tf.constant(True))
    above = total - count_above(found, mark)
    return Found(found, above, near, tf.cast(rows, tf.int32), mask, keys.size, tf.equal(few, number))


def middle_of(low: Any, high: Any) -> Any:
    """Returns a key half way between two, which may be as far apart as keys can be; not above the mean."""
    one = tf.ones_like(low)
    return tf.bitwise.right_shift(low, one) + tf.bitwise.right_shift(high, one)


def mark_between(low: Any, high: Any) -> Any:
    """Returns a key to mark by, not below `low` if that has as many bits of 0 as it needs."""
    return tf.bitwise.bitwise_and(middle_of(low, high), -(1 << LOW_BITS))


class _Look:
    """What is done with the scores of a piece. Its constants are made here: in a loop they would cost time."""

    def __init__(self, keys: Keys, low: Any, high: Any, mark: Any, mask_dtype: Any) -> None:
        """Args: as for `scan`."""
        self.mask_dtype = mask_dtype
        self.real = keys.width.real
        self._keys = keys
        self._mark = mark
        self._after_mark = None if mark is None else mark + 1
        self._one = None if mask_dtype is None else one_for(mask_dtype)
        least, most = (-keys.width.finite if keys.signed else 0), keys.width.finite
        ends = [tf.minimum(tf.maximum(key, least), most) for key in (low, middle_of(low, high), high)]
        lower, self._middle, upper = (from_key(key, keys.signed) for key in ends)
        self._farthest = tf.maximum(
            tf.math.squared_difference(lower, self._middle), tf.math.squared_difference(upper, self._middle)
        )
        self._rows, self._inner, self._all = tf.constant([-1, ROW]), tf.constant(1), tf.constant([0])

    def near(self, distances: Any) -> Any:
        """Returns which distances are not beyond the range.

        By floats: of integers, TensorFlow takes the least of each row slowly. Squares of differences are rounded alike,
        so that none in the range is farther from the middle than its ends are. Some beyond may seem as near: all,
        where all scores are below 1e-19, whose squares are 0. As integers they compare twice as fast, in one order.
        """
        whole = self._keys.width.whole
        return tf.bitcast(distances, whole) <= tf.bitcast(self._farthest, whole)

    def at(self, scores: Any) -> Tuple[Any, Any, Any]:
        """Returns how near each row of a piece comes, how many of its keys lie above the mark (int32), and a mask."""
        wide = widened(scores) if self._keys.signed else tf.abs(widened(scores))
        distances = tf.math.squared_difference(tf.reshape(wide, self._rows), self._middle)
        distances = tf.reduce_min(distances, self._inner)
        if self._one is None:
            return distances, tf.constant(0), tf.constant(0.0)
        # One after the other, so that nothing is handed over to another thread, and what is read last is written to.
        with tf.control_dependencies([distances]):
            whole = self._keys.of_wide(wide)
            held = tf.maximum(tf.minimum(whole, self._after_mark), self._mark)
        # Their sum may be more than an integer holds: what is taken from it wraps around as it does.
        marked = tf.reduce_sum(held, self._all) - tf.size(held, out_type=held.dtype) * self._mark
        return distances, tf.cast(marked, tf.int32), as_mask(held, self.mask_dtype, self._one)


def _in_pieces(pieces: Pieces, look: _Look) -> Tuple[Any, Any, Any]:
    nearness = Rows(pieces, look.real, ROW)
    total, mask = tf.constant(0), tf.constant(0.0)
    if look.mask_dtype is None:

        def measure(index: Any, distances: Any) -> Any:
            at = pieces.at(index)
            return pieces.after(index), nearness.put(distances, at, look.at(pieces.piece(at))[0])

        _, distances = loop(lambda index, _: index < pieces.number, measure, [0, nearness.empty])
    else:
        masks = Rows(pieces, look.mask_dtype)

        def add(index: Any, total: Any, distances: Any, mask: Any) -> Any:
            at = pieces.at(index)
            rows, marked, part = look.at(pieces.piece(at))
            return pieces.after(index), total + marked, nearness.put(distances, at, rows), masks.put(mask, at, part)

        start = [0, total, nearness.empty, masks.empty]
        _, total, distances, mask = loop(lambda index, *_: index < pieces.number, add, start)
    distances = tf.reshape(distances, [-1])
    if pieces.rest is not None:
        distances = tf.slice(distances, [0], tf.expand_dims(pieces.number * pieces.length // ROW, 0))
    return distances, total, mask
