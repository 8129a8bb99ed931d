"""A long vector, worked on piece by piece.

What is computed of a piece stays in the processor's cache, and a vector of many megabytes needs no second one of its
size: fresh memory costs more than reading it. A vector that may be long is walked by loops; a short one is a single
piece, without their overhead.
"""

from typing import Any, Callable, NamedTuple, Optional, Tuple

import tensorflow.compat.v1 as tf

from graph_masker.selection.keys import Width, to_keys, width_of

# Entries of a piece: 1 MB of float32.
PIECE = 2**18

_OVERLAP = 2  # Pieces that may be in work at once.


def is_large(entries: Optional[int]) -> bool:
    """Tells whether a vector is worth walking in pieces; one whose length is not known is."""
    return entries is None or entries > PIECE


class Keys(NamedTuple):
    """The keys of a flat vector of scores (see `keys.to_keys`), computed where they are needed.

    Attributes:
        scores: float vector.
        signed: False for keys of magnitudes.
        large: whether to walk it in pieces.
    """

    scores: Any
    signed: bool
    large: bool

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

    def total(self, count: Callable[[Any], Any], shape: Any) -> Any:
        """Returns the sum over all pieces of an int32 tensor of the given shape that is computed of each."""
        if not self.large:
            return count(self.all())
        size = self.size

        def add(start: Any, sums: Any) -> Any:
            stop = tf.minimum(size - start, PIECE) + start
            return stop, sums + count(self.part(start, stop))

        return _loop(lambda start, _: start < size, add, [0, tf.zeros(shape, tf.int32)])[1]

    def every(self, stride: Any) -> Any:
        """Returns the first key and every `stride`-th after it."""
        return to_keys(self.scores[::stride], self.signed)

    def collect(self, look: Callable[[Any], Tuple[Any, Any]], most: Any) -> Tuple[Any, "Collected"]:
        """Looks at piece after piece until more than `most` keys are collected.

        Args:
            look: returns, of the keys of a piece, an int32 scalar and the keys to collect, a vector.
            most: int32 scalar.

        Returns:
            The sum of the scalars, and what was collected.
        """
        if not self.large:
            total, chosen = look(self.all())
            return total, Collected(tf.constant(True), chosen)
        size = self.size
        # One piece at least: nothing can be read of an array that nothing was written to.
        count = tf.maximum(1, (size - 1) // PIECE + 1)

        def is_open(index: Any, total: Any, number: Any, chosen: Any) -> Any:
            return (index < count) & (number <= most)

        def add(index: Any, total: Any, number: Any, chosen: Any) -> Any:
            start = index * PIECE
            value, few = look(self.part(start, tf.minimum(size - start, PIECE) + start))
            return index + 1, total + value, number + tf.size(few), chosen.write(index, few)

        index, total, _, chosen = _loop(is_open, add, [0, 0, 0, _array(self.width.whole, count)])
        complete = tf.equal(index, count)
        none = tf.zeros([0], self.width.whole)
        return total, Collected(complete, tf.cond(complete, chosen.concat, lambda: none))


class Collected(NamedTuple):
    """Keys that were collected.

    Attributes:
        complete: bool scalar, False where there were too many.
        keys: vector, in order; empty where there were too many.
    """

    complete: Any
    keys: Any


def _loop(condition: Any, body: Any, start: Any) -> Any:
    return tf.while_loop(condition, body, start, parallel_iterations=_OVERLAP, back_prop=False)


def _array(dtype: Any, size: Any) -> Any:
    return tf.TensorArray(dtype, size, infer_shape=False, element_shape=[None])


def number_of_equal(keys: Keys, key: Any) -> Any:
    """Returns how many keys equal a key, an int32 scalar."""
    return keys.total(lambda part: _count_equal(part, key), [])


def position_of_equal(keys: Keys, key: Any, number: Any) -> Any:
    """Returns the index of the `number`-th (from 1) entry that equals a key, of which there are as many."""
    if not keys.large:
        return _nth_equal(keys.all(), key, number)
    size = keys.size

    def unfound(start: Any, left: Any, inside: Any) -> Any:
        return left > inside

    def walk(start: Any, left: Any, inside: Any) -> Any:
        start, left = start + PIECE, left - inside
        part = keys.part(start, tf.minimum(size - start, PIECE) + start)
        return start, left, _count_equal(part, key)

    start, left, _ = _loop(unfound, walk, [-PIECE, number, 0])
    return start + _nth_equal(keys.part(start, tf.minimum(size - start, PIECE) + start), key, left)


def _count_equal(part: Any, key: Any) -> Any:
    # 1 where a key differs: cheaper than a comparison and its cast.
    differing = tf.abs(tf.maximum(tf.minimum(part, key + 1), key - 1) - key)
    return tf.size(part) - tf.cast(tf.reduce_sum(differing), tf.int32)


def _nth_equal(keys: Any, key: Any, number: Any) -> Any:
    return tf.cast(tf.where(tf.equal(keys, key))[number - 1, 0], tf.int32)


def mask_of(keys: Keys, key: Any, stop: Any, dtype: Any) -> Any:
    """Returns 1 for keys above `key`, and for those that equal it before index `stop`; 0 for the others."""
    size = keys.size

    def ones(part: Any, least: Any) -> Any:
        # By arithmetic in place: a comparison's result costs four times as much to turn into numbers.
        below = least - 1
        bits = (tf.maximum(tf.minimum(part, least), below) - below) * keys.width.one
        return tf.cast(tf.bitcast(bits, keys.width.real), dtype)

    if not keys.large:
        whole = keys.all()
        return tf.concat([ones(whole[:stop], key), ones(whole[stop:], key + 1)], 0)

    def in_pieces() -> Any:
        def add(index: Any, start: Any, mask: Any) -> Any:
            early = start < stop
            end = tf.minimum(tf.where(early, stop, size) - start, PIECE) + start
            least = tf.where(early, key, key + 1)
            return index + 1, end, mask.write(index, ones(keys.part(start, end), least))

        count = (stop - 1) // PIECE + (size - stop - 1) // PIECE + 2
        return _loop(lambda index, *_: index < count, add, [0, 0, _array(dtype, count)])[2].concat()

    return tf.cond(stop < size, in_pieces, lambda: ones(keys.all(), key))
