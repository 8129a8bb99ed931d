"""fold_checkpoint: a masked checkpoint becomes a plain one, with the original model's names."""

from dataclasses import dataclass
from typing import AbstractSet, Dict, List, Optional, Tuple

import numpy as np

from graph_masker import tf_compat
from graph_masker.errors import SourceError
from graph_masker.files.changes import Changes
from graph_masker.files.copying import Progress, copy_checkpoint
from graph_masker.files.destination import check_checkpoint_destination
from graph_masker.files.graphs import read_meta_graph
from graph_masker.files.source import CheckpointReader, Kind, find_source, open_complete
from graph_masker.folding.graph import write_folded_graph
from graph_masker.folding.slots import optimizer_keys
from graph_masker.masks import MaskNames, find_masks

# Entries.
_PIECE = 2**16


@dataclass(frozen=True)
class FoldedWeight:
    """One weight after folding: its key, number of entries and of zeros."""

    variable: str
    entries: int
    zeros: int


@dataclass(frozen=True)
class FoldResult:
    """What `fold_checkpoint` wrote.

    Attributes:
        prefix: of the new checkpoint.
        weights: all folded weights; moving averages and other copies of a weight are in `copies`.
        copies: keys of moving averages folded along with their weights.
        dropped: keys of the source that the plain checkpoint does not have.
        slots: how many of these are an optimizer's.
        no_graph: why there is no .meta file beside the new checkpoint; None where there is.
    """

    prefix: str
    weights: Tuple[FoldedWeight, ...]
    copies: Tuple[str, ...]
    dropped: Tuple[str, ...]
    slots: int = 0
    no_graph: Optional[str] = None

    @property
    def sparsity(self) -> float:
        """Fraction of zeros over all folded weights."""
        return sum(weight.zeros for weight in self.weights) / max(1, sum(weight.entries for weight in self.weights))


def fold_checkpoint(
    src: str, dst: str, progress: Optional[Progress] = None, overwrite: bool = False, drop_slots: bool = False
) -> FoldResult:
    """Multiplies masks into weights and their moving averages, and drops masks, thresholds and the update step.

    Args:
        src: prefix of a masked checkpoint, or a checkpoint directory, whose latest is taken.
        dst: prefix of the new checkpoint, or, where `src` is a directory, a new directory.
        progress: called with bytes done and bytes in all.
        overwrite: replace a checkpoint, or a directory that holds nothing but checkpoints, at `dst`.
        drop_slots: leave out what only the optimizer reads; savers of the new .meta file then neither save nor restore
            it, so that it has to be initialized before training goes on.

    The graph of the masked checkpoint's .meta file, where there is one, is written beside the new checkpoint as the
    original model's.

    Raises:
        SourceError: the source is missing or damaged, or holds no masks.
        DestinationError: the destination exists or cannot be written.
        VerificationError: what was written does not read back as it should. Nothing is left behind.
    """
    source = find_source(src)
    if source.kind in (Kind.SAVED_MODEL, Kind.FROZEN):
        raise SourceError(f"{src}: expected a checkpoint, found {source.kind.value}; `graph-masker strip` takes it")
    if source.prefix is None:
        raise SourceError(f"{src}: expected a checkpoint with data, found only a .meta file")
    destination = check_checkpoint_destination(source, dst, overwrite)
    reader = open_complete(source.prefix)
    meta_graph = None if source.graph_path is None else read_meta_graph(source.graph_path)
    pairs = {} if meta_graph is None else tf_compat.view_of_meta_graph(meta_graph).weight_of_mask()
    names = find_masks(reader, pairs)
    if not names.masks:
        raise SourceError(f"{source.prefix}: expected a masked checkpoint, found no masks in it; nothing to fold")
    slots = optimizer_keys(reader, meta_graph) if drop_slots else frozenset()
    with destination.publishing() as prefix:
        weights = fold_tensors(reader, names, prefix, progress, slots)
        no_graph = write_folded_graph(meta_graph, source.graph_path, slots, prefix + ".meta")
    dropped = tuple(sorted(names.state | slots))
    return FoldResult(destination.prefix, weights, tuple(sorted(names.copies)), dropped, len(slots), no_graph)


def fold_tensors(
    reader: CheckpointReader,
    names: MaskNames,
    prefix: str,
    progress: Optional[Progress] = None,
    without: AbstractSet[str] = frozenset(),
) -> Tuple[FoldedWeight, ...]:
    """Writes a folded checkpoint, and checks that it reads back as it should; returns the weights.

    Args:
        reader: the masked checkpoint.
        names: its masks.
        prefix: of the new checkpoint.
        progress: called with bytes done and bytes in all.
        without: keys that are left out, besides pruning's own.

    Raises:
        SourceError: a mask holds other values than zeros and ones.
        VerificationError: it does not read back as it should.
    """
    counts = _Counts(reader.prefix, names)
    changes = Changes(dropped=names.state | without, products=names.mask_of, seen=counts.add)
    copy_checkpoint(reader, changes, prefix, progress)
    return counts.weights()


class _Counts:
    """Counts entries and zeros of masks as they are seen."""

    def __init__(self, prefix: str, names: MaskNames) -> None:
        self._prefix, self._names = prefix, names
        self._found: Dict[str, List[Tuple[int, int]]] = {weight: [] for weight in names.masks.values()}

    def add(self, key: str, mask: np.ndarray) -> None:
        """Counts those of a mask, or of a part of one; others than zeros and ones are an error."""
        # In pieces: the truths of a comparison need memory, too.
        values = mask.ravel()
        pieces = [values[start : start + _PIECE] for start in range(0, values.size, _PIECE)]
        zeros = sum(int(np.count_nonzero(piece == 0)) for piece in pieces)
        if zeros + sum(int(np.count_nonzero(piece == 1)) for piece in pieces) != values.size:
            name = self._names.mask_of[key]
            raise SourceError(f"{self._prefix}: expected zeros and ones in '{name}', found others")
        if key in self._found:
            self._found[key].append((values.size, zeros))

    def weights(self) -> Tuple[FoldedWeight, ...]:
        """Returns what was counted, one record per weight."""
        return tuple(
            FoldedWeight(weight, sum(size for size, _ in found), sum(zeros for _, zeros in found))
            for weight, found in sorted(self._found.items())
        )
