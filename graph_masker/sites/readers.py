"""Sorts every reader of one variable: those that move to the masked weight, and those that keep the raw value."""

from typing import Callable, Dict, FrozenSet, List, NamedTuple, Tuple

from graph_masker.sites.effects import MODEL, Effect, Effects, ignores_value
from graph_masker.view import Edge, GraphView, OpName, TensorRef
from rewriters import ReadRule

_HANDLE_READS = frozenset({"ReadVariableOp"})
# By which a handle gets to what reads it.
HANDLE_CARRIERS = frozenset({"Enter", "Switch", "Identity"})
_REF_CARRIERS = frozenset({"RefEnter", "RefSwitch", "RefIdentity"})
_CONTROL_FLOW = frozenset({"Enter", "Switch", "RefEnter", "RefSwitch"})
_GATHERS = frozenset({"ResourceGather", "ResourceGatherNd"})


class Read(NamedTuple):
    """A tensor that carries a variable's raw value, and the inputs to move to the masked weight.

    `shared` reads see the variable at no particular moment, so that one product serves them all. A read with
    control inputs, or inside a loop or cond, keeps its own.
    """

    tensor: str
    shared: bool
    reroutes: Tuple[Tuple[OpName, int], ...]


class Copy(NamedTuple):
    """An op that feeds both the model and a regularizer: a copy of it will read the raw value.

    `moves` are the inputs to move to the copy. An op comes after those that it reads.
    """

    op: OpName
    moves: Tuple[Tuple[OpName, int], ...]

    @property
    def name(self) -> OpName:
        """Name of the copy."""
        return f"{self.op}/raw"


class Readers(NamedTuple):
    """All readers of one variable.

    Attributes:
        reads: see `Read`.
        copies: see `Copy`.
        gathers: ops that gather rows through a resource variable's handle, to be replaced by gathers of the product.
        raw: ops that keep the raw value.
    """

    reads: Tuple[Read, ...]
    copies: Tuple[Copy, ...]
    gathers: Tuple[OpName, ...]
    raw: Tuple[OpName, ...]


class Refusal(Exception):
    """Why a variable that has consumers cannot be a site."""

    def __init__(self, op: OpName, reason: str) -> None:
        super().__init__(reason)
        self.op = op
        self.reason = reason


def readers_of(
    view: GraphView,
    effects: Effects,
    read_rules: Dict[str, ReadRule],
    variable: OpName,
    kind: str,
    keeps_handle: Callable[[Edge], bool],
) -> Readers:
    """Sorts the readers of a variable.

    Args:
        view: the graph.
        effects: where each edge leads.
        read_rules: by op type.
        variable: op name.
        kind: ``ref``, ``resource`` or, in a frozen graph, ``constant``.
        keeps_handle: tells of an edge that carries the handle whether the op may have it.

    Raises:
        Refusal: a reader can neither move nor stay raw.
    """
    sorter = _Sorter(view, effects, read_rules, keeps_handle)
    sorter.from_variable(TensorRef(variable), kind == "resource", inside=False)
    return sorter.result()


class _Sorter:
    def __init__(
        self,
        view: GraphView,
        effects: Effects,
        read_rules: Dict[str, ReadRule],
        keeps_handle: Callable[[Edge], bool],
    ) -> None:
        self._view = view
        self._effects = effects
        self._keeps_handle = keeps_handle
        self._aliases = {rule.op_type for rule in read_rules.values() if rule.alias}
        self._reads: Dict[TensorRef, Tuple[bool, List[Tuple[OpName, int]]]] = {}
        self._copies: Dict[OpName, List[Tuple[OpName, int]]] = {}
        self._gathers: List[OpName] = []
        self._raw: List[OpName] = []

    def result(self) -> Readers:
        reads = (Read(tensor.name, shared, tuple(edges)) for tensor, (shared, edges) in self._reads.items() if edges)
        order = sorted(self._copies, key=lambda op: self._view.nodes[op].order)
        copies = tuple(Copy(op, tuple(self._copies[op])) for op in order)
        return Readers(tuple(reads), copies, tuple(self._gathers), tuple(self._raw))

    def from_variable(self, carrier: TensorRef, is_handle: bool, inside: bool) -> None:
        """Follows a variable's handle or buffer to the ops that read its value."""
        for edge in self._view.edges_from(carrier.op, carrier.output):
            node = self._view.nodes[edge.op]
            if node.op_type in (HANDLE_CARRIERS if is_handle else _REF_CARRIERS):
                for output in {edge.tensor for edge in self._view.edges_from(edge.op)}:
                    self.from_variable(output, is_handle, inside or node.op_type in _CONTROL_FLOW)
            elif node.op_type in _HANDLE_READS or (node.op_type == "Identity" and not is_handle):
                self._from_value(TensorRef(edge.op), not inside and not self._view.is_controlled(edge.op))
            elif not is_handle:
                self._sort(edge, carrier, not inside)
            elif node.op_type in _GATHERS:
                if self._view.edges_from(edge.op):
                    self._gathers.append(edge.op)
            elif ignores_value(node.op_type):
                self._raw.append(edge.op)
            elif self._keeps_handle(edge):
                continue
            elif self._view.calls(edge.op):
                raise Refusal(
                    edge.op, f"the function body that {node.op_type} '{edge.op}' runs reads it through its handle"
                )
            else:
                raise Refusal(
                    edge.op, f"{node.op_type} '{edge.op}' takes the variable's handle and would bypass the mask"
                )

    def _from_value(self, read: TensorRef, shared: bool) -> None:
        for edge in self._view.edges_from(read.op, read.output):
            self._sort(edge, read, shared)

    def _sort(self, edge: Edge, read: TensorRef, shared: bool) -> None:
        if edge.op in self._view.masks:
            return
        if self._is_looked_through(edge.op):
            self._from_value(TensorRef(edge.op), shared)
            return
        found = self._of_pushed(edge) if self._is_push(edge.op) else self._effects.of(edge)
        if not found & MODEL and not self._is_custom_gradient(edge.op):
            self._raw.append(edge.op)
        elif Effect.PENALTY in found and self._is_alias(edge.op):
            self._from_value(TensorRef(edge.op), shared)
        else:
            if Effect.PENALTY in found:
                self._copy(edge.op)
            self._reads.setdefault(read, (shared, []))[1].append((edge.op, edge.port))

    def _is_push(self, op: OpName) -> bool:
        return self._view.nodes[op].op_type == "StackPushV2"

    def _of_pushed(self, edge: Edge) -> FrozenSet[Effect]:
        """What a loop keeps for its gradient goes where the value goes in the loop."""
        siblings = self._view.edges_from(edge.tensor.op, edge.tensor.output)
        effects = [self._effects.of(other) for other in siblings if not self._is_push(other.op)]
        found = frozenset(effect for one in effects for effect in one)
        if Effect.PENALTY in found and found & MODEL:
            raise Refusal(edge.op, f"the gradients of a layer and of a regularizer in a loop share '{edge.op}'")
        return found

    def _is_custom_gradient(self, op: OpName) -> bool:
        """Tells whether a gradient that the model itself defines (tf.custom_gradient) computes with the weight."""
        scope, found, _ = op.partition("_grad/")
        source = self._view.op_ending(scope) if found else None
        is_custom = source is not None and self._view.nodes[source].op_type == "IdentityN"
        return is_custom and self._effects.is_gradient(op)

    def _is_alias(self, op: OpName) -> bool:
        return self._view.nodes[op].op_type in self._aliases

    def _is_looked_through(self, op: OpName) -> bool:
        """What TensorFlow takes for the variable's value, an Identity where that is cached, stays the raw value."""
        return op in self._view.values and self._is_alias(op) and not self._effects.is_output(op)

    def _copy(self, op: OpName) -> None:
        """Plans a copy of an op that feeds both kinds, and of those after it that do."""
        if op in self._copies:
            return
        moves = self._copies[op] = []
        for edge in self._view.edges_from(op):
            found = self._effects.of(edge)
            if not found & MODEL:
                moves.append((edge.op, edge.port))
            elif Effect.PENALTY in found:
                self._copy(edge.op)
