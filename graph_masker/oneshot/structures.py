"""Structures whose units compete with each other: how units are scored, and which entries are theirs."""

import abc
from dataclasses import dataclass
from typing import Any, Sequence, Tuple

import numpy as np

from graph_masker.oneshot.keys import flushed, to_keys, wide_type, widened
from graph_masker.oneshot.sums import reduced, running

Axes = Tuple[int, ...]


class Units(abc.ABC):
    """A structure of units, for kernels of any shape."""

    @abc.abstractmethod
    def scores(self, values: Any, signed: bool) -> Any:
        """Returns the scores of a kernel's units, a vector.

        Args:
            values: finite float array in the kernel's shape, what its entries are scored by.
            signed: False where magnitudes count, of entries and of units.
        """

    @abc.abstractmethod
    def count(self, shape: Sequence[int]) -> int:
        """Returns how many units a kernel of a given shape has."""

    @abc.abstractmethod
    def spread(self, stays: Any, shape: Sequence[int]) -> Any:
        """Returns which entries of a kernel stay, from which units do: bool, of that shape."""

    def threshold(self, score: Any) -> Any:
        """Returns, of a score that units are ranked by, the score that users know."""
        return score


@dataclass(frozen=True)
class Elements(Units):
    """Single entries."""

    def scores(self, values: Any, signed: bool) -> Any:
        """See `Units`."""
        return values.reshape(-1)

    def count(self, shape: Sequence[int]) -> int:
        """See `Units`."""
        return int(np.prod(shape, dtype=np.int64))

    def spread(self, stays: Any, shape: Sequence[int]) -> Any:
        """See `Units`."""
        return stays.reshape(shape)


ELEMENTS = Elements()


def to_matrix(values: Any, axes: Axes) -> Any:
    """Returns a kernel as [fan-in, outputs]; both keep the order of their axes. A view where that can be.

    Args:
        values: array.
        axes: those that make the output, counted from the last.
    """
    outputs = sorted(axis + values.ndim for axis in axes)
    others = [axis for axis in range(values.ndim) if axis not in outputs]
    sides = [int(np.prod([values.shape[axis] for axis in part], dtype=np.int64)) for part in (others, outputs)]
    return values.transpose(others + outputs).reshape(sides)


def from_matrix(matrix: Any, shape: Sequence[int], axes: Axes) -> Any:
    """Returns a matrix [fan-in, outputs] in the shape of the kernel whose matrix has this shape."""
    outputs = sorted(axis + len(shape) for axis in axes)
    order = [axis for axis in range(len(shape)) if axis not in outputs] + outputs
    return matrix.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))


def _matrix_sides(shape: Sequence[int], axes: Axes) -> Tuple[int, int]:
    """Returns the sides of a kernel's matrix."""
    outputs = int(np.prod([shape[axis] for axis in axes], dtype=np.int64))
    others = [size for axis, size in enumerate(shape) if axis - len(shape) not in axes]
    return int(np.prod(others, dtype=np.int64)), outputs


@dataclass(frozen=True)
class Blocks(Units):
    """Blocks of the matrix [fan-in, outputs], pooled as `graph_masker.selection.Blocks` says.

    Attributes:
        height, width: entries of a block, -1 for the whole axis.
        pooling: ``avg`` or ``max``.
        output_axes: axes that make the output, counted from the last.
    """

    height: int
    width: int
    pooling: str = "avg"
    output_axes: Axes = (-1,)

    def scores(self, values: Any, signed: bool) -> Any:
        """See `Units`."""
        matrix = to_matrix(values, self.output_axes)
        window = _Windows(matrix.shape, self._sides(matrix.shape))
        return window.highest(matrix, signed) if self.pooling == "max" else window.means(matrix, signed)

    def count(self, shape: Sequence[int]) -> int:
        """See `Units`."""
        rows, columns = _matrix_sides(shape, self.output_axes)
        height, width = self._sides((rows, columns))
        return -(-rows // height) * -(-columns // width)

    def spread(self, stays: Any, shape: Sequence[int]) -> Any:
        """See `Units`."""
        rows, columns = _matrix_sides(shape, self.output_axes)
        height, width = self._sides((rows, columns))
        blocks = stays.reshape(-(-rows // height), -(-columns // width))
        wide = np.repeat(blocks, width, axis=1)[:, :columns]
        return from_matrix(np.repeat(wide, height, axis=0)[:rows], shape, self.output_axes)

    def _sides(self, matrix: Sequence[int]) -> Tuple[int, int]:
        height, width = (max(1, side) if size == -1 else size for size, side in zip((self.height, self.width), matrix))
        return height, width


class _Windows:
    """Windows of a matrix, each of a block's size; what is missing to whole ones lies half before, half behind."""

    def __init__(self, shape: Sequence[int], sides: Tuple[int, int]) -> None:
        self._shape = tuple(shape)
        self._sides = sides
        self._before = [(-size % side) // 2 for size, side in zip(shape, sides)]
        self._count = tuple(-(-size // side) for size, side in zip(shape, sides))

    def highest(self, matrix: Any, signed: bool) -> Any:
        dtype = wide_type(matrix.dtype)
        whole = np.int32 if dtype == np.float32 else np.int64
        found = np.full(self._count, np.iinfo(whole).min, whole)
        for place, entries in self._by_place(matrix):
            found[place] = np.maximum(found[place], to_keys(entries, signed))
        return _scores_of(found.reshape(-1), dtype, signed)

    def means(self, matrix: Any, signed: bool) -> Any:
        dtype = wide_type(matrix.dtype)
        sums, numbers = np.zeros(self._count, dtype), np.zeros(self._count, dtype)
        for place, _ in self._by_place(matrix):
            numbers[place] += 1
        if self._sides[0] * self._sides[1] <= max(1, sums.size):
            for place, entries in self._by_place(matrix):
                sums[place] = flushed(sums[place] + _seen(entries, signed))
        else:
            for index in np.ndindex(*self._count):
                sums[index] = running(_seen(matrix[self._window(index)], signed).reshape(-1, 1))[0]
        return _quotients(sums, numbers).reshape(-1)

    def _by_place(self, matrix: Any) -> Any:
        """Yields, for each place in a window, the windows that have an entry there and these entries."""
        for row in range(self._sides[0]):
            rows, windows = self._at(0, row)
            for column in range(self._sides[1]):
                columns, across = self._at(1, column)
                yield (windows, across), matrix[rows, columns]

    def _at(self, axis: int, place: int) -> Tuple[slice, slice]:
        side, before = self._sides[axis], self._before[axis]
        first = 0 if place >= before else 1
        start = first * side + place - before
        found = len(range(start, self._shape[axis], side))
        return slice(start, None, side), slice(first, first + found)

    def _window(self, index: Sequence[int]) -> Tuple[slice, ...]:
        starts = [number * side - before for number, side, before in zip(index, self._sides, self._before)]
        return tuple(slice(max(0, start), start + side) for start, side in zip(starts, self._sides))


@dataclass(frozen=True)
class Channels(Units):
    """Whole outputs, scored by the norm of the scores of their entries, or by the sum of scores that have signs.

    Attributes:
        norm: ``l1`` or ``l2``; of ``l2`` the squares are ranked.
        output_axes: axes that make the output, counted from the last.
    """

    norm: str = "l1"
    output_axes: Axes = (-1,)

    def scores(self, values: Any, signed: bool) -> Any:
        """See `Units`."""
        wide = widened(values)
        own = np.array(wide) if signed else np.abs(wide)
        outputs = {axis + values.ndim for axis in self.output_axes}
        others = [axis for axis in range(values.ndim) if axis not in outputs]
        return reduced(_squares(own) if self.norm == "l2" else own, others)

    def count(self, shape: Sequence[int]) -> int:
        """See `Units`."""
        return _matrix_sides(shape, self.output_axes)[1]

    def spread(self, stays: Any, shape: Sequence[int]) -> Any:
        """See `Units`."""
        outputs = {axis + len(shape) for axis in self.output_axes}
        kept = [size if axis in outputs else 1 for axis, size in enumerate(shape)]
        return np.broadcast_to(stays.reshape(kept), shape)

    def threshold(self, score: Any) -> Any:
        """See `Units`."""
        return score if self.norm == "l1" else np.sqrt(score)


def _seen(values: Any, signed: bool) -> Any:
    """Returns scores of entries as a kernel that adds them sees them, an array of its own."""
    wide = widened(values)
    return flushed(np.array(wide) if signed else np.abs(wide))


def _squares(values: Any) -> Any:
    """Returns squares, those that are no normal float before they are rounded to one as zeros."""
    squares = values * values
    smallest = np.finfo(values.dtype).tiny
    # The smallest normal float may have been rounded up to: a kernel takes that for tiny, too.
    at_edge = np.flatnonzero(squares.reshape(-1) == smallest)
    scale = values.dtype.type(2.0) ** 60
    flat = values.reshape(-1)[at_edge] * scale
    squares.reshape(-1)[at_edge[flat * flat < smallest * scale * scale]] = 0
    return flushed(squares)


def _quotients(sums: Any, numbers: Any) -> Any:
    """Returns means, those that are no normal float before they are rounded to one as zeros."""
    means = sums / numbers
    smallest = np.finfo(sums.dtype).tiny
    scale = sums.dtype.type(2.0) ** 60
    means[(np.abs(means) == smallest) & (np.abs(sums) * scale / numbers < smallest * scale)] = 0
    return flushed(means)


def _scores_of(keys: Any, dtype: Any, signed: bool) -> Any:
    magnitudes = np.abs(keys).view(dtype)
    return np.where(keys < 0, -magnitudes, magnitudes) if signed else magnitudes
