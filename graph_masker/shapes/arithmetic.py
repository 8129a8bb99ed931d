"""Arithmetic on shapes of which parts may not be known."""

from typing import Iterable, Optional, Sequence, Tuple

# A size that is not known is None; so is a shape of which not even the number of axes is known.
Sizes = Tuple[Optional[int], ...]
Shape = Optional[Sizes]


def product(sizes: Iterable[Optional[int]]) -> Optional[int]:
    """Returns the product of sizes; None where one is not known."""
    result = 1
    for size in sizes:
        if size is None:
            return None
        result *= size
    return result


def filled(known: Shape, other: Shape) -> Shape:
    """Returns a shape with what it lacks taken from another of the same tensor."""
    if known is None or other is None:
        return other if known is None else known
    if len(known) != len(other):
        return known
    return tuple(size if size is not None else alternative for size, alternative in zip(known, other))


def common(shapes: Sequence[Shape]) -> Shape:
    """Returns what is the same in all shapes."""
    first = shapes[0] if shapes else None
    if first is None or any(shape is None or len(shape) != len(first) for shape in shapes):
        return None
    columns = zip(*(shape for shape in shapes if shape is not None))
    return tuple(column[0] if len(set(column)) == 1 else None for column in columns)


def broadcast(one: Shape, other: Shape) -> Shape:
    """Returns the shape of an elementwise op's output."""
    if one is None or other is None:
        return None
    length = max(len(one), len(other))
    pairs = zip((1,) * (length - len(one)) + one, (1,) * (length - len(other)) + other)
    return tuple(_wider(left, right) for left, right in pairs)


def _wider(left: Optional[int], right: Optional[int]) -> Optional[int]:
    if left == 1:
        return right
    if right == 1:
        return left
    # Where one is not known, it has to be 1 or as the other.
    return left if right is None else right


def window_positions(size: Optional[int], window: int, stride: int, dilation: int, padding: str) -> Optional[int]:
    """Returns how often a window of a convolution or pooling fits along an axis.

    Args:
        size: of the axis, with explicit padding already added.
        window: size of the kernel along it.
        stride: from one position to the next.
        dilation: from one entry of the kernel to the next.
        padding: ``SAME`` or ``VALID``.
    """
    if size is None or stride < 1:
        return None
    if padding == "SAME":
        return -(-size // stride)
    return max(0, -(-(size - (window - 1) * dilation) // stride))
