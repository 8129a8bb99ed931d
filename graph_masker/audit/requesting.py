"""What was asked of each weight: the spec's schedule at the last mask update, and at its end."""

import os
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from graph_masker.audit.data import Request
from graph_masker.audit.outline import Graph, Outlined
from graph_masker.engine.weights import structure_of
from graph_masker.errors import PlanError, SourceError
from graph_masker.files.source import Source
from graph_masker.naming import whole_name
from graph_masker.plan import PLAN_FILE, MaskPlan, Pruning
from graph_masker.planning import make_plan
from graph_masker.report import structure_words
from graph_masker.schedule import kept_entries, weight_sparsity_at
from graph_masker.selection import Blocks, Channels, Elements, NOfM
from graph_masker.selection.matrix import matrix_shape
from graph_masker.spec import ERK, Element, PruningSpec
from rewriters import DEFAULT_RULES


class Asked(NamedTuple):
    """A spec, the file it comes from (may be empty), and how it prunes each weight, by key."""

    spec: PruningSpec
    origin: str
    prunings: Mapping[str, Pruning]


def asked_of(
    source: Source, given: Optional[PruningSpec], graph: Optional[Graph], layers: Sequence[Outlined]
) -> Optional[Asked]:
    """Finds what was asked for: the spec given, or the plan beside the files; None where there is neither.

    Raises:
        SourceError: the plan cannot be read.
        PlanError, SpecError: the spec does not fit the graph.
    """
    if given is not None:
        if graph is None:
            return Asked(given, "", _by_names(given, layers))
        plan = make_plan(graph.view, graph.findings, given, DEFAULT_RULES)
        return Asked(given, "", _prunings(plan))
    path = os.path.join(os.path.dirname(source.prefix or source.path), PLAN_FILE)
    if not os.path.isfile(path):
        return None
    try:
        with open(path, encoding="utf-8") as stream:
            plan = MaskPlan.from_json(stream.read())
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    except (PlanError, ValueError, AttributeError, RecursionError) as error:
        raise SourceError(f"{path}: expected the plan of this model, found other data; remove it") from error
    return None if plan.spec is None else Asked(plan.spec, path, _prunings(plan))


def _prunings(plan: MaskPlan) -> Dict[str, Pruning]:
    return {site.saved_variable: site.pruning for site in plan.sites if site.pruning is not None}


def _by_names(spec: PruningSpec, layers: Sequence[Outlined]) -> Dict[str, Pruning]:
    """Returns how weights are pruned, of which only the names are known: no structure has axes then."""
    if spec.allocation == ERK:
        return {}
    found = {}
    for layer in layers:
        settings = spec.for_weight(whole_name(layer.variable))
        if not settings.excluded:
            pruning = Pruning(settings.target_sparsity, settings.structure, settings.criterion, settings.group)
            found[layer.variable] = pruning
    return found


def expected_update(spec: PruningSpec, step: Optional[int]) -> Optional[int]:
    """Returns the step of the last update up to a global step; None before the first."""
    if step is None or step < spec.begin_step:
        return None
    if spec.last_step is not None and step >= spec.last_step:
        return spec.last_step
    return spec.begin_step + (step - spec.begin_step) // spec.frequency * spec.frequency


def request_of(asked: Asked, variable: str, shape: Tuple[int, ...], update: Optional[int]) -> Optional[Request]:
    """Returns what was asked of a weight.

    Args:
        asked: what `asked_of` returned.
        variable, shape: of the weight.
        update: step of the last mask update; None before the first.
    """
    pruning = asked.prunings.get(variable)
    if pruning is None:
        return None
    now = 0.0 if update is None else weight_sparsity_at(asked.spec, pruning.target_sparsity, update)
    alone = pruning.group is None and not asked.spec.threshold_decay
    return Request(
        sparsity=now,
        zeros=_zeros(pruning, shape, now) if alone and update is not None else 0 if alone else None,
        target_sparsity=pruning.target_sparsity,
        target_zeros=_zeros(pruning, shape, pruning.target_sparsity) if alone else None,
        structure=structure_words(pruning.structure),
        group=pruning.group,
    )


def _zeros(pruning: Pruning, shape: Tuple[int, ...], sparsity: float) -> Optional[int]:
    """Returns the number of zeros that a sparsity means; None where it depends on which blocks go."""
    entries = int(np.prod(shape, dtype=np.int64))
    structure = structure_of(pruning) if pruning.output_axes or _is_by_element(pruning) else None
    if structure is None or len(shape) < max((-axis for axis in pruning.output_axes), default=0):
        return None
    structure = structure.at(shape)
    if isinstance(structure, Elements):
        return entries - kept_entries(entries, sparsity)
    rows, columns = matrix_shape(shape, pruning.output_axes)
    if isinstance(structure, NOfM):
        kept = int(np.rint(np.float32(structure.m) * (np.float32(1.0) - np.float32(sparsity))))
        kept = min(max(kept, structure.n), structure.m)
        return entries - columns * (rows // structure.m * kept + min(kept, rows % structure.m))
    if isinstance(structure, Blocks) and (rows % structure.height or columns % structure.width):
        return None
    assert isinstance(structure, (Blocks, Channels)), "every structure of a spec has its case"
    units = structure.units_in(shape)
    return entries - kept_entries(units, sparsity) * (entries // units)


def _is_by_element(pruning: Pruning) -> bool:
    return isinstance(pruning.structure, Element)


class GroupRequest(NamedTuple):
    """What was asked of weights that share one threshold: their keys, their entries and the zeros in all of them."""

    name: str
    variables: Tuple[str, ...]
    entries: int
    zeros: int


def group_requests(asked: Asked, shapes: Mapping[str, Tuple[int, ...]], update: Optional[int]) -> List[GroupRequest]:
    """Returns what was asked of each group whose weights are pruned by element.

    Args:
        asked: what `asked_of` returned.
        shapes: of the weights, by key.
        update: step of the last mask update; None before the first.
    """
    groups: Dict[str, List[str]] = {}
    for variable, pruning in asked.prunings.items():
        if pruning.group is not None and variable in shapes:
            groups.setdefault(pruning.group, []).append(variable)
    found = []
    for name, variables in groups.items():
        prunings = [asked.prunings[variable] for variable in variables]
        if asked.spec.threshold_decay or update is None or not all(map(_is_by_element, prunings)):
            continue
        sizes = [int(np.prod(shapes[variable], dtype=np.int64)) for variable in variables]
        sparsity = weight_sparsity_at(asked.spec, prunings[0].target_sparsity, update)
        most = asked.spec.max_sparsity
        least = sum(1 if most >= 1.0 else kept_entries(size, most) for size in sizes)
        kept = max(kept_entries(sum(sizes), sparsity), least)
        found.append(GroupRequest(name, tuple(variables), sum(sizes), sum(sizes) - kept))
    return found
