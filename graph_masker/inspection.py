"""inspect_model: the sites and skips of a graph that lies in a file. No session, no import."""

from typing import Dict, Iterable, Optional, Sequence

import numpy as np

from graph_masker import tf_compat
from graph_masker.errors import SourceError
from graph_masker.plan import MaskPlan, make_plan
from graph_masker.sites import find_sites
from graph_masker.source import CheckpointReader, Source, find_source, read_meta_graph
from graph_masker.spec import PruningSpec
from graph_masker.view import whole_name
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
    if source.meta_path is None:
        raise SourceError(
            f"{source.prefix}.meta: expected the graph of this checkpoint, found no such file; "
            "inspect needs it: copy it from the training directory"
        )
    view = tf_compat.view_of_meta_graph(read_meta_graph(source.meta_path))
    return make_plan(view, find_sites(view, rules), spec, rules, strict=True)


def mask_zeros(source: Source, plan: MaskPlan) -> Dict[str, int]:
    """Counts the zeros of each mask stored in a checkpoint, by weight. Empty without data or masks."""
    if source.prefix is None:
        return {}
    reader = CheckpointReader(source.prefix)
    held = set(reader.names())
    zeros = {}
    for site in plan.sites:
        key = site.mask if site.part is None else whole_name(site.mask)
        if key in held:
            mask = reader.tensor(key)
            if site.part is not None:
                mask = mask[tuple(slice(start, start + size) for start, size in zip(site.part.offset, site.shape))]
            zeros[site.variable] = int(np.sum(mask == 0))
    return zeros
