"""Equality bit for bit."""

import numpy as np


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    """Tells whether two arrays have the same type, shape and bits. NaNs compare by their bits."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype == object:
        return bool(np.array_equal(left, right))
    return bool(left.tobytes() == right.tobytes())
