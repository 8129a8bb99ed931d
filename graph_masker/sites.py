"""Finds the variables whose values reach the weight input of a consumer, and every edge that reads them.

    variable -> read (Identity, ReadVariableOp) -> [Cast, Enter, Transpose, ...] -> weight input of Conv2D, MatMul, ...
                  \\-> regularizer, summary, save, assign: raw readers, which keep the unmasked value

Pure: it reads a `GraphView` and returns data. Names of masks and the choice what to mask are the plan's.
"""

from dataclasses import dataclass
from typing import Dict, FrozenSet, Iterable, List, NamedTuple, Optional, Set, Tuple

from graph_masker.effects import Effects, Kind, Kinds, ignores_value
from graph_masker.origins import Origins, Stop
from graph_masker.readers import Readers, Refusal, readers_of
from graph_masker.view import Edge, GraphView, MaskRecord, OpName, TensorRef
from rewriters import ReadRule, Rule, WeightRule


class Consumer(NamedTuple):
    """An op that reads the weight at input `port`; `backward` where autodiff made it."""

    op: OpName
    op_type: str
    port: int
    backward: bool


@dataclass(frozen=True)
class Candidate:
    """A variable that at least one consumer reads as its weight."""

    variable: OpName
    kind: str
    dtype: str
    shape: Tuple[int, ...]
    trainable: bool
    families: FrozenSet[str]
    requested_only: bool
    consumers: Tuple[Consumer, ...]
    readers: Readers
    existing: Optional[MaskRecord]


class Unmasked(NamedTuple):
    """A variable that stays dense, an op concerned (may be empty), and why."""

    variable: OpName
    op: OpName
    reason: str


class Findings(NamedTuple):
    """Candidates and what cannot be one, each in order of the variables' creation."""

    candidates: Tuple[Candidate, ...]
    unmasked: Tuple[Unmasked, ...]


def find_sites(
    view: GraphView, rules: Iterable[Rule], outputs: Iterable[str] = (), gradient_ops: Iterable[OpName] = ()
) -> Findings:
    """Finds all weights of a graph.

    Args:
        view: the graph.
        rules: what is known of op types; see `rewriters.DEFAULT_RULES`.
        outputs: names of tensors that the model returns (predictions, losses); a value computed from a
            weight alone counts as the model's output only if it is among them.
        gradient_ops: ops known to be autodiff's. What is computed from them is the optimizer's, and reads the
            raw weight.
    """
    return _Finder(view, rules, frozenset(outputs), frozenset(gradient_ops)).run()


class _Finder:
    def __init__(
        self, view: GraphView, rules: Iterable[Rule], outputs: FrozenSet[str], gradient_ops: FrozenSet[OpName]
    ) -> None:
        rules = tuple(rules)
        self._view = view
        self._weight_rules = {rule.op_type: rule for rule in rules if isinstance(rule, WeightRule)}
        self._read_rules = {rule.op_type: rule for rule in rules if isinstance(rule, ReadRule)}
        self._kinds = Kinds(view, self._weight_rules.values())
        self._origins = Origins(view, self._read_rules.values(), self._kinds)
        self._masks_of = {record.variable: record for record in view.masks.values()}
        self._mask_state = {name for record in view.masks.values() for name in (record.mask, record.threshold)}
        self._consumers: Dict[OpName, List[Tuple[Edge, WeightRule]]] = {}
        self._blocked: Dict[OpName, Unmasked] = {}
        self._ports: Set[Edge] = set()
        self._outputs = outputs
        self._gradient_ops = gradient_ops

    def run(self) -> Findings:
        for node in self._view.nodes.values():
            rule = self._weight_rules.get(node.op_type)
            if rule is not None:
                self._add_consumer(node.name, rule)
        # What an output is computed from is the model's, also where gradients go into it (MAML's fast weights).
        model = _ancestors(self._view, self._outputs) - self._gradient_ops
        optimizer = _descendants(self._view, self._gradient_ops) - model
        effects = Effects(self._view, self._kinds, self._ports, self._outputs, optimizer)
        candidates: List[Candidate] = []
        unmasked: List[Unmasked] = []
        for variable in self._view.variables():
            if variable in self._mask_state:
                continue
            try:
                candidate = self._candidate(variable, effects) if self._is_consumed(variable) else None
            except Refusal as refusal:
                unmasked.append(Unmasked(variable, refusal.op, refusal.reason))
                continue
            if candidate is not None:
                candidates.append(candidate)
            elif variable in self._blocked:
                unmasked.append(self._blocked[variable])
            elif variable in self._view.trainable:
                unmasked.append(self._why_not(variable))
        return Findings(tuple(candidates), tuple(unmasked))

    def _is_consumed(self, variable: OpName) -> bool:
        """Tells whether an op of the model, not only autodiff, consumes a variable."""
        return any(edge.op not in self._gradient_ops for edge, _ in self._consumers.get(variable, []))

    def _add_consumer(self, op: OpName, rule: WeightRule) -> None:
        inputs = self._view.nodes[op].inputs
        origins = {index: self._origins.of(inputs[index]) for index in rule.weight_inputs if index < len(inputs)}
        if rule.data_input is None and len([origin for origin in origins.values() if origin.variables]) > 1:
            # Where one input is made of variables alone and the other of data, too, the first is the weight.
            pure = {index for index in origins if self._kinds.of(inputs[index].op) is Kind.VARIABLE}
            if len(pure) == 1:
                origins = {index: origin for index, origin in origins.items() if index in pure}
        for index, origin in origins.items():
            edge = Edge(inputs[index], op, index)
            others = [tensor for other, tensor in enumerate(inputs) if other != index]
            if origin.stop is not None:
                if op in self._gradient_ops:
                    continue
                if rule.data_input is not None or all(self._kinds.of(t.op) is not Kind.VARIABLE for t in others):
                    self._block(edge, origin.stop)
            for variable in origin.variables:
                if rule.data_input is None and any(self._kinds.of(t.op) is Kind.VARIABLE for t in others):
                    reason = f"every input of {rule.op_type} comes from variables alone"
                    self._blocked.setdefault(variable, Unmasked(variable, op, reason))
                    continue
                self._consumers.setdefault(variable, []).append((edge, rule))
                self._ports.add(edge)

    def _block(self, edge: Edge, stop: Stop) -> None:
        op_type = self._view.nodes[edge.op].op_type
        reason = f"reaches {op_type} '{edge.op}' through {stop.text}, which no read rule covers"
        seen: Set[OpName] = set()
        stack = [stop.op]
        while stack:
            op = stack.pop()
            if op in seen:
                continue
            seen.add(op)
            if self._view.is_variable(op):
                self._blocked.setdefault(op, Unmasked(op, edge.op, reason))
            stack.extend(tensor.op for tensor in self._view.nodes[op].inputs)

    def _candidate(self, variable: OpName, effects: Effects) -> Candidate:
        shape = self._static_shape(variable)
        dtype = str(self._view.attribute(variable, "dtype"))
        if variable in self._view.local:
            raise Refusal("", "a local variable: checkpoints do not hold it")
        if self._view.saved and variable not in self._view.saved:
            raise Refusal("", "not among the graph's global variables: checkpoints do not hold it")
        if dtype not in ("float16", "bfloat16", "float32", "float64"):
            raise Refusal("", f"its type {dtype} is not a real floating-point type")
        kind = "resource" if self._view.nodes[variable].op_type == "VarHandleOp" else "ref"
        pairs = self._consumers[variable]
        readers = readers_of(self._view, effects, self._read_rules, variable, kind)
        shown = [op for op in readers.gathers if TensorRef(op).name in self._outputs]
        if shown:
            raise Refusal(shown[0], f"'{shown[0]}', which the model returns, gathers from it through its handle")
        return Candidate(
            variable=variable,
            kind=kind,
            dtype=dtype,
            shape=shape,
            trainable=variable in self._view.trainable,
            families=frozenset(rule.family for _, rule in pairs),
            requested_only=all(rule.on_request for _, rule in pairs),
            consumers=self._with_direction(pairs),
            readers=readers,
            existing=self._masks_of.get(variable),
        )

    def _static_shape(self, variable: OpName) -> Tuple[int, ...]:
        shape = self._view.attribute(variable, "shape")
        if shape is None or any(size is None for size in shape):
            raise Refusal("", "its shape is not known when the graph is built")
        if 0 in shape:
            raise Refusal("", "it has no entries")
        return tuple(shape)

    def _with_direction(self, pairs: List[Tuple[Edge, WeightRule]]) -> Tuple[Consumer, ...]:
        """Marks backward consumers: made after a forward one, and sharing ``dy`` with its weight's gradient op."""
        backward = {edge for edge, _ in pairs if edge.op in self._gradient_ops}
        for forward, rule in pairs:
            for other, _ in pairs:
                if other not in backward and forward not in backward and self._is_adjoint(forward, rule, other):
                    backward.add(other)
        nodes = self._view.nodes
        return tuple(Consumer(edge.op, nodes[edge.op].op_type, edge.port, edge in backward) for edge, _ in pairs)

    def _is_adjoint(self, forward: Edge, rule: WeightRule, other: Edge) -> bool:
        adjoint, nodes = rule.adjoint, self._view.nodes
        first, second = nodes[forward.op], nodes[other.op]
        if adjoint is None or second.op_type != adjoint.data_op or second.order <= first.order:
            return False
        data = first.inputs[rule.data_input if rule.data_input is not None else 1 - forward.port]
        grad_input = adjoint.data_op_grad_input
        grad = second.inputs[grad_input if grad_input is not None else 1 - other.port]
        for edge in self._view.edges_from(grad.op, grad.output):
            node = nodes[edge.op]
            if node.op_type != adjoint.weight_op or edge.op in (forward.op, other.op):
                continue
            if {node.inputs[index] for index in adjoint.weight_op_inputs} == {data, grad}:
                return True
        return False

    def _why_not(self, variable: OpName) -> Unmasked:
        shape = self._view.attribute(variable, "shape")
        if shape is not None and len(shape) < 2:
            return Unmasked(variable, "", "a bias or scale: it has fewer than two axes")
        for edge in _value_edges(self._view, variable):
            op_type = self._view.nodes[edge.op].op_type
            if not ignores_value(op_type):
                return Unmasked(variable, edge.op, f"no rule masks what {op_type} '{edge.op}' reads")
        return Unmasked(variable, "", "nothing in this graph reads it")


def _descendants(view: GraphView, ops: Iterable[OpName]) -> FrozenSet[OpName]:
    """Returns the ops and everything computed from them."""
    seen: Set[OpName] = set()
    stack = list(ops)
    while stack:
        op = stack.pop()
        if op not in seen:
            seen.add(op)
            stack.extend(edge.op for edge in view.edges_from(op))
    return frozenset(seen)


def _ancestors(view: GraphView, tensors: Iterable[str]) -> FrozenSet[OpName]:
    """Returns the ops that tensors, given by name, are computed from."""
    seen: Set[OpName] = set()
    stack = [name.partition(":")[0] for name in tensors]
    while stack:
        op = stack.pop()
        if op not in seen:
            seen.add(op)
            stack.extend(tensor.op for tensor in view.nodes[op].inputs)
    return frozenset(seen)


def _value_edges(view: GraphView, variable: OpName) -> List[Edge]:
    """Returns the edges that leave a variable, looking through its plain reads."""
    edges: List[Edge] = []
    for edge in view.edges_from(variable):
        through = view.nodes[edge.op].op_type in ("Identity", "ReadVariableOp")
        edges.extend(view.edges_from(edge.op) if through else [edge])
    return edges
