"""What masks keep, by sorting. Counts are in float32, as tf.contrib.model_pruning takes them."""

from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from graph_masker.schedule import kept_entries


class Selected(NamedTuple):
    """A mask in the weight's shape and type, the score of the last unit that stays, and how many units do."""

    mask: Any
    threshold: Any
    units: Any = None


def selected(stays: Any, threshold: Any, weight: Any, units: Optional[int] = None) -> Selected:
    # There is no direct cast from bool to bfloat16.
    mask = stays.astype(np.float32).astype(weight.dtype)
    return Selected(mask, np.asarray(threshold).astype(weight.dtype), None if units is None else np.int32(units))


def widened(weight: Any, signed: bool) -> Any:
    """Returns scores, half precision as float32: magnitudes, or the values themselves with +0 for -0."""
    wide = weight.astype(np.float64 if weight.dtype == np.float64 else np.float32)
    return np.where(wide == 0, np.zeros_like(wide), wide) if signed else np.abs(wide)


def kept_units(units: int, sparsity: float, most: Optional[int] = None, floor: int = 1) -> int:
    kept = kept_entries(units, sparsity)
    return min(max(min(kept, most) if most is not None else kept, floor, 1), units)


def ranking(scores: Any) -> List[int]:
    """Returns indices of a vector from best to worst; of equal scores the first comes first."""
    return sorted(range(len(scores)), key=lambda index: (-scores[index], index))


def best(scores: Any, kept: int) -> Tuple[Any, Any]:
    """Returns a vector that is True for the best, and the score of the last of them (0 of none)."""
    stays = np.zeros(len(scores), bool)
    order = ranking(scores)[:kept]
    stays[order] = True
    return stays, scores[order[-1]] if order else scores.dtype.type(0)


class Elements:
    def scores(self, weight: Any, signed: bool) -> Any:
        return widened(weight, signed).reshape(-1)

    def spread(self, stays: Any, weight: Any) -> Any:
        return stays.reshape(weight.shape)

    def threshold(self, score: Any) -> Any:
        return score


def to_matrix(weight: Any, axes: Sequence[int]) -> Any:
    """Returns a kernel as [fan-in, outputs]."""
    outputs = sorted(axis % weight.ndim for axis in axes)
    others = [axis for axis in range(weight.ndim) if axis not in outputs]
    size = int(np.prod([weight.shape[axis] for axis in outputs]))
    return weight.transpose(others + outputs).reshape(-1, size)


def from_matrix(matrix: Any, weight: Any, axes: Sequence[int]) -> Any:
    """Returns a matrix in the shape of the kernel, by looking up where each entry of the kernel went."""
    places = to_matrix(np.arange(weight.size).reshape(weight.shape), axes)
    result = np.empty(weight.size, matrix.dtype)
    result[places.reshape(-1)] = matrix.reshape(-1)
    return result.reshape(weight.shape)


class Blocks:
    def __init__(self, height: int, width: int, pooling: str, axes: Sequence[int] = (-1,)) -> None:
        self.height, self.width, self.pooling, self.axes = height, width, pooling, axes

    def scores(self, weight: Any, signed: bool) -> Any:
        matrix = to_matrix(widened(weight, signed), self.axes)
        rows, columns = (self._windows(*pair) for pair in zip(matrix.shape, self._sides(matrix)))
        pool = self._mean if self.pooling == "avg" else np.max
        return np.array([pool(matrix[row, column]) for row in rows for column in columns])

    def spread(self, stays: Any, weight: Any) -> Any:
        matrix = to_matrix(np.zeros(weight.shape, bool), self.axes)
        height, width = self._sides(matrix)
        across = -(-matrix.shape[1] // width)
        for row, column in np.ndindex(*matrix.shape):
            matrix[row, column] = stays[row // height * across + column // width]
        return from_matrix(matrix, weight, self.axes)

    def threshold(self, score: Any) -> Any:
        return score

    def _sides(self, matrix: Any) -> Tuple[int, int]:
        height, width = (size if side == -1 else side for side, size in zip((self.height, self.width), matrix.shape))
        return height, width

    @staticmethod
    def _windows(size: int, side: int) -> List[slice]:
        """Returns windows of one axis as TensorFlow's SAME padding lays them: what is missing goes to both ends."""
        before = (-size % side) // 2
        return [slice(max(0, start - before), start - before + side) for start in range(0, size, side)]

    @staticmethod
    def _mean(window: Any) -> Any:
        total = window.dtype.type(0)
        for value in window.reshape(-1):
            total += value
        return total / window.dtype.type(window.size)


class Channels:
    """Sums are exact where the order in which they are taken makes no difference; only such weights can be compared."""

    def __init__(self, norm: str, axes: Sequence[int] = (-1,)) -> None:
        self.norm, self.axes = norm, axes

    def scores(self, weight: Any, signed: bool) -> Any:
        matrix = to_matrix(widened(weight, signed), self.axes)
        return (matrix if self.norm == "l1" else np.square(matrix)).sum(axis=0, dtype=matrix.dtype)

    def spread(self, stays: Any, weight: Any) -> Any:
        rows = to_matrix(weight, self.axes).shape[0]
        return from_matrix(np.tile(stays, (rows, 1)), weight, self.axes)

    def threshold(self, score: Any) -> Any:
        return score if self.norm == "l1" else np.sqrt(score)


def select(
    weight: Any, sparsity: float, units: Any, most: Optional[int] = None, floor: int = 1, signed: bool = False
) -> Selected:
    """Keeps the best units of one weight."""
    scores = units.scores(weight, signed)
    stays, lowest = best(scores, kept_units(len(scores), sparsity, most, floor))
    return selected(units.spread(stays, weight), units.threshold(lowest), weight, stays.sum())


def select_n_of_m(
    weight: Any,
    sparsity: float,
    n: int,
    m: int,
    axes: Sequence[int] = (-1,),
    most: Optional[int] = None,
    signed: bool = False,
) -> Selected:
    """Keeps entries of each group of m that follow each other in a column of the matrix."""
    kept = int(np.rint(np.float32(m) * (np.float32(1.0) - np.float32(sparsity))))
    kept = min(max(min(kept, most) if most is not None else kept, n), m)
    matrix = to_matrix(widened(weight, signed), axes)
    stays = np.zeros(matrix.shape, bool)
    for column in range(matrix.shape[1]):
        for start in range(0, matrix.shape[0], m):
            stays[start : start + m, column] = best(matrix[start : start + m, column], kept)[0]
    return selected(from_matrix(stays, weight, axes), matrix[stays].min(), weight)


def select_together(
    weights: Sequence[Any],
    sparsity: float,
    units: Any,
    least: Optional[Sequence[int]] = None,
    signed: bool = False,
    most: Optional[int] = None,
) -> List[Selected]:
    """Keeps the best units of all weights together, and of each at least some: these whatever the others hold.

    Equal scores: the weight that comes first, then the index. The threshold is that of the units that stay for what
    they are worth; a weight that has only what it must keep has its own.
    """
    scores = [units.scores(weight, signed) for weight in weights]
    floors = [min(max(1, number), len(values)) for number, values in zip(least or [1] * len(scores), scores)]
    total = max(kept_units(sum(map(len, scores)), sparsity, most), sum(floors))
    stays = [best(values, floor)[0] for values, floor in zip(scores, floors)]
    others = [
        (-score, place, index)
        for place, values in enumerate(scores)
        for index, score in enumerate(values)
        if not stays[place][index]
    ]
    chosen = sorted(others)[: total - sum(floors)]
    for _, place, index in chosen:
        stays[place][index] = True
    common = [-chosen[-1][0]] if chosen else []
    lowest = [min([*common, *values[kept]]) if kept.any() else 0 for values, kept in zip(scores, stays)]
    return [
        selected(units.spread(kept, weight), units.threshold(score), weight, kept.sum())
        for weight, kept, score in zip(weights, stays, lowest)
    ]
