"""Equality of arrays, bit for bit. There is no tolerance here, and none is wanted."""

from typing import Any, List, Mapping

import numpy as np


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> List[str]:
    """Returns one line per name whose type, shape or bytes differ, or that only one side has."""
    lines = [f"{name}: found on one side only" for name in sorted(set(found) ^ set(expected))]
    for name in sorted(set(found) & set(expected)):
        one, other = np.asarray(found[name]), np.asarray(expected[name])
        if (one.dtype, one.shape) != (other.dtype, other.shape):
            lines.append(f"{name}: {one.dtype}{one.shape} against {other.dtype}{other.shape}")
        elif one.tobytes() != other.tobytes():
            count = np.count_nonzero(one != other)
            lines.append(f"{name}: {count} of {one.size} entries differ in value, the others in sign of zero at most")
    return lines


def assert_same_bits(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Asserts that two mappings hold the same names and the same bytes."""
    lines = differences(found, expected)
    shown = [*lines[:12], f"... and {len(lines) - 12} more"] if len(lines) > 12 else lines
    assert not lines, "\n".join(shown)


def unsigned_zeros(value: Any) -> Any:
    """Returns a copy with +0 for -0 and every other entry as it is."""
    return np.where(value == 0, np.zeros_like(value), value)


def flip_last_bit(value: Any) -> Any:
    """Returns a copy whose first entry differs in its last bit."""
    array = np.array(value, copy=True)
    array.reshape(-1).view(np.uint8)[0] ^= 1
    return array
