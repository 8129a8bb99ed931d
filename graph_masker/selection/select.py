"""The mask of one weight."""

from typing import Any, Optional

from graph_masker.selection.pieces import Extent
from graph_masker.selection.structures import Elements, Request, Selected, Structure

ELEMENTS = Elements()


def select(
    scores: Any,
    sparsity: Any,
    structure: Structure = ELEMENTS,
    most: Optional[Any] = None,
    floor: int = 1,
    signed: bool = False,
    dtype: Any = None,
    extent: Extent = Extent.LARGE,
) -> Selected:
    """Keeps the best units of a weight, exactly as many as a sparsity asks for; of equal ones the first.

    Args:
        scores: finite float tensor in the weight's shape, known or not.
        sparsity: float32 scalar, fraction of zeros.
        structure: what stays or goes as a whole.
        most: int32 or int64 scalar, keep no more units than this (for n:m, entries per group); None for no ceiling.
        floor: keep no fewer units than this (n:m: n per group, whatever it says).
        signed: False ranks by magnitude, so that the weight itself can be passed; True ranks scores with their signs.
        dtype: type of mask and threshold; None for that of the scores.
        extent: `structure.extent(shape)` where the shape is known: it changes the time taken, not the result.
    """
    return structure.select(scores, Request(sparsity, most, floor, signed, dtype or scores.dtype, extent))
