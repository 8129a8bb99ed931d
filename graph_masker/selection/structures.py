"""Structures: what a mask keeps or drops as a whole, and how such units are scored."""

import abc
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker.errors import SpecError
from graph_masker.selection.best import keep_best
from graph_masker.selection.counts import kept_units
from graph_masker.selection.keys import widened
from graph_masker.selection.matrix import OutputAxes, checked_axes, matrix_shape, reduced_axes
from graph_masker.selection.pieces import Extent, Keys, extent_of


class Selected(NamedTuple):
    """What stays of a weight.

    Attributes:
        mask: 1 for what stays, 0 for the rest, in the shape of the weight.
        threshold: scalar, the score of the last unit that stays.
        units: int32 scalar, how many units stay; None where they do not compete with each other.
    """

    mask: Any
    threshold: Any
    units: Optional[Any] = None


class Request(NamedTuple):
    """What to keep of a weight, and how.

    Attributes:
        sparsity: float32 scalar, fraction of zeros.
        most: int32 or int64 scalar, keep no more units than this; None for no ceiling.
        floor: keep no fewer units than this.
        signed: False ranks by magnitude, True ranks scores with their signs.
        dtype: type of mask and threshold.
        extent: how much there may be to search.
    """

    sparsity: Any
    most: Optional[Any]
    floor: int
    signed: bool
    dtype: Any
    extent: Extent


class Structure(abc.ABC):
    """A structure of masks: plain values. Two that are equal select alike, so that one graph function serves both."""

    def at(self, shape: Sequence[int]) -> "Structure":
        """Returns the structure for a kernel of a given shape: what spans a whole axis gets that axis' size."""
        return self

    @abc.abstractmethod
    def extent(self, shape: Optional[Sequence[int]]) -> Extent:
        """Returns the quickest way to select in a kernel of a given shape; None where the shape is not known."""

    @abc.abstractmethod
    def kept_of(self, mask: Any) -> Any:
        """Returns how much a mask keeps, as `most` counts it, an int64 scalar: units that are not all zeros."""

    @abc.abstractmethod
    def select(self, entries: Any, request: Request) -> Selected:
        """Selects in a float tensor of scores in the kernel's shape."""


class UnitStructure(Structure):
    """A structure whose units compete with each other: within a weight, or across weights."""

    @abc.abstractmethod
    def units_in(self, shape: Sequence[int]) -> int:
        """Returns how many units a kernel of a given shape has."""

    @abc.abstractmethod
    def scores(self, entries: Any, signed: bool) -> Any:
        """Returns the scores of the units, a vector.

        Args:
            entries: float tensor in the kernel's shape, what the entries are scored by.
            signed: False where their magnitudes are their scores. Scores of units count by magnitude then, too.
        """

    @abc.abstractmethod
    def spread(self, units: Any, entries: Any) -> Any:
        """Returns a mask in the shape of the entries, from the mask of the units."""

    def threshold(self, score: Any) -> Any:
        """Returns, of a score that units are ranked by, the score that users know."""
        return score

    def extent(self, shape: Optional[Sequence[int]]) -> Extent:
        """See `Structure`."""
        return extent_of(None if shape is None else self.units_in(shape))

    def select(self, entries: Any, request: Request) -> Selected:
        """See `Structure`."""
        keys = Keys(self.scores(entries, request.signed), request.signed, request.extent)
        few = request.extent is not Extent.LARGE
        kept = kept_units(keys.size, request.sparsity, request.most, request.floor, few)
        best = keep_best(keys, kept, request.dtype)
        return Selected(self.spread(best.mask, entries), tf.cast(self.threshold(best.lowest), request.dtype), kept)


@dataclass(frozen=True)
class Elements(UnitStructure):
    """Single entries."""

    def units_in(self, shape: Sequence[int]) -> int:
        """See `UnitStructure`."""
        return int(np.prod(shape, dtype=np.int64))

    def kept_of(self, mask: Any) -> Any:
        """See `Structure`."""
        return tf.count_nonzero(mask)

    def scores(self, entries: Any, signed: bool) -> Any:
        """See `UnitStructure`."""
        return tf.reshape(entries, [-1])

    def spread(self, units: Any, entries: Any) -> Any:
        """See `UnitStructure`."""
        return tf.reshape(units, tf.shape(entries))


@dataclass(frozen=True)
class Channels(UnitStructure):
    """Whole outputs, scored by the norm of the scores of their entries, or by the sum of scores that have signs.

    Half precision is summed up in float32.

    Attributes:
        norm: ``l1`` or ``l2``.
        output_axes: axes that make the output, counted from the last.

    Raises:
        SpecError: a value is out of range.
    """

    norm: str = "l1"
    output_axes: OutputAxes = (-1,)

    def __post_init__(self) -> None:
        if self.norm not in ("l1", "l2"):
            raise SpecError(f"channel norm: expected l1 or l2, found {self.norm!r}")
        object.__setattr__(self, "output_axes", checked_axes(self.output_axes))

    def units_in(self, shape: Sequence[int]) -> int:
        """See `UnitStructure`."""
        return matrix_shape(shape, self.output_axes)[1]

    def kept_of(self, mask: Any) -> Any:
        """See `Structure`."""
        return tf.count_nonzero(tf.reduce_any(tf.not_equal(mask, 0), reduced_axes(mask, self.output_axes)))

    def scores(self, entries: Any, signed: bool) -> Any:
        """See `UnitStructure`; for ``l2`` the squares of the norms, so that no two of them become equal by rounding."""
        wide = widened(entries)
        if signed:
            if self.norm != "l1":
                raise SpecError("channel l2: expected scores without signs; use l1, which adds up those that have some")
            # A score below zero speaks against its channel.
            parts = wide
        else:
            parts = tf.abs(wide) if self.norm == "l1" else tf.square(wide)
        return tf.reshape(tf.reduce_sum(parts, reduced_axes(entries, self.output_axes)), [-1])

    def spread(self, units: Any, entries: Any) -> Any:
        """See `UnitStructure`."""
        shape = tf.shape(entries)
        reduced = tf.reduce_sum(tf.one_hot(reduced_axes(entries, self.output_axes), tf.size(shape), dtype=tf.int32), 0)
        return tf.broadcast_to(tf.reshape(units, tf.where_v2(reduced > 0, 1, shape)), shape)

    def threshold(self, score: Any) -> Any:
        """See `UnitStructure`."""
        # In float64, whose root of a scalar is correctly rounded; so is then that of float32.
        return score if self.norm == "l1" else tf.cast(tf.sqrt(tf.cast(score, tf.float64)), score.dtype)
