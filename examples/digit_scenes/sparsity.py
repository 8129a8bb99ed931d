"""How sparse each masked layer is: asked for, in the mask, and in the folded weight."""

from typing import List, NamedTuple, Tuple

import numpy as np
import tensorflow.compat.v1 as tf


class LayerSparsity(NamedTuple):
    """One masked weight.

    Attributes:
        weight: Name of the variable.
        shape: Its shape.
        entries: How many numbers it holds.
        zeros_asked: Zeros the target sparsity asks for.
        zeros_mask: Zeros in the mask of the masked checkpoint.
        zeros_folded: Zeros in the weight of the folded checkpoint.
    """

    weight: str
    shape: Tuple[int, ...]
    entries: int
    zeros_asked: int
    zeros_mask: int
    zeros_folded: int

    @property
    def sparsity(self) -> float:
        """Fraction of zeros in the folded weight, 0 to 1."""
        return self.zeros_folded / self.entries


def zeros_asked(entries: int, sparsity: float) -> int:
    """Gives the exact number of zeros a sparsity means: n - round(n * (1 - s)), at least one entry kept."""
    kept = int(np.round(np.float32(entries) * (np.float32(1) - np.float32(sparsity))))
    return entries - max(kept, 1)


def _weight_of(mask: str, names: List[str]) -> str:
    """Finds the weight of a mask: <scope>/mask is beside <scope>/weights, <weight>_mask beside <weight>."""
    if mask.endswith("_mask"):
        return mask[: -len("_mask")]
    scope = mask[: -len("mask")]
    return next(scope + name for name in ("weights", "kernel") if scope + name in names)


def layer_table(masked: str, folded: str, sparsity: float) -> List[LayerSparsity]:
    """Counts the zeros of every masked weight.

    Args:
        masked: Prefix of the checkpoint with masks.
        folded: Prefix of the checkpoint folded from it.
        sparsity: The target, 0 to 1.
    """
    with_masks = tf.train.load_checkpoint(masked)
    without = tf.train.load_checkpoint(folded)
    names = sorted(with_masks.get_variable_to_shape_map())
    rows = []
    for mask in names:
        if not mask.endswith(("/mask", "_mask")):
            continue
        weight = _weight_of(mask, names)
        values = without.get_tensor(weight)
        rows.append(
            LayerSparsity(
                weight=weight,
                shape=values.shape,
                entries=values.size,
                zeros_asked=zeros_asked(values.size, sparsity),
                zeros_mask=int(np.sum(with_masks.get_tensor(mask) == 0)),
                zeros_folded=int(np.sum(values == 0)),
            )
        )
    return rows
