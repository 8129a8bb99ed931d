"""Tells which tensors of a checkpoint are pruning state, and which weight each mask belongs to."""

import re
from dataclasses import dataclass
from typing import Dict, FrozenSet, List, Mapping, Tuple

from graph_masker.accumulators import COUNTERS, accumulators_of
from graph_masker.errors import SourceError
from graph_masker.files.source import CheckpointReader
from graph_masker.naming import threshold_of
from graph_masker.plan import LAST_UPDATE_STEP

# tf.train.ExponentialMovingAverage names its copy `[scope/]<weight>/ExponentialMovingAverage`, or as it was told to.
_AVERAGE = re.compile(r"average|avg|(^|_)ema($|_)|shadow|polyak", re.IGNORECASE)


@dataclass(frozen=True)
class MaskNames:
    """Keys of a masked checkpoint.

    Attributes:
        masks: weight by mask.
        mask_of: mask by key, for every tensor that folding multiplies: weights and their moving averages.
        copies: the keys of `mask_of` that are moving averages.
        state: keys that a plain checkpoint does not have.
    """

    masks: Mapping[str, str]
    mask_of: Mapping[str, str]
    copies: FrozenSet[str]
    state: FrozenSet[str]


def find_masks(reader: CheckpointReader, collections: Mapping[str, str]) -> MaskNames:
    """Finds the masks of a checkpoint.

    Args:
        reader: the checkpoint.
        collections: weight by mask, as the graph's collections say; may be empty. Where it says nothing, a mask
            belongs to the weight that its name implies: ``w_mask`` and ``w/mask`` to ``w``, ``scope/mask`` to the
            one tensor of that shape directly in ``scope``. A mask always has a threshold beside it.

    Raises:
        SourceError: a mask's weight is not in the checkpoint, or several could be it.
    """
    held = set(reader.names())
    masks: Dict[str, str] = {}
    state = {LAST_UPDATE_STEP, *COUNTERS} & held
    for name in stored_masks(reader):
        masks[name] = weight_of_mask(reader, name, collections)
        state |= {name, threshold_of(name), *_accumulators(reader, name)}
    mask_of = {weight: mask for mask, weight in masks.items()}
    averages = find_averages(reader, mask_of)
    return MaskNames(masks, {**averages, **mask_of}, frozenset(averages), frozenset(state))


def stored_masks(reader: CheckpointReader) -> List[str]:
    """Returns the keys that are masks by their names, with a threshold beside each."""
    held = set(reader.names())
    named = ((name, threshold_of(name)) for name in reader.names() if name.endswith("mask"))
    return [name for name, threshold in named if threshold in held and reader.shape(threshold) == ()]


def weight_of_mask(reader: CheckpointReader, mask: str, collections: Mapping[str, str]) -> str:
    """Returns the key of the weight that a mask belongs to; see `find_masks`.

    Raises:
        SourceError: it is not in the checkpoint, or several could be it.
    """
    held = set(reader.names())
    weight = collections.get(mask, "")
    if weight not in held or reader.shape(weight) != reader.shape(mask):
        weight = _weight_of(reader, mask)
    if weight not in held or reader.shape(weight) != reader.shape(mask):
        raise SourceError(f"{reader.prefix}: expected the weight of mask '{mask}', found none of its shape")
    return weight


def _accumulators(reader: CheckpointReader, mask: str) -> List[str]:
    """Returns the keys of what criteria have added up for a mask's weight."""
    held, names = set(reader.names()), accumulators_of(mask)
    return [name for name in names if name in held and reader.shape(name) == reader.shape(mask)]


def find_averages(reader: CheckpointReader, mask_of: Mapping[str, str]) -> Dict[str, str]:
    """Returns mask by key for the moving averages of weights.

    Args:
        reader: the checkpoint.
        mask_of: mask, or whatever stands for one, by weight.
    """
    found = {}
    for name in reader.names():
        owner, _, leaf = name.rpartition("/")
        # An average that a model computes with has a mask of its own.
        if not _AVERAGE.search(leaf) or name in mask_of:
            continue
        # The optimizer's variable scope, if any, stands before the weight's name.
        while owner and owner not in mask_of:
            owner = owner.partition("/")[2]
        if owner and reader.shape(name) == reader.shape(owner):
            found[name] = mask_of[owner]
    return found


def _weight_of(reader: CheckpointReader, mask: str) -> str:
    if mask.endswith("_mask"):
        return mask[: -len("_mask")]
    scope = mask[: -len("mask")]
    if scope[:-1] in reader.names() and reader.shape(scope[:-1]) == reader.shape(mask):
        return scope[:-1]
    candidates = _siblings(reader, scope, mask)
    if len(candidates) != 1:
        found = ", ".join(candidates) or "none"
        raise SourceError(
            f"{reader.prefix}: expected one tensor of the shape of mask '{mask}' beside it, found {found}; "
            f"put the .meta file, which pairs them, beside the checkpoint"
        )
    return candidates[0]


def _siblings(reader: CheckpointReader, scope: str, mask: str) -> List[str]:
    shape: Tuple[int, ...] = reader.shape(mask)
    own = {mask, *_accumulators(reader, mask)}
    return [
        name
        for name in reader.names()
        if name.startswith(scope) and "/" not in name[len(scope) :] and name not in own and reader.shape(name) == shape
    ]
