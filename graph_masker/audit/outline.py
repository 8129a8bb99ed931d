"""Which weights and masks a source has, before anything is measured."""

import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from graph_masker import tf_compat
from graph_masker.accumulators import COUNTERS, accumulators_of
from graph_masker.audit.data import Finding
from graph_masker.errors import SourceError
from graph_masker.files.graphs import ConstantsReader, Reader, view_of
from graph_masker.files.source import CheckpointReader, check_named
from graph_masker.masks import stored_masks, weight_of_mask
from graph_masker.naming import threshold_of
from graph_masker.plan import LAST_UPDATE_STEP, MaskPlan
from graph_masker.planning import make_plan, whole_of
from graph_masker.sites import Consumer, Findings, find_sites
from graph_masker.steps import OWN_STEP
from graph_masker.view import GraphView, OpName
from rewriters import DEFAULT_RULES

# In the keys of tf.train.Checkpoint and of Keras: an optimizer's slot, and what may be a mask.
_OBJECT_SLOT = "/.OPTIMIZER_SLOT/"
_OBJECT_MASK = re.compile(r"(^|[/_]|\.S)mask/\.ATTRIBUTES/VARIABLE_VALUE$")


class Outlined(NamedTuple):
    """A weight; see `Layer`.

    Attributes:
        consumers: ops of the graph that read it as a weight, autodiff's left out.
        expects_mask: whether the graph masks it.
    """

    variable: str
    op_types: Tuple[str, ...]
    dense_because: str
    mask: Optional[str]
    expects_mask: bool
    consumers: Tuple[Consumer, ...]


class Outline(NamedTuple):
    """All weights of a source, and the faults that show before any is read.

    Attributes:
        others: reason by key, of the other parameters.
    """

    layers: Tuple[Outlined, ...]
    others: Mapping[str, str]
    findings: Tuple[Finding, ...]


class Graph(NamedTuple):
    """A graph that was read from a file, and what was found in it."""

    definition: Any
    view: GraphView
    findings: Findings
    plan: MaskPlan

    def key(self, variable: OpName) -> str:
        """Returns the key under which checkpoints hold a variable."""
        return whole_of(self.view, variable)


def graph_of(meta_graph: Any) -> Graph:
    """Finds the weights of a graph.

    Raises:
        PlanError: it has none.
    """
    view = view_of(meta_graph)
    findings = find_sites(view, DEFAULT_RULES)
    return Graph(meta_graph.graph_def, view, findings, make_plan(view, findings, None, DEFAULT_RULES))


def outline_of(reader: Reader, graph: Optional[Graph]) -> Outline:
    """Finds the weights, masks and other parameters of a source.

    Args:
        reader: its tensors.
        graph: None where there is none; weights are then told by names and shapes.

    Raises:
        SourceError: its keys are names of Python objects, and a graph or masks would have to be matched with them.
    """
    is_told_by_names = graph is None and not any(_OBJECT_MASK.search(name) for name in reader.names())
    if isinstance(reader, CheckpointReader) and not is_told_by_names:
        check_named(reader)
    masks, findings = _stored(reader, graph)
    if graph is None:
        return _by_names(reader, masks, findings)
    held = set(reader.names())
    reasons = {graph.key(skip.variable): skip.reason for skip in graph.plan.skips}
    sites = {graph.key(site.variable): site for site in graph.plan.weights}
    merged: Dict[str, List[Consumer]] = {}
    for candidate in graph.findings.candidates:
        consumers = merged.setdefault(graph.key(candidate.variable), [])
        consumers.extend(item for item in candidate.consumers if not item.backward and item not in consumers)
    layers = []
    for key, consumers in merged.items():
        site = sites.get(key)
        mask = masks.get(key)
        if mask is None and site is not None and site.masked and site.saved_mask in held:
            mask = site.saved_mask
        if key not in held:
            text = f"the graph reads it, and {reader.prefix} does not hold it"
            findings.append(Finding("missing weight", key, text, True))
            continue
        types = tuple(sorted({consumer.op_type for consumer in consumers}))
        reason = "" if site is not None or mask is not None else reasons.get(key, "")
        expects = site is not None and site.masked
        layers.append(Outlined(key, types, reason, mask, expects, tuple(consumers)))
    others = {key: reason for key, reason in reasons.items() if key in held and key not in merged}
    return Outline(tuple(layers), others, tuple(findings))


def _stored(reader: Reader, graph: Optional[Graph]) -> Tuple[Dict[str, str], List[Finding]]:
    """Returns the masks that a checkpoint holds, by weight, and those whose weight it does not hold."""
    if isinstance(reader, ConstantsReader):
        return {}, []
    collections = graph.view.weight_of_mask() if graph is not None else {}
    masks: Dict[str, str] = {}
    findings = []
    for mask in stored_masks(reader):
        try:
            masks[weight_of_mask(reader, mask, collections)] = mask
        except SourceError as error:
            findings.append(Finding("mask without weight", mask, str(error), True))
    return masks, findings


def _by_names(reader: Reader, masks: Mapping[str, str], findings: List[Finding]) -> Outline:
    state = {LAST_UPDATE_STEP, *COUNTERS}
    for mask in masks.values():
        state |= {mask, threshold_of(mask), *accumulators_of(mask)}
    shapes = {name: reader.shape(name) for name in reader.names()}
    layers, others = [], {}
    for name, shape in shapes.items():
        if name in state or name in {finding.variable for finding in findings}:
            continue
        if not shape or not reader.dtype(name).is_floating or _is_copy(name, shapes):
            continue
        if name in masks or len(shape) > 1:
            layers.append(Outlined(name, (), "", masks.get(name), name in masks, ()))
        else:
            others[name] = "a bias or scale: it has fewer than two axes"
    return Outline(tuple(layers), others, tuple(findings))


def _is_copy(name: str, shapes: Mapping[str, Sequence[int]]) -> bool:
    """Tells whether a tensor is an optimizer's slot or a moving average: named after another one of its shape."""
    if _OBJECT_SLOT in name:
        return True
    owner = name.rpartition("/")[0]
    # An optimizer's scope may stand before the weight's name.
    while owner and owner not in shapes:
        owner = owner.partition("/")[2]
    return bool(owner) and shapes[owner] == shapes[name]


def step_of(reader: Reader, meta_graph: Any) -> Optional[int]:
    """Returns the stored global step: that of the graph's collection, one with its usual name, or our own counter."""
    names = [] if meta_graph is None else tf_compat.names_in_collection(meta_graph, "global_step")
    return first_number(reader, [*(name.partition(":")[0] for name in names), "global_step", OWN_STEP])


def first_number(reader: Reader, names: Sequence[str]) -> Optional[int]:
    """Returns the first of some scalars that a source holds."""
    held = set(reader.names())
    for name in names:
        if name in held and reader.shape(name) == () and reader.dtype(name).is_integer:
            return int(reader.tensor(name))
    return None
