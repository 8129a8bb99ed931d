"""inspect_model: the sites and skips of a graph that lies in a file. No session, no import."""

from typing import Any, Dict, Iterable, Optional, Sequence

import numpy as np

from graph_masker import tf_compat
from graph_masker.errors import SourceError
from graph_masker.plan import MaskPlan
from graph_masker.planning import make_plan
from graph_masker.sites import find_sites
from graph_masker.source import CheckpointReader, Source, find_source, read_meta_graph
from graph_masker.spec import PruningSpec
from graph_masker.view import GraphView
from rewriters import DEFAULT_RULES, Rule


def inspect_model(src: str, spec: Optional[PruningSpec] = None, rules: Sequence[Rule] = DEFAULT_RULES) -> MaskPlan:
    """Plans the masking of the graph beside a checkpoint, without running or importing it.

    Args:
        src: checkpoint prefix, checkpoint directory or .meta file.
        spec: include, exclude and also apply; None plans every weight.
        rules: what is known of op types.

    Raises:
        SourceError: the file is missing or damaged, or there is no .meta file beside the checkpoint.
        PlanError: see `make_plan`.
    """
    return plan_source(find_source(src), spec, rules)


def plan_source(source: Source, spec: Optional[PruningSpec], rules: Iterable[Rule]) -> MaskPlan:
    """Does what `inspect_model` does for a source that has been found."""
    return plan_view(tf_compat.view_of_meta_graph(graph_of(source)), spec, rules)


def graph_of(source: Source) -> Any:
    """Returns the MetaGraph of a source.

    Raises:
        SourceError: it is missing or damaged.
    """
    if source.meta_path is None:
        raise SourceError(
            f"{source.prefix}.meta: expected the graph of this checkpoint, found no such file; "
            "inspect needs it: copy it from the training directory"
        )
    return read_meta_graph(source.meta_path)


def plan_view(view: GraphView, spec: Optional[PruningSpec], rules: Iterable[Rule]) -> MaskPlan:
    """Plans the masking of a graph that was read from a file."""
    return make_plan(view, find_sites(view, rules), spec, rules, strict=True)


def mask_zeros(source: Source, plan: MaskPlan) -> Dict[str, int]:
    """Counts the zeros of each mask stored in a checkpoint, by weight. Empty without data or masks."""
    if source.prefix is None:
        return {}
    reader = CheckpointReader(source.prefix)
    held = set(reader.names())
    return {
        site.variable: int(np.sum(site.part_of(reader.tensor(site.saved_mask)) == 0))
        for site in plan.sites
        if site.saved_mask in held
    }
