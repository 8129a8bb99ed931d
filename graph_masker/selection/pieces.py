"""A long vector of keys, worked on piece by piece.

What is computed of a piece stays in the processor's cache, and a vector of many megabytes needs no second one of its
size: fresh memory costs more than reading it. A long vector is walked by loops over equal pieces, so that there is no
last one to treat apart: small ops take as long as the work on an entry does. A short one is a single piece, without any
loop.
"""

import enum
from typing import Any, Callable, NamedTuple, Optional

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.schedule import FLOAT32_EXACT_ENTRIES
from graph_masker.selection.keys import Width, to_keys, width_of

# Entries of a piece: few enough for ops that are not shared out among threads, which takes longer than they do.
PIECE = 2**16

# Scores that are looked at together: lengths of pieces are whole numbers of rows.
ROW = 8

# Entries up to which looking at each of them is quicker than looking for the few that matter.
_SMALL = 2**14

# Entries that equal pieces are a whole number of: a piece is a part of the vector, not a copy, only where it begins at
# an address that vector instructions like.
_STEP = 16

_OVERLAP = 1  # Pieces that may be in work at once.


class Extent(enum.Enum):
    """How many scores there may be, which decides how they are searched.

    `LARGE` is right for any number. `SMALL` is quicker for some thousands, but one at least; `MEDIUM` for as many as a
    piece has, in whole rows; `EVEN` for what is divided into equal pieces. Their numbers are exact in float32.
    """

    SMALL = "small"
    MEDIUM = "medium"
    EVEN = "even"
    LARGE = "large"


def extent_of(entries: Optional[int]) -> Extent:
    """Returns the quickest extent for so many scores; None where their number is not known."""
    if entries is None or entries <= 0:
        return Extent.LARGE
    if entries <= _SMALL:
        return Extent.SMALL
    if entries <= PIECE and entries % ROW == 0:
        return Extent.MEDIUM
    if entries > FLOAT32_EXACT_ENTRIES or all(entries % (_STEP * number) for number in _numbers(entries)):
        return Extent.LARGE
    return Extent.EVEN


def _numbers(entries: Any) -> Any:
    """Returns the numbers of equal pieces that are tried: up to twice as many as are needed."""
    least = (entries - 1) // PIECE + 1
    return range(least, 2 * least + 1) if isinstance(entries, int) else tf.range(least, 2 * least + 1)


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
    def is_short(self) -> bool:
        """Whether it is a single piece."""
        return self.extent in (Extent.SMALL, Extent.MEDIUM)

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

    def of(self, scores: Any) -> Any:
        """Returns the keys of some of the scores."""
        return to_keys(scores, self.signed)

    def of_wide(self, wide: Any) -> Any:
        """Returns the keys of scores that are `widened`, and not below 0 unless they are signed."""
        return to_keys(wide, True) if self.signed else tf.bitcast(wide, self.width.whole)

    def total(self, count: Callable[[Any], Any], shape: Any) -> Any:
        """Returns the sum over all pieces of an int32 tensor of the given shape that is computed of each."""
        if self.is_short:
            return count(self.all())
        pieces = self.pieces()

        def add(index: Any, sums: Any) -> Any:
            return pieces.after(index), sums + count(self.of(pieces.piece(pieces.at(index))))

        _, sums = loop(lambda index, _: index < pieces.number, add, [0, tf.zeros(shape, tf.int32)])
        return sums if pieces.rest is None else sums + count(self.of(pieces.rest))

    def pieces(self) -> "Pieces":
        """Returns the scores in pieces."""
        return Pieces(self.scores, self.extent is Extent.EVEN)


class Pieces:
    """A vector in pieces of one length, and what is left.

    Constants are made here: in the body of a loop even they take time.

    Attributes:
        number: int32 scalar, of pieces.
        length: int32 scalar, of each.
        rest: the entries that come after them, less than a piece; None where the pieces are equal.
    """

    def __init__(self, values: Any, even: bool) -> None:
        """Args: the vector, and whether it is known to be divided into equal pieces."""
        self._values = values
        size = tf.size(values)
        if even:
            numbers = _numbers(size)
            self.number = tf.gather(numbers, tf.argmax(tf.cast(tf.equal(size % (numbers * _STEP), 0), tf.int32)))
            self.length = size // self.number
            self.rest = None
        else:
            self.number, self.length = size // PIECE, tf.constant(PIECE)
            self.rest = tf.slice(values, tf.expand_dims(self.number * PIECE, 0), [-1])
        self._lengths = tf.expand_dims(self.length, 0)
        self._shape, self._step = tf.constant([1]), tf.constant(1)

    def at(self, index: Any) -> Any:
        """Returns the index of a piece as a vector of one, as `piece` and `Rows.put` take it."""
        return tf.reshape(index, self._shape)

    def after(self, index: Any) -> Any:
        """Returns the next index."""
        return index + self._step

    def piece(self, at: Any) -> Any:
        """Returns the entries of a piece."""
        return tf.slice(self._values, at * self._lengths, self._lengths)


def loop(condition: Any, body: Any, start: Any) -> Any:
    """Runs a loop over pieces. What its body uses is best computed outside: there even a constant costs time."""
    return tf.while_loop(condition, body, start, parallel_iterations=_OVERLAP, back_prop=False)


def array(dtype: Any, size: Any) -> Any:
    """Returns an array for the results of a loop, which may differ in length."""
    return tf.TensorArray(dtype, size, infer_shape=False)


class Rows:
    """What comes of each piece, as rows of a matrix that is filled in place: it needs no second one.

    Attributes:
        empty: the matrix, to begin with; with one more row for what comes of the rest, if there may be any.
    """

    def __init__(self, pieces: Pieces, dtype: Any) -> None:
        """Args: the pieces, and the type of what comes of them."""
        self._pieces = pieces
        self._length = pieces.length
        self._shape = tf.stack([1, self._length])
        self.empty = tf_compat.empty([pieces.number + (pieces.rest is not None), self._length], dtype)

    def put(self, rows: Any, at: Any, part: Any) -> Any:
        """Writes what comes of a piece, and returns the matrix.

        Args:
            rows: the matrix.
            at: int32 vector of one, the index of the piece.
            part: vector.
        """
        return tf_compat.set_rows(rows, at, tf.reshape(part, self._shape))

    def put_rest(self, rows: Any, part: Any) -> Any:
        """Writes what comes of the rest, a vector, and returns the matrix."""
        filled = tf.pad(part, [[0, self._length - tf.size(part)]])
        return self.put(rows, tf.expand_dims(self._pieces.number, 0), filled)


def zero_or_one(part: Any, key: Any) -> Any:
    """Returns integers: 1 for keys that lie above a key, 0 for the others."""
    # By arithmetic, in place: the result of a comparison costs four times as much to turn into numbers.
    return tf.maximum(tf.minimum(part, key + 1), key) - key
