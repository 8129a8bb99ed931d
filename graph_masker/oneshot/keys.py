"""Scores as integers of the same order, and arithmetic as TensorFlow's kernels do it.

The bits of a float of 0 or above, read as an integer, are ordered as the float is. TensorFlow runs its kernels with
denormals taken for zeros and flushed to zero; numpy does not, so that sums, products and quotients say it themselves.
"""

from typing import Any, Iterator, Tuple

import numpy as np

# Entries that are worked on at once where a pass needs memory of its own.
PIECE = 2**20


def is_float(dtype: np.dtype) -> bool:
    """Tells whether scores can be made of a type: float16, float32, float64 or TensorFlow's bfloat16."""
    return str(dtype) in ("float16", "bfloat16", "float32", "float64")


def widened(values: Any) -> Any:
    """Returns float32, or float64 where the values are; no value changes, and no copy is made of those that are wide.

    Args:
        values: array of float16, bfloat16, float32 or float64.
    """
    if values.dtype.name == "bfloat16":
        return (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32) if values.dtype == np.float16 else values


def flushed(values: Any) -> Any:
    """Sets to zero, in place, what is no normal float, as kernels see it; returns the array."""
    values[np.abs(values) < np.finfo(values.dtype).tiny] = 0
    return values


def to_keys(scores: Any, signed: bool) -> Any:
    """Returns int32 or int64 keys ordered as the scores are; -0 and +0 get one key, 0.

    Args:
        scores: finite array; of float32 or wider, or of half precision.
        signed: False takes magnitudes, True the scores with their signs.
    """
    wide = np.ascontiguousarray(widened(scores))
    whole = np.int32 if wide.dtype == np.float32 else np.int64
    bits = wide.view(whole)
    magnitudes = bits & np.iinfo(whole).max
    return np.where(bits < 0, -magnitudes, magnitudes) if signed else magnitudes


def from_key(key: int, dtype: Any) -> Any:
    """Returns the score that a key stands for, a scalar of float32 or float64."""
    whole = np.int32 if dtype == np.float32 else np.int64
    value = np.asarray(abs(key), whole).view(dtype)[()]
    return -value if key < 0 else value


def wide_type(dtype: Any) -> Any:
    """Returns the type in which scores of a type are compared: float64 for itself, float32 for all others."""
    return np.dtype(np.float64) if dtype == np.float64 else np.dtype(np.float32)


def pieces(values: Any) -> Iterator[Tuple[slice, Any]]:
    """Yields slices of a vector, and what lies there."""
    for start in range(0, len(values), PIECE):
        part = slice(start, start + PIECE)
        yield part, values[part]


def all_finite(values: Any) -> bool:
    """Tells whether no entry is infinite or not a number."""
    return all(bool(np.isfinite(widened(part)).all()) for _, part in pieces(values.reshape(-1)))


def zeroed(values: Any, stays: Any) -> Any:
    """Returns values with zeros where they do not stay; these keep their signs, as those of a product with 0 do.

    All others keep their bits, whatever they are.

    Args:
        values: float array.
        stays: bool array of its shape.
    """
    result = np.array(values, order="C")
    if result.size == 0:
        return result
    bits = result.reshape(-1).view(f"i{result.dtype.itemsize}")
    flat = stays.reshape(-1)
    for part, own in pieces(bits):
        bits[part] = np.where(flat[part], own, own & np.iinfo(bits.dtype).min)
    return result
