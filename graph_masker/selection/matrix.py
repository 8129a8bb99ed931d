"""A kernel as a matrix [fan-in, outputs], and back."""

from typing import Any, List, Sequence, Tuple

import tensorflow.compat.v1 as tf

from graph_masker.errors import SpecError

# Axes that make the output, counted from the last, so that one function serves kernels of any rank.
OutputAxes = Tuple[int, ...]


def checked_axes(axes: Sequence[int]) -> OutputAxes:
    """Returns output axes in ascending order.

    Raises:
        SpecError: they are not distinct negative integers.
    """
    found = tuple(axes)
    if not found or len(set(found)) < len(found) or not all(isinstance(axis, int) and axis < 0 for axis in found):
        raise SpecError(f"output_axes: expected distinct axes counted from the last, such as (-1,), found {found!r}")
    return tuple(sorted(found))


def to_matrix(kernel: Any, axes: OutputAxes) -> Any:
    """Returns a kernel as [fan-in, outputs]; both keep the order of their axes in the kernel.

    Args:
        kernel: tensor of at least as many axes as `axes` reaches back; its shape need not be known.
        axes: what `checked_axes` returned.
    """
    # Both sides are given: none could be told from the other where there are no entries.
    sides = matrix_sides(kernel, axes)
    return tf.reshape(kernel if _are_last(axes) else tf.transpose(kernel, _order(kernel, axes)), sides)


def from_matrix(matrix: Any, kernel: Any, axes: OutputAxes) -> Any:
    """Returns a matrix [fan-in, outputs] in the shape of the kernel whose matrix has this shape."""
    if _are_last(axes):
        return tf.reshape(matrix, tf.shape(kernel))
    order = _order(kernel, axes)
    return tf.transpose(tf.reshape(matrix, tf.gather(tf.shape(kernel), order)), tf.invert_permutation(order))


def reduced_axes(kernel: Any, axes: OutputAxes) -> Any:
    """Returns the axes of a kernel that make no output, an int32 vector."""
    return tf.concat([tf.range(tf.rank(kernel) + min(axes)), tf.rank(kernel) + _reduced_from_last(axes)], 0)


def matrix_sides(kernel: Any, axes: OutputAxes) -> Tuple[Any, Any]:
    """Returns the sides of the matrix of a kernel, int32 scalars, without making it."""
    shape = tf.shape(kernel)
    outputs = tf.gather(shape, tf.size(shape) + tf.constant(axes, tf.int32))
    return tf.reduce_prod(tf.gather(shape, reduced_axes(kernel, axes))), tf.reduce_prod(outputs)


def matrix_shape(shape: Sequence[int], axes: OutputAxes) -> Tuple[int, int]:
    """Returns the sides of the matrix of a kernel of this shape."""
    fan_in, outputs = 1, 1
    for axis, size in zip(range(-len(shape), 0), shape):
        if axis in axes:
            outputs *= size
        else:
            fan_in *= size
    return fan_in, outputs


def _are_last(axes: OutputAxes) -> bool:
    return axes == tuple(range(-len(axes), 0))


def _reduced_from_last(axes: OutputAxes) -> Any:
    found: List[int] = [axis for axis in range(min(axes), 0) if axis not in axes]
    return tf.constant(found, tf.int32)


def _order(kernel: Any, axes: OutputAxes) -> Any:
    return tf.concat([reduced_axes(kernel, axes), tf.rank(kernel) + tf.constant(axes, tf.int32)], 0)
