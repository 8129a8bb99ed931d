"""strip_model: masked frozen graphs and SavedModels become plain ones. Nothing of them is imported or run."""

import os
from dataclasses import dataclass
from typing import Dict, Optional, Tuple

from graph_masker import tf_compat
from graph_masker.errors import SourceError
from graph_masker.files import writing
from graph_masker.files.copying import Progress
from graph_masker.files.destination import check_destination, publishing, publishing_saved_model
from graph_masker.files.graphs import read_graph_def, read_saved_model, serialized
from graph_masker.files.sizes import files_of, raw_and_gzipped
from graph_masker.files.source import Kind, Source, find_source, is_saved_model, open_complete
from graph_masker.folding import FoldedWeight, fold_tensors
from graph_masker.masks import find_masks
from graph_masker.unmasking import strip_graph, unmask_meta_graph


@dataclass(frozen=True)
class StripResult:
    """What `strip_model` wrote.

    Attributes:
        src, dst: the masked file or folder, and the plain one.
        weights: all weights that were multiplied by their masks.
        copies: keys of moving averages folded along with their weights.
    """

    src: str
    dst: str
    weights: Tuple[FoldedWeight, ...]
    copies: Tuple[str, ...] = ()

    @property
    def sparsity(self) -> float:
        """Fraction of zeros over all of these weights."""
        return sum(weight.zeros for weight in self.weights) / max(1, sum(weight.entries for weight in self.weights))

    def sizes(self) -> Tuple[Tuple[int, int], Tuple[int, int]]:
        """Returns the bytes of source and destination, each raw and gzipped. Reads both of them."""
        return raw_and_gzipped(files_of(self.src)), raw_and_gzipped(files_of(self.dst))


def strip_model(src: str, dst: str, progress: Optional[Progress] = None, overwrite: bool = False) -> StripResult:
    """Multiplies masks into weights and takes them out of a frozen graph or SavedModel.

    Args:
        src: frozen graph (.pb or .pbtxt, a GraphDef of constants) or SavedModel.
        dst: the new file, text if its name ends in .pbtxt; or the new directory of a SavedModel.
        progress: called with bytes done and bytes in all, for a SavedModel's tensors.
        overwrite: replace what is there, if it is of the same kind.

    Raises:
        SourceError: the source is missing, damaged or of another kind, or nothing in it is masked.
        DestinationError: the destination exists or cannot be written.
        VerificationError: what was written does not read back as it should. Nothing is left behind.
    """
    source = find_source(src)
    if source.kind is Kind.FROZEN:
        return _strip_frozen(source, dst, overwrite)
    if source.kind is Kind.SAVED_MODEL:
        return _strip_saved_model(source, dst, progress, overwrite)
    remedy = "takes it" if source.prefix is not None else "takes a checkpoint, with its data"
    raise SourceError(
        f"{src}: expected a frozen graph or a SavedModel, found {source.kind.value}; `graph-masker fold` {remedy}"
    )


def _strip_frozen(source: Source, dst: str, overwrite: bool) -> StripResult:
    check_destination(source.path, dst, overwrite, os.path.isfile)
    graph_def = read_graph_def(source.path)
    weights = strip_graph(graph_def, source.path)
    with publishing(dst) as new:
        writing.write_checked(new, serialized(graph_def, dst))
    return StripResult(source.path, dst, tuple(FoldedWeight(*weight) for weight in weights))


def _strip_saved_model(source: Source, dst: str, progress: Optional[Progress], overwrite: bool) -> StripResult:
    assert source.graph_path is not None, "a SavedModel is found by it"
    folder = os.path.dirname(source.graph_path)
    check_destination(folder, dst, overwrite, is_saved_model)
    saved_model = read_saved_model(source.graph_path)
    pairs: Dict[str, str] = {}
    for meta_graph in saved_model.meta_graphs:
        masked = tf_compat.view_of_meta_graph(meta_graph).weight_of_mask()
        if masked:
            pairs.update(masked)
            meta_graph.CopyFrom(unmask_meta_graph(meta_graph, source.graph_path))
    if not pairs:
        raise SourceError(
            f"{source.path}: expected a masked SavedModel, found no masked weight in it; nothing to strip"
        )
    if source.prefix is None:
        raise SourceError(f"{folder}: expected variables/variables.index, found no such file; export it anew")
    reader = open_complete(source.prefix)
    names = find_masks(reader, pairs)
    graph_name, variables = os.path.basename(source.graph_path), os.path.dirname(source.prefix)
    left = [graph_name, os.path.relpath(variables, folder)]
    with publishing_saved_model(folder, dst, left) as new:
        os.mkdir(os.path.join(new, left[1]))
        weights = fold_tensors(reader, names, os.path.join(new, os.path.relpath(source.prefix, folder)), progress)
        writing.write_checked(os.path.join(new, graph_name), serialized(saved_model, graph_name))
    return StripResult(folder, dst, weights, tuple(sorted(names.copies)))
