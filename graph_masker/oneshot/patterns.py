"""n:m patterns: of every m entries that follow each other along the fan-in, at least n stay."""

from dataclasses import dataclass
from typing import Any, Tuple

import numpy as np

from graph_masker.oneshot.keys import PIECE, from_key, to_keys, wide_type
from graph_masker.oneshot.structures import Axes, from_matrix, to_matrix


@dataclass(frozen=True)
class NOfM:
    """See `graph_masker.selection.NOfM`.

    Attributes:
        n, m: of a group of m entries n stay in the end.
        output_axes: axes that make the output, counted from the last.
    """

    n: int
    m: int
    output_axes: Axes = (-1,)

    def kept(self, sparsity: float) -> int:
        """Returns how many entries of a group stay at a sparsity, a fraction of zeros."""
        kept = int(np.rint(np.float32(self.m) * (np.float32(1.0) - np.float32(sparsity))))
        return min(max(kept, self.n), self.m)

    def select(self, values: Any, sparsity: float, signed: bool) -> Tuple[Any, Any]:
        """Returns which entries stay, bool in the kernel's shape, and the lowest score of these.

        Args:
            values: finite float array in the kernel's shape.
            sparsity: fraction of zeros.
            signed: False ranks by magnitude.
        """
        kept = self.kept(sparsity)
        matrix = to_matrix(values, self.output_axes)
        rows, outputs = matrix.shape
        stays = np.empty(matrix.shape, bool)
        dtype = wide_type(values.dtype)
        # What TensorFlow makes of no entry at all is the highest integer, read as a float.
        lowest = int(np.iinfo(np.int32 if dtype == np.float32 else np.int64).max)
        step = self.m * max(1, PIECE // max(1, outputs * self.m))
        for start in range(0, rows, step):
            keys = to_keys(matrix[start : start + step], signed)
            part = self._of_rows(keys, kept)
            stays[start : start + step] = part
            lowest = int(min(lowest, keys[part].min())) if keys.size else lowest
        return from_matrix(stays, values.shape, self.output_axes), from_key(lowest, dtype)

    def _of_rows(self, keys: Any, kept: int) -> Any:
        rows, outputs = keys.shape
        # Below every key: it stays only where a group has no more to keep.
        filler = np.full([-rows % self.m, outputs], np.iinfo(keys.dtype).min)
        groups = np.concatenate([keys, filler.astype(keys.dtype)]).reshape(-1, self.m, outputs)
        least = np.partition(groups, self.m - kept, axis=1)[:, self.m - kept, np.newaxis]
        above, equal = groups > least, groups == least
        room = kept - above.sum(1, keepdims=True)
        stays = above | (equal & (np.cumsum(equal, axis=1) <= room))
        return stays.reshape(-1, outputs)[:rows]
