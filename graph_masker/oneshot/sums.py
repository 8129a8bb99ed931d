"""Sums in the order in which TensorFlow 1.15 takes them on a CPU, so that they round alike.

What Eigen does (unsupported/Eigen/CXX11/src/Tensor/TensorReduction.h, as built with AVX): where the reduced axes come
first, each output is one running sum. Where they come last, entries are added in as many lanes as a register has, and
rows of more than 1024 registers are halved first. A sum of everything is split among threads where it is long; here it
is taken as one thread does.
"""

from typing import Any, List, Sequence, Tuple

import numpy as np

from graph_masker.oneshot.keys import PIECE, flushed

_REGISTER_BYTES = 32
_LEAF = 1024


def running(rows: Any) -> Any:
    """Returns the running sum of rows: [outputs] of [rows, outputs], one row added after the other."""
    total = np.zeros(rows.shape[1:], rows.dtype)
    step = max(1, PIECE // max(1, total.size))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        sums = np.add.accumulate(np.concatenate([total[np.newaxis], part]), axis=0)
        if _has_denormals(sums):
            for row in part:
                total = flushed(total + row)
        else:
            total = sums[-1]
    return total


def reduced(values: Any, axes: Sequence[int]) -> Any:
    """Returns the sums over some axes, a vector of all others in their order.

    Args:
        values: float32 or float64 array, which is written to.
        axes: from 0.
    """
    shape, is_reduced = _runs(values.shape, axes)
    outputs = int(np.prod([size for size, gone in zip(shape, is_reduced) if not gone], dtype=np.int64))
    if values.size == 0:
        return np.zeros(outputs, values.dtype)
    runs = values.reshape(shape)
    if not any(is_reduced):
        return runs.reshape(-1)
    flushed(runs)
    if is_reduced == [True, False]:
        return running(runs)
    if is_reduced == [True, False, True]:
        return running(runs.transpose(2, 0, 1).reshape(-1, outputs))
    if is_reduced == [False, True, False]:
        return running(runs.transpose(1, 0, 2)).reshape(-1)
    order = sorted(range(len(shape)), key=lambda run: is_reduced[run])
    return _of_rows(runs.transpose(order).reshape(outputs, -1), 0)


def _runs(shape: Sequence[int], axes: Sequence[int]) -> Tuple[List[int], List[bool]]:
    """Returns sizes of runs of axes that are all reduced or all kept, and which is which; axes of size 1 join any."""
    sizes: List[int] = []
    kinds: List[bool] = []
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        if kinds and kinds[-1] == (axis in axes):
            sizes[-1] *= size
        else:
            sizes.append(size)
            kinds.append(axis in axes)
    return sizes, kinds


def _of_rows(rows: Any, first: int) -> Any:
    """Returns the sum of each row: [rows] of [rows, length].

    Args:
        rows: rows that follow each other without a gap.
        first: where the first row begins, in entries.
    """
    lanes = _REGISTER_BYTES // rows.dtype.itemsize
    length = rows.shape[1]
    if length <= lanes * _LEAF:
        return _of_short_rows(rows, lanes)
    sums = np.empty(len(rows), rows.dtype)
    for start in range(min(lanes, len(rows))):
        # A row is halved at the end of a register, counted from the first row's beginning.
        sums[start::lanes] = _halved(rows[start::lanes], (first + start * length) % lanes, lanes)
    return sums


def _halved(rows: Any, offset: int, lanes: int) -> Any:
    length = rows.shape[1]
    if length <= lanes * _LEAF:
        return _of_short_rows(rows, lanes)
    left = min(lanes * -(-(offset + -(-length // 2)) // lanes) - offset, length)
    total = _added(np.zeros(len(rows), rows.dtype), _halved(rows[:, :left], offset, lanes))
    return _added(total, _halved(rows[:, left:], 0, lanes)) if left < length else total


def _of_short_rows(rows: Any, lanes: int) -> Any:
    count, length = rows.shape
    whole = length // lanes * lanes
    total = running(rows[:, :whole].reshape(count, -1, lanes).transpose(1, 0, 2))
    while total.shape[1] > 1:
        half = total.shape[1] // 2
        total = _added(total[:, :half], total[:, half:])
    return _added(running(rows[:, whole:].T), total[:, 0])


def _added(one: Any, other: Any) -> Any:
    return flushed(one + other)


def _has_denormals(values: Any) -> bool:
    magnitudes = np.abs(values)
    return bool(((magnitudes < np.finfo(values.dtype).tiny) & (magnitudes > 0)).any())
