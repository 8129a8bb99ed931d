"""inspect_model: the sites and skips of a graph that lies in a file. No session, no import."""

from typing import Any, Dict, Iterable, Optional, Sequence

import numpy as np

from graph_masker.files.graphs import ConstantsReader, Reader, read_graph, view_of
from graph_masker.files.source import CheckpointReader, Kind, Source, find_source
from graph_masker.plan import MaskPlan
from graph_masker.planning import make_plan
from graph_masker.sites import find_sites
from graph_masker.spec import PruningSpec
from graph_masker.view import GraphView
from rewriters import DEFAULT_RULES, Rule


def inspect_model(
    src: str, spec: Optional[PruningSpec] = None, rules: Sequence[Rule] = DEFAULT_RULES, tags: Iterable[str] = ()
) -> MaskPlan:
    """Plans the masking of a graph in a file, without running or importing it.

    Args:
        src: checkpoint prefix or directory with its .meta file, .meta file, SavedModel, or frozen graph.
        spec: include, exclude and also apply; None plans every weight.
        rules: what is known of op types.
        tags: which graph of a SavedModel; see `read_graph`.

    Raises:
        SourceError: the file is missing or damaged, or there is no .meta file beside the checkpoint.
        PlanError: see `make_plan`.
    """
    return plan_view(view_of(read_graph(find_source(src), tags)), spec, rules)


def plan_view(view: GraphView, spec: Optional[PruningSpec], rules: Iterable[Rule]) -> MaskPlan:
    """Plans the masking of a graph that was read from a file."""
    return make_plan(view, find_sites(view, rules), spec, rules, strict=True)


def tensors_of(source: Source, meta_graph: Any) -> Optional[Reader]:
    """Returns the reader of a source's tensors; None where it has none.

    Args:
        source: what `find_source` found.
        meta_graph: what `read_graph` returned for it; only a frozen graph's is looked at.
    """
    if source.kind is Kind.FROZEN:
        return ConstantsReader(source.path, meta_graph.graph_def)
    return CheckpointReader(source.prefix) if source.prefix is not None else None


def mask_zeros(reader: Optional[Reader], plan: MaskPlan) -> Dict[str, int]:
    """Counts the zeros of each mask that a reader holds, by weight."""
    if reader is None:
        return {}
    held = set(reader.names())
    return {
        site.variable: int(np.sum(site.part_of(reader.tensor(site.saved_mask)) == 0))
        for site in plan.sites
        if site.saved_mask in held
    }
