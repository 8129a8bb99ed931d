"""Finds the variables whose values reach the weight input of a consumer, and every edge that reads them.

    variable -> read (Identity, ReadVariableOp) -> [Cast, Enter, Transpose, ...] -> weight input of Conv2D, MatMul, ...
                  \\-> regularizer, summary, save, assign: raw readers, which keep the unmasked value

Pure: it reads a `GraphView` and returns data. Names of masks and the choice what to mask are the plan's.
"""

from dataclasses import dataclass
from typing import Callable, Dict, FrozenSet, Iterable, List, NamedTuple, Optional, Set, Tuple

from graph_masker.sites.adjoints import Matches, match_consumers
from graph_masker.sites.axes import Axes, output_axes
from graph_masker.sites.effects import Effects, Kind, Kinds, ignores_value
from graph_masker.sites.functions import Functions, weight_inputs
from graph_masker.sites.gradients import GradientSum, Unmatched, gradient_sums
from graph_masker.sites.origins import Origin, Origins, Stop
from graph_masker.sites.readers import HANDLE_CARRIERS, Readers, Refusal, readers_of
from graph_masker.view import FROZEN_WEIGHT, Edge, GraphView, MaskRecord, OpName, TensorRef
from rewriters import ReadRule, Rule, WeightRule

_STORAGE = {"VarHandleOp": "resource", FROZEN_WEIGHT: "constant"}


class Consumer(NamedTuple):
    """An op that reads the weight at input `port`; `backward` where autodiff made it.

    `inside`: the op is a call, and what consumes the weight, of type `op_type`, is in its body.
    """

    op: OpName
    op_type: str
    port: int
    backward: bool
    inside: bool = False


class Unmasked(NamedTuple):
    """A variable that stays dense, an op concerned (may be empty), and why."""

    variable: OpName
    op: OpName
    reason: str


@dataclass(frozen=True)
class Candidate:
    """A variable that at least one consumer reads as its weight.

    Attributes:
        consumers: ops that read it as a weight, autodiff's included.
        readers: all its readers, sorted.
        existing: the mask that the graph holds already.
        gradients: those that the graph holds already and that no mask is applied to.
        unmatched: why its gradients cannot be masked.
        output_axes: finds the axes, counted from the end, that make the consumers' output; None where that is not
            known. A function, because only structured pruning asks.
    """

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
    gradients: Tuple[GradientSum, ...]
    unmatched: Optional[Unmasked]
    output_axes: Callable[[], Optional[Axes]]


class Findings(NamedTuple):
    """Candidates and what cannot be one, each in order of the variables' creation."""

    candidates: Tuple[Candidate, ...]
    unmasked: Tuple[Unmasked, ...]


def find_sites(
    view: GraphView,
    rules: Iterable[Rule],
    outputs: Iterable[str] = (),
    losses: Iterable[str] = (),
    gradient_ops: Optional[Iterable[OpName]] = None,
) -> Findings:
    """Finds all weights of a graph.

    Args:
        view: the graph.
        rules: what is known of op types; see `rewriters.DEFAULT_RULES`.
        outputs: names of tensors that the model returns; a value computed from a weight alone counts as the
            model's only if it is among them.
        losses: names of tensors that it minimizes. One that is computed from weights alone is a regularizer.
        gradient_ops: all ops that autodiff made, where it was watched; None where the graph is to tell. What is
            computed from them is the optimizer's, and reads the raw weight.
    """
    known = None if gradient_ops is None else frozenset(gradient_ops)
    return _Finder(view, rules, frozenset(outputs), frozenset(losses), known).run()


class _Finder:
    def __init__(
        self,
        view: GraphView,
        rules: Iterable[Rule],
        outputs: FrozenSet[str],
        losses: FrozenSet[str],
        known: Optional[FrozenSet[OpName]],
    ) -> None:
        rules = tuple(rules)
        self._view = view
        self._weight_rules = {rule.op_type: rule for rule in rules if isinstance(rule, WeightRule)}
        self._read_rules = {rule.op_type: rule for rule in rules if isinstance(rule, ReadRule)}
        self._kinds = Kinds(view, self._weight_rules.values())
        self._masks_of = {record.variable: record for record in view.masks.values()}
        self._mask_state = view.mask_state()
        self._origins = Origins(view, self._read_rules.values(), self._kinds, self._mask_state)
        masks = {variable: record.mask for variable, record in self._masks_of.items()}
        self._functions = Functions(view, self._weight_rules, self._read_rules, self._kinds, self._origins, masks)
        self._consumers: Dict[OpName, List[Tuple[Edge, WeightRule]]] = {}
        self._blocked: Dict[OpName, Unmasked] = {}
        self._ports: Set[Edge] = set()
        self._matches: Optional[Matches] = None
        penalties = {name for name in losses if self._kinds.of(name.partition(":")[0]) is not Kind.DATA}
        self._penalties = frozenset(penalties - outputs)
        self._outputs = outputs | (losses - penalties)
        self._known_gradients = known
        self._gradient_ops: FrozenSet[OpName] = known or frozenset()

    def run(self) -> Findings:
        nodes = self._view.nodes
        reading = {*self._view.ops_of(self._weight_rules), *self._view.ops_with_calls()}
        for name in sorted(reading, key=lambda name: nodes[name].order):
            rule = self._weight_rules.get(nodes[name].op_type)
            if rule is not None:
                self._add_consumer(name, rule)
            else:
                self._add_call(name)
        output_ops = self._output_ops()
        if self._known_gradients is None:
            self._gradient_ops = self._matched().backward
        # What an output is computed from is the model's, also where gradients go into it (MAML's fast weights).
        model = self._view.ancestors(output_ops) - self._gradient_ops
        optimizer = self._view.descendants(self._gradient_ops) - model
        effects = Effects(
            self._view, self._kinds, self._ports, self._outputs, self._penalties, optimizer, self._gradient_ops
        )
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

    def _output_ops(self) -> List[OpName]:
        return [name.partition(":")[0] for name in self._outputs]

    def _matched(self) -> Matches:
        """Matches consumers and gradients when that is first asked for: a masked graph seldom needs it again."""
        if self._matches is None:
            if self._known_gradients is not None and not self._known_gradients:
                self._matches = Matches({}, frozenset(), {}, {}, {})
            else:
                self._matches = match_consumers(self._view, self._consumers, self._output_ops(), self._known_gradients)
        return self._matches

    def _is_consumed(self, variable: OpName) -> bool:
        """Tells whether an op of the model, not only autodiff, consumes a variable."""
        return any(edge.op not in self._gradient_ops for edge, _ in self._consumers.get(variable, []))

    def _add_consumer(self, op: OpName, rule: WeightRule) -> None:
        inputs = self._view.nodes[op].inputs
        taken = weight_inputs(self._view, self._kinds, self._origins, op, rule)
        for edge, variables in taken:
            self._ports.add(edge)
            for variable in variables:
                self._consumers.setdefault(variable, []).append((edge, rule))
        if taken:
            return
        for index in rule.weight_inputs:
            origin = self._origins.of(inputs[index]) if index < len(inputs) else Origin()
            others = [tensor for other, tensor in enumerate(inputs) if other != index]
            is_alone = rule.data_input is None and not all(self._kinds.feeds(t.op) for t in others)
            if origin.stop is not None and op not in self._gradient_ops and not is_alone:
                self._block(Edge(inputs[index], op, index), origin.stop)
            for variable in origin.variables:
                reason = f"every input of {rule.op_type} comes from variables alone"
                self._blocked.setdefault(variable, Unmasked(variable, op, reason))

    def _add_call(self, op: OpName) -> None:
        """Adds what the body of a call op consumes."""
        for edge, variable, rule in self._functions.consumptions(op):
            self._consumers.setdefault(variable, []).append((edge, rule))
            if not self._view.is_variable(edge.tensor.op):
                self._ports.add(edge)

    def _block(self, edge: Edge, stop: Stop) -> None:
        op_type = self._view.nodes[edge.op].op_type
        reason = f"reaches {op_type} '{edge.op}' through {stop.text}, which no read rule covers"
        for op in self._view.ancestors([stop.op]):
            if self._view.is_variable(op):
                self._blocked.setdefault(op, Unmasked(op, edge.op, reason))

    def _candidate(self, variable: OpName, effects: Effects) -> Candidate:
        shape = self._static_shape(variable)
        dtype = str(self._view.attribute(variable, "dtype"))
        if variable in self._view.local:
            raise Refusal("", "a local variable: checkpoints do not hold it")
        if self._view.saved and variable not in self._view.saved:
            raise Refusal("", "not among the graph's global variables: checkpoints do not hold it")
        if dtype not in ("float16", "bfloat16", "float32", "float64"):
            raise Refusal("", f"its type {dtype} is not a real floating-point type")
        kind = _STORAGE.get(self._view.nodes[variable].op_type, "ref")
        pairs = self._consumers[variable]
        for edge, rule in pairs:
            if self._view.nodes[edge.op].op_type == rule.op_type and _takes_handle(self._view, edge):
                raise Refusal(edge.op, f"{rule.op_type} '{edge.op}' takes its handle, and a mask needs its value")
        readers = readers_of(self._view, effects, self._read_rules, variable, kind, self._keeps_handle)
        shown = [op for op in readers.gathers if TensorRef(op).name in self._outputs]
        if shown:
            raise Refusal(shown[0], f"'{shown[0]}', which the model returns, gathers from it through its handle")
        gradients: Tuple[GradientSum, ...] = ()
        unmatched: Optional[Unmasked] = None
        try:
            gradients = self._gradients(variable, readers, effects)
        except Unmatched as error:
            if self._view.nodes[error.op].op_type == "Merge":
                reason = f"it passes Merge '{error.op}', where a cond ends, and the graph holds its gradients already"
                raise Refusal(error.op, reason) from error
            unmatched = Unmasked(variable, error.op, error.reason)
        return Candidate(
            variable=variable,
            kind=kind,
            dtype=dtype,
            shape=shape,
            trainable=variable in self._view.trainable,
            families=frozenset(rule.family for _, rule in pairs),
            requested_only=all(rule.on_request for _, rule in pairs),
            consumers=tuple(self._as_consumer(edge, rule) for edge, rule in pairs),
            readers=readers,
            gradients=gradients,
            unmatched=unmatched,
            existing=self._masks_of.get(variable),
            output_axes=lambda: output_axes(self._view, variable, self._forward(variable), self._read_rules),
        )

    def _forward(self, variable: OpName) -> List[Tuple[Edge, WeightRule]]:
        return [pair for pair in self._consumers[variable] if pair[0].op not in self._gradient_ops]

    def _gradients(self, variable: OpName, readers: Readers, effects: Effects) -> Tuple[GradientSum, ...]:
        """Returns the gradients of the readers that are about to move."""
        if not readers.reads and not readers.gathers:
            return ()
        is_new = variable not in self._masks_of
        return gradient_sums(
            self._view,
            self._matched(),
            frozenset(self._ports),
            self._read_rules,
            effects,
            self._kinds,
            variable,
            is_expected=is_new and self._known_gradients is None,
            made_by_autodiff=self._gradient_ops if is_new and self._known_gradients is not None else frozenset(),
        )

    def _as_consumer(self, edge: Edge, rule: WeightRule) -> Consumer:
        is_inside = self._view.nodes[edge.op].op_type != rule.op_type
        return Consumer(edge.op, rule.op_type, edge.port, edge.op in self._gradient_ops, is_inside)

    def _keeps_handle(self, edge: Edge) -> bool:
        """Tells whether a call op may have a weight's handle: one of autodiff's, or one that masks what it reads."""
        if not self._view.calls(edge.op):
            return False
        return edge.op in self._gradient_ops or self._functions.is_masked_inside(edge.op, edge.port)

    def _static_shape(self, variable: OpName) -> Tuple[int, ...]:
        shape = self._view.attribute(variable, "shape")
        if shape is None or any(size is None for size in shape):
            raise Refusal("", "its shape is not known when the graph is built")
        if 0 in shape:
            raise Refusal("", "it has no entries")
        return tuple(shape)

    def _why_not(self, variable: OpName) -> Unmasked:
        shape = self._view.attribute(variable, "shape")
        if shape is not None and len(shape) < 2:
            return Unmasked(variable, "", "a bias or scale: it has fewer than two axes")
        for edge in _value_edges(self._view, variable):
            op_type = self._view.nodes[edge.op].op_type
            if not ignores_value(op_type):
                return Unmasked(variable, edge.op, f"no rule masks what {op_type} '{edge.op}' reads")
        return Unmasked(variable, "", "nothing in this graph reads it")


def _takes_handle(view: GraphView, edge: Edge) -> bool:
    """Tells whether an op gets a resource variable itself, and reads it in whatever way it likes."""
    op = edge.tensor.op
    while view.nodes[op].op_type in HANDLE_CARRIERS:
        op = view.nodes[op].inputs[0].op
    return view.nodes[op].op_type == "VarHandleOp"


def _value_edges(view: GraphView, variable: OpName) -> List[Edge]:
    """Returns the edges that leave a variable, looking through its plain reads."""
    edges: List[Edge] = []
    for edge in view.edges_from(variable):
        through = view.nodes[edge.op].op_type in ("Identity", "ReadVariableOp")
        edges.extend(view.edges_from(edge.op) if through else [edge])
    return edges
