"""The neighbourhood of sites: weights, masks, what lies between them and their consumers, and who reads them raw.

Nodes are ops, edges are the tensors between them. What a node or an edge is, is its attribute ``kind``.
"""

import re
from typing import Any, Dict, Iterable, List, Sequence, Set, Tuple

import networkx as nx

from graph_masker.drawing.kinds import (
    CONSUMER,
    FLOW,
    GRADIENT,
    MASK,
    MASKED_HERE,
    MASKS,
    PRODUCT,
    RAW,
    RAW_VALUE,
    READ,
    VALUE,
    WEIGHT,
)
from graph_masker.errors import UsageError
from graph_masker.plan import MaskPlan, Site
from graph_masker.view import GraphView, OpName, TensorRef, variable_behind
from rewriters import ReadRule, Rule

_SHAPES = frozenset({"Shape", "ShapeN", "Size", "Rank"})
# A weight passes few ops on its way. A graph that shows more is cut here.
_MOST_OPS = 10_000


def chosen_sites(plan: MaskPlan, pattern: str) -> Tuple[Site, ...]:
    """Returns the sites whose variable's name a regular expression is found in; all for an empty one.

    Raises:
        UsageError: it is none, or is found in no name.
    """
    try:
        sites = tuple(site for site in plan.sites if re.search(pattern, site.variable))
    except re.error as error:
        raise UsageError(f"--site: expected a regular expression, found {pattern!r}: {error}") from error
    if not sites:
        raise UsageError(f"--site: {pattern!r} matches none of the {len(plan.sites)} weights, which inspect lists")
    return sites


def neighbourhood(view: GraphView, sites: Sequence[Site], rules: Iterable[Rule]) -> "nx.DiGraph":
    """Returns the neighbourhood of some sites.

    Nodes have the attributes ``kind``, ``op`` (its name), ``op_type`` and ``site`` (the variable concerned, the first
    of several); those of weights have ``shape`` and ``entries``, too. Edges have ``kind``. A raw reader of several
    sites, such as a saver, is a node for each of them.

    Args:
        view: the graph.
        sites: of its plan.
        rules: those that the sites were found with.
    """
    builder = _Builder(view, rules)
    for site in sites:
        builder.add(site)
    builder.add_flow([consumer.op for site in sites for consumer in site.consumers if not consumer.backward])
    return builder.graph


class _Builder:
    def __init__(self, view: GraphView, rules: Iterable[Rule]) -> None:
        self.graph = nx.DiGraph()
        self._view = view
        self._read_rules = {rule.op_type: rule for rule in rules if isinstance(rule, ReadRule)}
        self._products: Dict[OpName, List[Any]] = {}
        for product, record in view.masks.items():
            self._products.setdefault(record.variable, []).append((product, record))

    def add(self, site: Site) -> None:
        """Adds one site."""
        self._node(site.variable, WEIGHT, site)
        self.graph.nodes[site.variable].update(shape=" x ".join(map(str, site.shape)), entries=site.entries)
        products = self._products.get(site.variable, [])
        for product, record in products:
            self._node(product, PRODUCT, site)
            self._node(record.mask, MASK, site)
        moved = {(TensorRef(*_split(read.tensor)).op, op) for read in site.reads for op, _ in read.reroutes}
        for consumer in site.consumers:
            self._node(consumer.op, GRADIENT if consumer.backward else CONSUMER, site)
            edges = self._path(consumer.op, self._view.nodes[consumer.op].inputs[consumer.port], site.variable)
            for source, target in edges:
                self._edge(source, target, MASKED_HERE if (source, target) in moved else VALUE, site)
        for product, record in products:
            for tensor in self._view.nodes[product].inputs:
                is_mask = variable_behind(self._view.nodes, tensor.op) == record.mask
                goal = record.mask if is_mask else site.variable
                for source, target in self._path(product, tensor, goal):
                    self._edge(source, target, MASKS if is_mask else VALUE, site)
        for op in site.raw_readers:
            node = f"{op} ({site.variable})"
            self.graph.add_node(node, kind=RAW, op=op, op_type=self._view.nodes[op].op_type, site=site.variable)
            self.graph.add_edge(site.variable, node, kind=RAW_VALUE)

    def add_flow(self, consumers: Sequence[OpName]) -> None:
        """Adds an edge between consumers where activations flow from one to the other and pass no third one."""
        walls = set(consumers)
        for consumer in dict.fromkeys(consumers):
            for source in self._flows_from(consumer, walls):
                if not self.graph.has_edge(source, consumer):
                    self.graph.add_edge(source, consumer, kind=FLOW)

    def _flows_from(self, consumer: OpName, walls: Set[OpName]) -> List[OpName]:
        found: Dict[OpName, None] = {}
        stack, seen = [consumer], {consumer}
        while stack:
            node = self._view.nodes[stack.pop()]
            # What is computed from a shape is no activation.
            for tensor in () if node.op_type in _SHAPES else node.inputs:
                if tensor.op in walls:
                    found[tensor.op] = None
                elif tensor.op not in seen:
                    seen.add(tensor.op)
                    stack.append(tensor.op)
        return list(found)

    def _node(self, op: OpName, kind: str, site: Site) -> None:
        if op not in self.graph:
            self.graph.add_node(op, kind=kind, op=op, op_type=self._view.nodes[op].op_type, site=site.variable)

    def _edge(self, source: OpName, target: OpName, kind: str, site: Site) -> None:
        for op in (source, target):
            self._node(op, READ, site)
        if not self.graph.has_edge(source, target):
            self.graph.add_edge(source, target, kind=kind)

    def _path(self, reader: OpName, tensor: TensorRef, goal: OpName) -> List[Tuple[OpName, OpName]]:
        """Returns the edges by which a variable's value comes to an op's input."""
        readers: Dict[OpName, List[OpName]] = {tensor.op: [reader]}
        stack, seen = [tensor], {tensor}
        while stack and len(seen) < _MOST_OPS:
            current = stack.pop()
            if current.op == goal or self._view.is_variable(current.op):
                continue
            for source in self._carried(current):
                targets = readers.setdefault(source.op, [])
                if current.op not in targets:
                    targets.append(current.op)
                if source not in seen:
                    seen.add(source)
                    stack.append(source)
        # Of what was walked back through, that which comes from the goal.
        edges: List[Tuple[OpName, OpName]] = []
        ops, reached = [goal], {goal, reader}
        while ops:
            source_op = ops.pop()
            for target in readers.get(source_op, ()):
                edges.append((source_op, target))
                if target not in reached:
                    reached.add(target)
                    ops.append(target)
        return edges

    def _carried(self, tensor: TensorRef) -> List[TensorRef]:
        node = self._view.nodes[tensor.op]
        rule = self._read_rules.get(node.op_type)
        if rule is None:
            # Gradients read a weight through ops of their own.
            return list(node.inputs[:1])
        return [node.inputs[index] for index in rule.carriers(len(node.inputs), tensor.output)]


def _split(tensor: str) -> Tuple[str, int]:
    name, _, output = tensor.partition(":")
    return name, int(output or 0)
