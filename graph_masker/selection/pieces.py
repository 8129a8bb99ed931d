"""A long vector of keys, worked on piece by piece.

What is computed of a piece stays in the processor's cache, and a vector of many megabytes needs no second one of its
size: fresh memory costs more than reading it. A vector that may be long is walked by loops over whole pieces, whose
length needs no op to ask for; the last piece comes after them. A short one is a single piece, without any loop.
"""

import enum
from typing import Any, Callable, NamedTuple, Optional

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.selection.keys import Width, to_keys, width_of

# Entries of a piece: few enough for ops that are not shared out among threads, which takes longer than they do.
PIECE = 2**16

# Entries up to which looking at each of them is quicker than looking for the few that matter.
_SMALL = 2**14

# Entries up to which one piece of any length is quicker than a loop over pieces.
_MEDIUM = PIECE

_OVERLAP = 1  # Pieces that may be in work at once.


class Extent(enum.Enum):
    """How many scores there may be, which decides how they are searched.

    `LARGE` is right for any number. `SMALL` is quicker for some thousands and `MEDIUM` for some hundred thousands; both
    need one at least.
    """

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


def extent_of(entries: Optional[int]) -> Extent:
    """Returns the quickest extent for so many scores; None where their number is not known."""
    if entries is None or not 0 < entries <= _MEDIUM:
        return Extent.LARGE
    return Extent.SMALL if entries <= _SMALL else Extent.MEDIUM


class Keys(NamedTuple):
    """The keys of a flat vector of scores (see `keys.to_keys`), computed where they are needed.

    Attributes:
        scores: float vector.
        signed: False for keys of magnitudes.
        extent: how to walk it.
    """

    scores: Any
    signed: bool
    extent: Extent

    @property
    def is_large(self) -> bool:
        """Whether it is walked in pieces."""
        return self.extent is Extent.LARGE

    @property
    def width(self) -> Width:
        """What kind of integers the keys are."""
        return width_of(self.scores.dtype)

    @property
    def size(self) -> Any:
        """How many there are, an int32 scalar."""
        return tf.size(self.scores)

    def all(self) -> Any:
        """Returns all keys at once."""
        return self.of(self.scores)

    def whole_pieces(self) -> Any:
        """Returns how many whole pieces come before the last one, which is empty only where there are no keys."""
        return tf.maximum((self.size - 1) // PIECE, 0)

    def whole_piece(self, index: Any) -> Any:
        """Returns the scores of one of these."""
        return tf.slice(self.scores, [index * PIECE], [PIECE])

    def last_piece(self, number: Any) -> Any:
        """Returns the scores of what comes after so many whole pieces."""
        return tf.slice(self.scores, [number * PIECE], [-1])

    def of(self, scores: Any) -> Any:
        """Returns the keys of some of the scores."""
        return to_keys(scores, self.signed)

    def total(self, count: Callable[[Any], Any], shape: Any) -> Any:
        """Returns the sum over all pieces of an int32 tensor of the given shape that is computed of each."""
        if not self.is_large:
            return count(self.all())
        number = self.whole_pieces()

        def add(index: Any, sums: Any) -> Any:
            return index + 1, sums + count(self.of(self.whole_piece(index)))

        _, sums = loop(lambda index, _: index < number, add, [0, tf.zeros(shape, tf.int32)])
        return sums + count(self.of(self.last_piece(number)))


def loop(condition: Any, body: Any, start: Any) -> Any:
    """Runs a loop over pieces. What its body uses is best computed outside: there even a constant costs time."""
    return tf.while_loop(condition, body, start, parallel_iterations=_OVERLAP, back_prop=False)


def array(dtype: Any, size: Any) -> Any:
    """Returns an array for the results of a loop, which may differ in length."""
    return tf.TensorArray(dtype, size, infer_shape=False)


# Rows of a buffer that take in one piece.
_ROWS = 16


def buffer(number: Any, dtype: Any) -> Any:
    """Returns a tensor for the entries of so many pieces, in rows, for `put` to fill: it needs no second one."""
    return tf_compat.empty([number * _ROWS, PIECE // _ROWS], dtype)


def put(rows: Any, index: Any, part: Any) -> Any:
    """Writes a whole piece into what `buffer` returned."""
    return tf_compat.set_rows(rows, index * _ROWS, tf.reshape(part, [_ROWS, PIECE // _ROWS]))


def put_last(rows: Any, index: Any, part: Any) -> Any:
    """Writes the last piece, which may be shorter than others, into what `buffer` returned."""
    width = PIECE // _ROWS
    whole = tf.size(part) // width * width
    # What fills no row is filled up: a whole piece would be copied for that.
    rest = tf.pad(tf.slice(part, [whole], [-1]), [[0, -tf.size(part) % width]])
    rows = tf_compat.set_rows(rows, index * _ROWS, tf.reshape(tf.slice(part, [0], [whole]), [-1, width]))
    return tf_compat.set_rows(rows, index * _ROWS + whole // width, tf.reshape(rest, [-1, width]))


def zero_or_one(part: Any, key: Any) -> Any:
    """Returns integers: 1 for keys that lie above a key, 0 for the others."""
    # By arithmetic, in place: the result of a comparison costs four times as much to turn into numbers.
    return tf.maximum(tf.minimum(part, key + 1), key) - key
