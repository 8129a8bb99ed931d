"""One pass over many keys: it counts those above a key and marks them in a mask, and finds those of a range.

A row of a few scores may have a key in the range if one of them is near its middle. The pass tells which rows come
near; only these few are looked at again, all together.
"""

from typing import Any, NamedTuple, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.selection.keys import from_key, widened
from graph_masker.selection.masks import as_mask, count_above, one_for
from graph_masker.selection.pieces import ROW, Extent, Keys, Rows, array, loop

# Beyond so many rows that come near, and one of so many, there are too many to look at, for the sake of memory.
_FEW = 2**13
_FEW_SHARE = 4

# Of a key that is marked by, so many bits are 0: times the bits of a one, which have as many in front of them, it is 0
# in any width, and the next integer is that one. (See `masks.as_mask`.)
LOW_BITS = 12


class Found(NamedTuple):
    """The keys that lie in a range, and what was found of the others.

    Attributes:
        keys: those in the range, in order.
        places: int64 [number of these, 1], where each lies in `near`.
        above: int32 scalar, how many of all keys lie above the range.
        near: all keys of the rows that come near the range, in order.
        rows: int32, the numbers of these rows.
        mask: of all keys, ones for those above `mark`; with some more entries at its end.
        mark: a key of the range.
        size: int32 scalar, the number of keys.
        complete: bool scalar, False where there were too many; some are missing then.
    """

    keys: Any
    places: Any
    above: Any
    near: Any
    rows: Any
    mask: Any
    mark: Any
    size: Any
    complete: Any

    def unlike(self, key: Any) -> Tuple[Any, Any]:
        """Returns the rows in which a mask of all keys from a key of the range on is not `mask`: few of those near.

        Returns:
            Their numbers, int32, and their keys; a row may be there more than once.
        """
        before = key - 1
        _, at = _between(self.keys, tf.minimum(before, self.mark), tf.maximum(before, self.mark))
        rows = tf.gather_nd(self.places, at) // ROW
        return tf.gather_nd(self.rows, rows), tf.reshape(tf.gather_nd(tf.reshape(self.near, [-1, ROW]), rows), [-1])

    def with_rows(self, rows: Any, mask: Any) -> Any:
        """Returns the mask of all keys, given that of the keys of some rows."""
        whole = tf.reshape(self.mask, [-1, ROW])
        whole = tf.reshape(tf_compat.set_rows(whole, rows, tf.reshape(mask, [-1, ROW])), [-1])
        return tf.slice(whole, [0], tf.expand_dims(self.size, 0))


def scan(keys: Keys, low: Any, high: Any, mark: Any, mask_dtype: Any) -> Found:
    """Looks at all keys once, and marks in a mask; gives up where too many may be in range, for the sake of memory.

    Args:
        keys: vector, which is not `SMALL`.
        low: a key.
        high: not below `low`.
        mark: a key between them, whose `LOW_BITS` lowest bits are 0.
        mask_dtype: of the mask.
    """
    rows, total, mask, rest = _walked(keys, _Look(keys, low, high, mark, mask_dtype))
    few = tf.minimum(tf.maximum(keys.size // (ROW * _FEW_SHARE), _FEW), tf.size(rows))
    complete = tf.equal(few, tf.size(rows))
    near, rows = _keys_of(keys, tf.slice(rows, [0], tf.expand_dims(few, 0)), rest)
    found, places = _between(near, low, high)
    above = total - count_above(found, mark)
    return Found(found, places, above, near, tf.cast(rows, tf.int32), mask, mark, keys.size, complete)


def in_range(keys: Keys, low: Any, high: Any) -> Any:
    """Returns the keys above `low` that are not above `high`, in order, however many they are."""
    if keys.extent is Extent.SMALL:
        return _between(keys.all(), low, high)[0]
    rows, _, _, rest = _walked(keys, _Look(keys, low, high))
    return _between(_keys_of(keys, rows, rest)[0], low, high)[0]


def _between(keys: Any, low: Any, high: Any) -> Tuple[Any, Any]:
    """Returns the keys above `low` that are not above `high`, in order, and where they are, int64 [.., 1]."""
    places = tf.where_v2((keys > low) & (keys <= high))
    return tf.gather_nd(keys, places), places


def mark_between(low: Any, high: Any) -> Any:
    """Returns a key to mark by, not below `low` if that has as many bits of 0 as it needs."""
    return tf.bitwise.bitwise_and(_middle_of(low, high), -(1 << LOW_BITS))


def _middle_of(low: Any, high: Any) -> Any:
    """Returns a key half way between two, which may be as far apart as keys can be; not above the mean."""
    one = tf.constant(1, low.dtype)
    return tf.bitwise.right_shift(low, one) + tf.bitwise.right_shift(high, one)


def _reach(keys: Keys, low: Any, high: Any) -> Tuple[Any, Any]:
    """Returns the score in the middle of a range, and the square of how far from it scores of the range may be.

    Squares of differences are rounded alike, so that no score of the range is farther from the middle than its ends
    are. Some beyond may seem as near: all, where all scores are below 1e-19, whose squares are 0.
    """
    least, most = (-keys.width.finite if keys.signed else 0), keys.width.finite
    ends = tf.minimum(tf.maximum(tf.stack([low, high, _middle_of(low, high)]), least), most)
    scores = from_key(ends, keys.signed)
    middle = scores[2]
    return middle, tf.reduce_max(tf.math.squared_difference(scores, middle))


class _Look:
    """What is done with the scores of a piece. Its constants are made here: in a loop they would cost time."""

    def __init__(self, keys: Keys, low: Any, high: Any, mark: Any = None, mask_dtype: Any = None) -> None:
        """Args: as for `scan`; no mark and no type where no mask is to be made."""
        self.mask_dtype = mask_dtype
        self._keys = keys
        self._mark = mark
        self._after_mark = None if mark is None else mark + 1
        self._one = None if mask_dtype is None else one_for(mask_dtype)
        self._middle, farthest = _reach(keys, low, high)
        self._farthest = tf.bitcast(farthest, keys.width.whole)
        self._rows, self._inner, self._all = tf.constant([-1, ROW]), tf.constant(1), tf.constant([0])
        self._flat = tf.constant([-1])

    def at(self, scores: Any) -> Tuple[Any, Any, Any]:
        """Returns the numbers of a piece's rows that come near, how many of its keys lie above the mark, and a mask."""
        wide = widened(scores) if self._keys.signed else tf.abs(widened(scores))
        # By floats: of integers, TensorFlow takes the least of each row slowly. As integers they compare twice as fast,
        # and in the same order, as none is below 0.
        distances = tf.math.squared_difference(tf.reshape(wide, self._rows), self._middle)
        distances = tf.bitcast(tf.reduce_min(distances, self._inner), self._keys.width.whole)
        near = tf.reshape(tf.where_v2(distances <= self._farthest), self._flat)
        if self._one is None:
            return near, tf.constant(0), tf.constant(0.0)
        # One after the other, so that nothing is handed over to another thread, and what is read last is written to.
        with tf.control_dependencies([near]):
            whole = self._keys.of_wide(wide)
        return (near, *self.marked(whole))

    def marked(self, whole: Any) -> Tuple[Any, Any]:
        """Returns how many of some keys lie above the mark, an int32 scalar, and their mask."""
        held = tf.maximum(tf.minimum(whole, self._after_mark), self._mark)
        # Their sum may be more than an integer holds: what is taken from it wraps around as it does.
        number = tf.reduce_sum(held, self._all) - tf.size(held, out_type=held.dtype) * self._mark
        return tf.cast(number, tf.int32), as_mask(held, self.mask_dtype, self._one)


def _walked(keys: Keys, look: _Look) -> Tuple[Any, Any, Any, Any]:
    """Returns what `_Look.at` does, of all pieces, and the rest, which was marked alone; None where there is none."""
    if keys.is_short:
        return (*look.at(keys.scores), None)
    pieces = keys.pieces()
    in_piece = tf.cast(pieces.length // ROW, tf.int64)
    nears = array(tf.int64, pieces.number)

    def numbered(index: Any, near: Any) -> Any:
        return near + tf.cast(index, tf.int64) * in_piece

    total, mask = tf.constant(0), tf.constant(0.0)
    if look.mask_dtype is None:

        def measure(index: Any, nears: Any) -> Any:
            near = look.at(pieces.piece(pieces.at(index)))[0]
            return pieces.after(index), nears.write(index, numbered(index, near))

        _, nears = loop(lambda index, _: index < pieces.number, measure, [0, nears])
    else:
        masks = Rows(pieces, look.mask_dtype)

        def add(index: Any, total: Any, nears: Any, mask: Any) -> Any:
            at = pieces.at(index)
            near, marked, part = look.at(pieces.piece(at))
            nears = nears.write(index, numbered(index, near))
            return pieces.after(index), total + marked, nears, masks.put(mask, at, part)

        _, total, nears, mask = loop(lambda index, *_: index < pieces.number, add, [0, total, nears, masks.empty])
        if pieces.rest is not None:
            marked, part = look.marked(keys.of(pieces.rest))
            total, mask = total + marked, masks.put_rest(mask, part)
    if pieces.rest is None:
        return nears.concat(), total, mask, None
    # What has no elements cannot be put together.
    rows = tf.cond(pieces.number > 0, nears.concat, lambda: tf.zeros([0], tf.int64))
    return rows, total, mask, pieces.rest


def _keys_of(keys: Keys, rows: Any, rest: Any) -> Tuple[Any, Any]:
    """Returns the keys of some rows and of the rest, which is filled up, and the numbers of all these rows, int64."""
    whole = keys.scores if rest is None else tf.slice(keys.scores, [0], tf.expand_dims(keys.size - tf.size(rest), 0))
    whole = tf.reshape(whole, [-1, ROW])
    near = keys.of(tf.reshape(tf.gather_nd(whole, tf.expand_dims(rows, 1)), [-1]))
    if rest is None:
        return near, rows
    filled = tf.pad(keys.of(rest), [[0, -tf.size(rest) % ROW]], constant_values=keys.width.lowest)
    first, more = (tf.cast(number, tf.int64) for number in (tf.shape(whole)[0], tf.size(filled) // ROW))
    return tf.concat([near, filled], 0), tf.concat([rows, first + tf.range(more)], 0)
