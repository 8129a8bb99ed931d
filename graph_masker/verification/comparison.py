"""What two files have in common: every weight as its consumers read it, and every other tensor, bit for bit."""

from dataclasses import dataclass
from typing import Any, List, Mapping, Optional, Set, Tuple

import numpy as np

from graph_masker import tf_compat
from graph_masker.bits import same_bits
from graph_masker.errors import SourceError, VerificationError
from graph_masker.files.graphs import ConstantsReader, Reader, view_of
from graph_masker.files.source import Kind, Source, check_named
from graph_masker.inspection import tensors_of
from graph_masker.masks import find_masks


@dataclass(frozen=True)
class Tensors:
    """The tensors of a file, and which mask each of its weights has.

    Attributes:
        path: for messages.
        reader: of the tensors.
        mask_of: mask by key, for every tensor that folding multiplies.
        state: keys that a plain model does not have.
        is_frozen: whether they are a frozen graph's constants, of which only those that may be weights count.
    """

    path: str
    reader: Reader
    mask_of: Mapping[str, str]
    state: Set[str]
    keys: Set[str]
    is_frozen: bool

    def folded(self, key: str) -> np.ndarray:
        """Returns a tensor as it is after folding."""
        value = self.reader.tensor(key)
        if key not in self.mask_of:
            return value
        product: np.ndarray = self.reader.tensor(self.mask_of[key]) * value
        return product


def tensors_with_masks(source: Source, meta_graph: Optional[Any]) -> Tensors:
    """Returns the tensors of a source.

    Args:
        source: what `find_source` found.
        meta_graph: what `read_graph` returned for it; None for a checkpoint without a graph.

    Raises:
        SourceError: it has no tensors.
    """
    reader = tensors_of(source, meta_graph)
    if reader is None:
        raise SourceError(f"{source.path}: expected tensors to compare, found only a graph")
    view = None if meta_graph is None else view_of(meta_graph)
    if isinstance(reader, ConstantsReader):
        records = {} if view is None else view.masks
        mask_of = {record.variable: record.mask for record in records.values()}
        keys = set(tf_compat.possible_weights(meta_graph.graph_def)) if meta_graph is not None else set()
        state = {name for record in records.values() for name in (record.mask, record.threshold)}
        return Tensors(source.path, reader, mask_of, state, keys - state, True)
    check_named(reader)
    names = find_masks(reader, {} if view is None else view.weight_of_mask())
    return Tensors(source.path, reader, names.mask_of, set(names.state), set(reader.names()) - set(names.state), False)


@dataclass(frozen=True)
class Comparison:
    """What two files have in common.

    Attributes:
        equal: number of tensors that are the same in both, bit for bit, after folding.
        weights: number of those that are masked in one of them.
        pruned: entries of a tensor that are zero here and not there, by key; all its other entries are equal.
        only_here, only_there: keys of the one and the other, pruning state left out.
    """

    equal: int
    weights: int
    pruned: Mapping[str, Tuple[int, int]]
    only_here: Tuple[str, ...]
    only_there: Tuple[str, ...]


def compare(here: Tensors, there: Tensors, may_be_pruned: bool = False) -> Comparison:
    """Compares all tensors that two files both have, each folded where it has a mask.

    Args:
        here: the file to judge.
        there: what it should agree with.
        may_be_pruned: accept more zeros here than there.

    Raises:
        VerificationError: a tensor differs, a weight is missing here, or they have nothing in common.
    """
    common = sorted(here.keys & there.keys)
    if not common:
        raise VerificationError(f"{here.path}: expected tensors of {there.path}, found none of their names")
    equal = weights = 0
    pruned = {}
    for key in common:
        one, other = here.folded(key), there.folded(key)
        if same_bits(one, other):
            equal += 1
            weights += key in here.mask_of or key in there.mask_of
            continue
        pruned[key] = (_zeroed(here, there, key, one, other, may_be_pruned), one.size)
    only_there = sorted(there.keys - here.keys)
    lost = [key for key in only_there if key in there.mask_of or _is_weight(there, key)]
    if lost and not (here.is_frozen or there.is_frozen):
        raise VerificationError(f"{here.path}: expected '{lost[0]}' of {there.path}, found no such tensor")
    return Comparison(equal, weights, pruned, tuple(sorted(here.keys - there.keys)), tuple(only_there))


def _zeroed(here: Tensors, there: Tensors, key: str, one: np.ndarray, other: np.ndarray, may_be_pruned: bool) -> int:
    """Returns how many entries are zero here only, where that is all that differs."""
    if one.dtype != other.dtype or one.shape != other.shape:
        raise VerificationError(
            f"{here.path}: expected '{key}' as in {there.path}, {other.dtype} {other.shape}, "
            f"found {one.dtype} {one.shape}"
        )
    if one.dtype == object or one.ndim == 0:
        raise VerificationError(f"{here.path}: expected '{key}' as in {there.path}, found another value")
    differs = one.view(np.uint8).reshape(one.size, -1) != other.view(np.uint8).reshape(one.size, -1)
    entries = differs.any(axis=1).reshape(one.shape)
    count = int(entries.sum())
    if np.any(one[entries] != 0):
        raise VerificationError(f"{here.path}: expected '{key}' as in {there.path}, found {count:,} other entries")
    if not may_be_pruned:
        raise VerificationError(
            f"{here.path}: expected '{key}' as in {there.path}, found {count:,} entries that are zero here only; "
            "--pruned accepts them"
        )
    return count


def _is_weight(tensors: Tensors, key: str) -> bool:
    """Tells whether a key could be a weight's: of two axes, and not named below a weight, as an optimizer's slot is."""
    if len(tensors.reader.shape(key)) < 2:
        return False
    parts = key.split("/")
    return not any("/".join(parts[:length]) in tensors.keys for length in range(1, len(parts)))


def lines(result: Comparison, here: Source, there: Source) -> List[str]:
    """Returns what a comparison found, one line for each thing."""
    found = [
        f"against {there.path}: {result.equal} tensors equal, bit for bit; {result.weights} of them weights under masks"
    ]
    if result.pruned:
        zeros, entries = (sum(pair[index] for pair in result.pruned.values()) for index in (0, 1))
        found.append(
            f"pruned: {len(result.pruned)} tensors have {zeros:,} of {entries:,} entries set to zero, all others equal"
        )
    for source, keys in ((here, result.only_here), (there, result.only_there)):
        if keys and Kind.FROZEN not in (here.kind, there.kind):
            shown = ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
            found.append(f"only in {source.path}: {len(keys)} tensors ({shown})")
    return found
