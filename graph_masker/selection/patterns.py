"""n:m patterns: of every m entries that follow each other along the fan-in, at least n stay."""

from dataclasses import dataclass
from typing import Any, Iterator, Optional, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.errors import SpecError
from graph_masker.selection import pieces
from graph_masker.selection.counts import no_more
from graph_masker.selection.keys import from_key, to_keys, width_of
from graph_masker.selection.masks import as_mask
from graph_masker.selection.matrix import OutputAxes, checked_axes, from_matrix, to_matrix
from graph_masker.selection.pieces import Extent, array, extent_of, loop, zero_or_one
from graph_masker.selection.structures import Request, Selected, Structure

# Groups of more entries are not sorted by a network of comparisons, which grows faster than they do.
_NETWORK = 32


@dataclass(frozen=True)
class NOfM(Structure):
    """For each output, n of every m consecutive entries of the fan-in (Mishra et al., "Accelerating Sparse Deep Neural
    Networks", 2021).

    On the way to 1 - n/m, a sparsity s keeps max(n, round(m * (1 - s))) of each group; of fewer that are left over at
    the end, as many or all.

    Attributes:
        n: entries of a group that stay in the end, 1 <= n <= m.
        m: entries of a group, at least 2.
        output_axes: axes that make the output, counted from the last.

    Raises:
        SpecError: a value is out of range.
    """

    n: int
    m: int
    output_axes: OutputAxes = (-1,)

    def __post_init__(self) -> None:
        numbers = (self.n, self.m)
        whole = all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)
        if not whole or self.m < 2 or not 1 <= self.n <= self.m:
            raise SpecError(f"n:m: expected whole numbers with 1 <= n <= m and m >= 2, found {self.n!r}:{self.m!r}")
        object.__setattr__(self, "output_axes", checked_axes(self.output_axes))

    def extent(self, shape: Optional[Sequence[int]]) -> Extent:
        """See `Structure`."""
        return extent_of(None if shape is None else int(np.prod(shape, dtype=np.int64)))

    def kept(self, sparsity: Any, most: Optional[Any]) -> Any:
        """Returns how many entries of a group stay, an int32 scalar.

        Args:
            sparsity: float32 scalar, fraction of zeros.
            most: int32 or int64 scalar, no more than this, though at least n; None for no ceiling.
        """
        kept = tf.cast(tf.round(float(self.m) * (1.0 - sparsity)), tf.int32)
        if most is not None:
            kept = no_more(kept, most)
        return tf.minimum(tf.maximum(kept, self.n), self.m)

    def kept_of(self, mask: Any) -> Any:
        """See `Structure`: of the group that keeps most."""
        stays = tf.cast(tf.not_equal(to_matrix(mask, self.output_axes), 0), tf.int32)
        filled = tf.pad(stays, [[0, -tf.shape(stays)[0] % self.m], [0, 0]])
        return tf.cast(tf.reduce_max(tf.reduce_sum(tf.reshape(filled, [-1, self.m, tf.shape(stays)[1]]), 1)), tf.int64)

    def select(self, entries: Any, request: Request) -> Selected:
        """See `Structure`; the ceiling counts entries of a group, and n is the floor."""
        kept, signed, dtype = self.kept(request.sparsity, request.most), request.signed, request.dtype
        matrix = to_matrix(entries, self.output_axes)
        with tf_compat.first_control_flow():
            if request.extent in (Extent.EVEN, Extent.LARGE):
                mask, lowest = self._by_pieces(matrix, kept, signed, dtype)
            else:
                mask, lowest = self._of_rows(matrix, kept, signed, dtype)
        threshold = tf.cast(from_key(lowest, signed), dtype)
        return Selected(from_matrix(mask, entries, self.output_axes), threshold)

    def _by_pieces(self, matrix: Any, kept: Any, signed: bool, dtype: Any) -> Tuple[Any, Any]:
        shape = tf.shape(matrix)
        step = self.m * tf.maximum(1, pieces.PIECE // (shape[1] * self.m))
        count = (shape[0] - 1) // step + 1

        def add(index: Any, masks: Any, lowest: Any) -> Any:
            start = index * step
            part = tf.slice(matrix, tf.stack([start, 0]), tf.stack([tf.minimum(step, shape[0] - start), shape[1]]))
            mask, least = self._of_rows(part, kept, signed, dtype)
            return index + 1, masks.write(index, mask), tf.minimum(lowest, least)

        highest = tf.constant(width_of(matrix.dtype).highest, width_of(matrix.dtype).whole)
        _, masks, lowest = loop(lambda index, *_: index < count, add, [0, array(dtype, count), highest])
        return masks.concat(), lowest

    def _of_rows(self, rows: Any, kept: Any, signed: bool, dtype: Any) -> Tuple[Any, Any]:
        """Selects in some rows [fan-in, outputs] of a matrix; returns their mask and the lowest key that stays."""
        width = width_of(rows.dtype)
        keys = to_keys(rows, signed)
        count, outputs = tf.unstack(tf.shape(keys), 2)
        # Below every key: it stays only where a group has no more to keep.
        filler, highest = (tf.constant(value, width.whole) for value in (width.lowest + 1, width.highest))
        filled = tf.pad(keys, [[0, -count % self.m], [0, 0]], constant_values=filler)
        groups = tf.reshape(filled, [-1, self.m, outputs])
        least = _kth_of_groups(groups, self.m, kept)
        stays = tf.stack([zero_or_one(lane, least - 1) for lane in tf.unstack(groups, self.m, 1)], 1)

        tied = tf_compat.outlined(self._tied, [width.whole, width.whole, tf.int32])
        is_tied = tf.cast(tf.reduce_sum(stays), tf.int32) > kept * tf.size(least)
        stays = tf.cond(is_tied, lambda: tied(groups, least, kept), lambda: stays)

        left_over = count % self.m
        lowest = tf.reduce_min(tf.where_v2(tf.equal(least, filler), highest, least))
        lowest_left_over = tf.reduce_min(keys[count - left_over :])
        lowest = tf_compat.choose(kept > left_over, tf.minimum(lowest, lowest_left_over), lowest)
        return as_mask(tf.reshape(stays, [-1, outputs])[:count], dtype), lowest

    def _tied(self, groups: Any, least: Any, kept: Any) -> Any:
        """Returns 1 for keys above the least of their group, and for the first that equal it while there is room."""
        lanes = tf.unstack(groups, self.m, 1)
        above = [zero_or_one(lane, least) for lane in lanes]
        room = tf.cast(kept, least.dtype) - tf.add_n(above)
        stays = []
        for lane, higher in zip(lanes, above):
            equal = tf.minimum(zero_or_one(lane, least - 1) - higher, room)
            stays.append(higher + equal)
            room -= equal
        return tf.stack(stays, 1)


def _kth_of_groups(groups: Any, m: int, kept: Any) -> Any:
    """Returns the `kept`-th best key of each group: [groups, outputs] of [groups, m, outputs]."""
    if m > _NETWORK:
        return tf_compat.nth_element(tf.transpose(groups, [0, 2, 1]), m - kept)
    lanes = tf.unstack(groups, m, 1)
    for one, other in sorting_network(m):
        lanes[one], lanes[other] = tf.maximum(lanes[one], lanes[other]), tf.minimum(lanes[one], lanes[other])
    return tf.gather(tf.stack(lanes), kept - 1)


def sorting_network(size: int) -> Iterator[Tuple[int, int]]:
    """Yields pairs (i, j), i < j, which sort any `size` values when exchanged in turn where they are out of order.

    Source: Batcher's merge exchange (Knuth, The Art of Computer Programming, volume 3, algorithm 5.2.2M).
    """
    top = 1 << max(0, (size - 1).bit_length() - 1)
    run = top
    while run > 0:
        half, offset, distance = top, 0, run
        while distance > 0:
            yield from ((i, i + distance) for i in range(size - distance) if i & run == offset)
            distance, half, offset = half - run, half >> 1, run
        run >>= 1
