"""A long vector of keys, worked on piece by piece.

What is computed of a piece stays in the processor's cache, and a vector of many megabytes needs no second one of its
size: fresh memory costs more than reading it. A vector that may be long is walked by loops; a short one is a single
piece, without their overhead.
"""

import enum
from typing import Any, Callable, NamedTuple, Optional

import tensorflow.compat.v1 as tf

from graph_masker.selection.keys import Width, to_keys, width_of

# Entries of a piece: 1 MB of float32.
PIECE = 2**18

# Entries up to which looking at each of them is quicker than looking for the few that matter.
_SMALL = 2**14

_OVERLAP = 2  # Pieces that may be in work at once.


class Extent(enum.Enum):
    """How many scores there may be, which decides how they are searched.

    `LARGE` is right for any number. The others are quicker for less: `SMALL` for some thousands, at least one.
    """

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


def extent_of(entries: Optional[int]) -> Extent:
    """Returns the quickest extent for so many scores; None where their number is not known."""
    if entries is None or not 0 < entries <= PIECE:
        return Extent.LARGE
    return Extent.MEDIUM if entries > _SMALL else Extent.SMALL


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
        return to_keys(self.scores, self.signed)

    def part(self, start: Any, stop: Any) -> Any:
        """Returns the keys from index `start` to before `stop`."""
        return to_keys(tf.slice(self.scores, [start], [stop - start]), self.signed)

    def every(self, stride: Any) -> Any:
        """Returns the first key and every `stride`-th after it."""
        return to_keys(self.scores[::stride], self.signed)

    def total(self, count: Callable[[Any], Any], shape: Any) -> Any:
        """Returns the sum over all pieces of an int32 tensor of the given shape that is computed of each."""
        if not self.is_large:
            return count(self.all())
        size = self.size

        def add(start: Any, sums: Any) -> Any:
            stop = tf.minimum(size - start, PIECE) + start
            return stop, sums + count(self.part(start, stop))

        return loop(lambda start, _: start < size, add, [0, tf.zeros(shape, tf.int32)])[1]


def loop(condition: Any, body: Any, start: Any) -> Any:
    """Runs a loop over pieces. What its body uses is best computed outside: there even a constant costs time."""
    return tf.while_loop(condition, body, start, parallel_iterations=_OVERLAP, back_prop=False)


def array(dtype: Any, size: Any) -> Any:
    """Returns an array for the results of a loop, which may differ in length."""
    return tf.TensorArray(dtype, size, infer_shape=False)


def number_of_equal(keys: Keys, key: Any) -> Any:
    """Returns how many keys equal a key, an int32 scalar."""
    return keys.total(lambda part: _count_equal(part, key), [])


def position_of_equal(keys: Keys, key: Any, number: Any) -> Any:
    """Returns the index of the `number`-th (from 1) of the keys that equal a key; there are so many."""
    if not keys.is_large:
        return _nth_equal(keys.all(), key, number)
    size = keys.size

    def unfound(start: Any, left: Any, inside: Any) -> Any:
        return left > inside

    def walk(start: Any, left: Any, inside: Any) -> Any:
        start, left = start + PIECE, left - inside
        return start, left, _count_equal(keys.part(start, tf.minimum(size - start, PIECE) + start), key)

    start, left, _ = loop(unfound, walk, [-PIECE, number, 0])
    return start + _nth_equal(keys.part(start, tf.minimum(size - start, PIECE) + start), key, left)


def _count_equal(part: Any, key: Any) -> Any:
    # 1 where a key differs: cheaper than a comparison and its cast.
    differing = tf.abs(tf.maximum(tf.minimum(part, key + 1), key - 1) - key)
    return tf.size(part) - tf.cast(tf.reduce_sum(differing), tf.int32)


def _nth_equal(part: Any, key: Any, number: Any) -> Any:
    return tf.cast(tf.where(tf.equal(part, key))[number - 1, 0], tf.int32)
