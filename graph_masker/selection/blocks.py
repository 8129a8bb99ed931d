"""Blocks of a kernel's matrix, pooled as tf.contrib.model_pruning pools 2-D weights, bit for bit."""

from dataclasses import dataclass, replace
from typing import Any, Sequence

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.errors import SpecError
from graph_masker.selection.keys import from_key, to_keys, widened, width_of
from graph_masker.selection.matrix import OutputAxes, checked_axes, from_matrix, matrix_shape, matrix_sides, to_matrix
from graph_masker.selection.structures import UnitStructure


@dataclass(frozen=True)
class Blocks(UnitStructure):
    """Blocks of the matrix [fan-in, outputs], scored by pooling the scores of their entries.

    Where blocks do not divide the matrix, the last ones are smaller. Pooling centres the matrix in its windows, though:
    each window then lies half of what is missing before its block. (So it is in contrib.) A mean that is no normal
    float is zero: TensorFlow computes it so.

    Attributes:
        height: entries along the fan-in, -1 for all.
        width: entries along the outputs, -1 for all.
        pooling: ``avg`` or ``max``.
        output_axes: axes that make the output, counted from the last.

    Raises:
        SpecError: a value is out of range.
    """

    height: int
    width: int
    pooling: str = "avg"
    output_axes: OutputAxes = (-1,)

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            size = getattr(self, name)
            if not isinstance(size, int) or isinstance(size, bool) or not (size >= 1 or size == -1):
                raise SpecError(f"block {name}: expected a whole number from 1, or -1 for all, found {size!r}")
        if self.pooling not in ("avg", "max"):
            raise SpecError(f"block pooling: expected avg or max, found {self.pooling!r}")
        object.__setattr__(self, "output_axes", checked_axes(self.output_axes))

    def at(self, shape: Sequence[int]) -> "Blocks":
        """See `Structure`."""
        rows, columns = matrix_shape(shape, self.output_axes)
        height = max(1, rows) if self.height == -1 else self.height
        return replace(self, height=height, width=max(1, columns) if self.width == -1 else self.width)

    def units_in(self, shape: Sequence[int]) -> int:
        """See `UnitStructure`."""
        rows, columns = matrix_shape(shape, self.output_axes)
        whole = self.at(shape)
        return -(-rows // whole.height) * -(-columns // whole.width)

    def kept_of(self, mask: Any) -> Any:
        """See `Structure`."""
        self._check_whole()
        matrix = tf.cast(tf.not_equal(to_matrix(mask, self.output_axes), 0), tf.int32)
        return tf.count_nonzero(self._highest_of(matrix, self._missing(matrix) * [[0, 1]], 0))

    def scores(self, entries: Any, signed: bool) -> Any:
        """See `UnitStructure`."""
        self._check_whole()
        matrix = to_matrix(entries, self.output_axes)
        return tf.reshape(self._highest(matrix, signed) if self.pooling == "max" else self._mean(matrix, signed), [-1])

    def spread(self, units: Any, entries: Any) -> Any:
        """See `UnitStructure`."""
        rows, columns = matrix_sides(entries, self.output_axes)
        across = (columns - 1) // self.width + 1
        wide = tf.reshape(tf.tile(tf.reshape(units, [-1, 1]), [1, self.width]), [-1, across * self.width])
        matrix = tf.gather(wide[:, :columns], tf.range(rows) // self.height)
        return from_matrix(matrix, entries, self.output_axes)

    def _highest(self, matrix: Any, signed: bool) -> Any:
        # Of keys: a kernel that compares floats takes denormals for zeros, and pools a single column slowly.
        keys = to_keys(matrix, signed)
        missing = self._missing(keys)
        padding = tf.concat([missing // 2, missing - missing // 2], 1)
        return from_key(self._highest_of(keys, padding, width_of(matrix.dtype).lowest), signed)

    def _highest_of(self, matrix: Any, padding: Any, filler: int) -> Any:
        padded = tf.pad(matrix, padding, constant_values=filler)
        tall = tf.reduce_max(tf.reshape(padded, [-1, self.height, tf.shape(padded)[1]]), 1)
        return tf.reduce_max(tf.reshape(tall, [-1, self.width]), 1)

    def _missing(self, matrix: Any) -> Any:
        """Returns how many rows and columns more would make whole blocks, int32 [2, 1]."""
        return tf.expand_dims(-tf.shape(matrix) % tf.constant([self.height, self.width]), 1)

    def _check_whole(self) -> None:
        if -1 in (self.height, self.width):
            raise SpecError("block: expected the size of a block, found -1 for a whole axis; call at(shape) first")

    def _mean(self, matrix: Any, signed: bool) -> Any:
        wide = widened(matrix)
        wide = wide if signed else tf.abs(wide)
        shape = tf.shape(wide)

        def slowly(wide: Any) -> Any:
            shape = tf.shape(wide)
            return tf.reshape(self._pool(tf.reshape(wide, [1, shape[0], shape[1], 1])), [-1])

        def by_columns() -> Any:
            # Pooling works on many channels at once. Blocks side by side as channels are added up in the same order.
            blocks = tf.transpose(tf.reshape(wide, [1, shape[0], -1, self.width]), [0, 1, 3, 2])
            return tf.reshape(self._pool(blocks), [-1])

        if self.width == 1:
            return by_columns()
        one_by_one = tf_compat.outlined(slowly, [wide.dtype])
        with tf_compat.first_control_flow():
            return tf.cond(tf.equal(shape[1] % self.width, 0), by_columns, lambda: one_by_one(wide))

    def _pool(self, image: Any) -> Any:
        window = [1, self.height, self.width, 1]
        return tf.nn.avg_pool(image, window, window, "SAME")
