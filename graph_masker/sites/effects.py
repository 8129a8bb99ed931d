"""What an op does with a value it reads: writes it to a variable, reports it, or computes with it.

The lists name op types, never op names. They decide which readers of a weight stay on the raw value.
"""

import enum
from typing import Dict, FrozenSet, Iterable, List, Mapping, Optional, Set, Tuple

from graph_masker.view import Edge, GraphView, OpName, TensorRef, variable_behind
from rewriters import WeightRule

_WRITE_PREFIXES = ("Assign", "Apply", "SparseApply", "ResourceApply", "ResourceSparseApply", "ResourceScatter")
_REF_SCATTERS = frozenset(
    {"Scatter" + kind for kind in ("Update", "Add", "Sub", "Mul", "Div", "Min", "Max")}
    | {"ScatterNd" + kind for kind in ("Update", "Add", "Sub")}
)
_REPORTS = frozenset(
    {"SaveV2", "Save", "SaveSlices", "PrintV2", "Assert", "NoOp", "IsVariableInitialized"}
    | {"VarIsInitializedOp", "DestroyResourceOp", "StringFormat", "WriteSummary", "ControlTrigger"}
)
# Their results depend on the shape alone.
_SHAPE_ONLY = frozenset({"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike", "VariableShape"})
# A regularizer's scalar joins the loss through one of these.
_ADDITIVE = frozenset({"Add", "AddV2", "AddN", "Pack", "AccumulateNV2"})
_GATHERS = frozenset({"Gather", "GatherV2", "GatherNd", "ResourceGather", "ResourceGatherNd"})
# Where ops that make a value say of which type it is.
_TYPES = {"Const": "dtype", "Cast": "DstT"}
_RANDOM = frozenset({"Multinomial", "TruncatedNormal", "ParameterizedTruncatedNormal", "PyFunc", "EagerPyFunc"})


class Kind(enum.IntEnum):
    """What a value is computed from. The larger wins where inputs differ."""

    CONSTANT = 0
    VARIABLE = 1
    DATA = 2


class Effect(enum.Enum):
    """Where a reader of a weight leads: to the model's computation, to a regularizer, or to neither.

    STATE is the model's computation, too, and no way for gradients: through a variable that holds a statistic of the
    weight, such as the range between which it is quantized.
    """

    DATA = "data"
    STATE = "state"
    PENALTY = "penalty"
    RAW = "raw"


# Ops that are looked through from a weight to the variable that starts from it.
_FEW = 100
# What a mask is to show in.
MODEL = frozenset({Effect.DATA, Effect.STATE})


def is_write(op_type: str) -> bool:
    """Tells whether an op type stores into a variable."""
    return op_type.startswith(_WRITE_PREFIXES) or op_type in _REF_SCATTERS


def ignores_value(op_type: str) -> bool:
    """Tells whether nothing computed depends on the values that an op of this type reads."""
    return is_write(op_type) or op_type in _REPORTS | _SHAPE_ONLY or op_type.endswith(("Summary", "SummaryV2"))


def ends_cond(view: GraphView, merge: OpName) -> bool:
    """Tells whether a Merge is a cond's, and not that with which a loop begins."""
    sources = {view.nodes[tensor.op].op_type for tensor in view.nodes[merge].inputs}
    # Before a loop is complete, both inputs of its Merge are Enters.
    return not sources & {"Enter", "RefEnter", "NextIteration"}


class Kinds:
    """Memo of what each op's outputs are computed from: constants, variables alone, or data."""

    def __init__(
        self, view: GraphView, rules: Iterable[WeightRule], given: Optional[Mapping[OpName, Kind]] = None
    ) -> None:
        """Args: the graph, the rules of consumers, and the kinds of a function's arguments."""
        self._view = view
        self._rules = {rule.op_type: rule for rule in rules}
        self._known: Dict[OpName, Kind] = dict(given or {})
        self._feeding: Dict[OpName, bool] = {}

    def feeds(self, op: OpName) -> bool:
        """Tells whether what an op gives to a layer is the layer's data.

        It is also where it comes of variables, and of numbers that the graph holds as a constant: data that some of the
        variables normalize or scale, or a table of which constant rows are taken.
        """
        if self.of(op) is not Kind.VARIABLE:
            return True
        if op not in self._feeding:
            self._feeding[op] = self._has_numbers(op)
        return self._feeding[op]

    def _has_numbers(self, op: OpName) -> bool:
        seen, stack = {op}, [op]
        while stack:
            current = stack.pop()
            if self._view.is_variable(current):
                continue
            kinds = {tensor: self.of(tensor.op) for tensor in self._value_inputs(current)}
            variables = [tensor for tensor, kind in kinds.items() if kind is Kind.VARIABLE]
            if self._is_larger(current, variables) and any(
                kind is Kind.CONSTANT and self._is_array(tensor) and self._is_meant(current, tensor)
                for tensor, kind in kinds.items()
            ):
                return True
            waiting = {tensor.op for tensor in variables} - seen
            seen |= waiting
            stack.extend(waiting)
        return False

    def _is_larger(self, op: OpName, variables: Iterable[TensorRef]) -> bool:
        """Tells whether a value has another shape than all that it comes of: else it is one of these, and changed."""
        shape = self._view.shape(TensorRef(op))
        return shape is not None and all(self._view.shape(tensor) not in (None, shape) for tensor in variables)

    def _is_array(self, tensor: TensorRef) -> bool:
        """Tells whether a tensor is known to have several entries."""
        shape = self._view.shape(tensor)
        return shape is not None and any(size > 1 for size in shape) and 0 not in shape

    def _is_meant(self, op: OpName, constant: TensorRef) -> bool:
        """Tells whether a constant is real numbers, or the places that are looked up: no shape and no axes."""
        node, source = self._view.nodes[op], constant.op
        if node.op_type in _GATHERS:
            return constant == node.inputs[1]
        while self._view.nodes[source].op_type not in _TYPES and self._view.nodes[source].inputs:
            source = self._view.nodes[source].inputs[0].op
        key = _TYPES.get(self._view.nodes[source].op_type)
        return key is not None and "float" in self._view.attribute(source, key)

    def of(self, op: OpName) -> Kind:
        """Returns the kind of an op's outputs. Noise and everything inside a loop count as data."""
        stack: List[OpName] = [op]
        while stack:
            current = stack[-1]
            if current in self._known:
                stack.pop()
                continue
            source = self._source(current)
            if source is not None:
                self._known[current] = source
                continue
            inputs = self._value_inputs(current)
            found = [self._known.get(tensor.op) for tensor in inputs]
            if Kind.DATA in found:
                self._known[current] = Kind.DATA
                continue
            unknown = [tensor.op for tensor, kind in zip(inputs, found) if kind is None]
            if unknown:
                stack.append(unknown[-1])
            else:
                self._known[current] = self._joined(current, [kind for kind in found if kind is not None])
        return self._known[op]

    def _value_inputs(self, op: OpName) -> Tuple[TensorRef, ...]:
        """The inputs that make an op's value: what decides whether it runs does not."""
        node = self._view.nodes[op]
        return node.inputs[:1] if node.op_type in ("Switch", "RefSwitch") else node.inputs

    def _joined(self, op: OpName, inputs: List[Kind]) -> Kind:
        """A layer's activations are data, also where the model is fed a constant."""
        rule = self._rules.get(self._view.nodes[op].op_type)
        if rule is None:
            return max(inputs)
        if rule.data_input is not None:
            return Kind.DATA
        return Kind.DATA if any(self.feeds(tensor.op) for tensor in self._view.nodes[op].inputs) else max(inputs)

    def _source(self, op: OpName) -> Optional[Kind]:
        node = self._view.nodes[op]
        if self._view.is_variable(op):
            return Kind.VARIABLE
        if node.op_type == "Const":
            return Kind.CONSTANT
        if node.op_type in _SHAPE_ONLY and any(self._view.is_variable(t.op) for t in node.inputs):
            return Kind.CONSTANT
        is_source = not node.inputs or (node.op_type == "Merge" and not ends_cond(self._view, op))
        if is_source or node.op_type in _RANDOM or node.op_type.startswith("Random"):
            return Kind.DATA
        return None


class Effects:
    """Decides, edge by edge, whether a reader of a weight leads to the model's computation.

    A reader keeps the raw value where everything it leads to is a write to a variable, a report (summary, save),
    the optimizer's computation, or a regularizer: a value in the regularization-losses collection, or a scalar
    computed from variables alone that is added to something computed from data.
    """

    def __init__(
        self,
        view: GraphView,
        kinds: Kinds,
        weight_ports: Set[Edge],
        outputs: FrozenSet[str],
        penalties: FrozenSet[str],
        optimizer: FrozenSet[OpName],
        gradient_ops: FrozenSet[OpName],
    ) -> None:
        self._view = view
        self._gradient_ops = gradient_ops
        self._kinds = kinds
        self._weight_ports = weight_ports
        self._outputs = outputs
        self._penalties = view.regularization | penalties
        self._optimizer = optimizer
        self._known: Dict[OpName, FrozenSet[Effect]] = {}
        # By variable: whether the model computes with it.
        self._read: Dict[OpName, bool] = {}

    def of(self, edge: Edge) -> FrozenSet[Effect]:
        """Returns the effects of one edge that carries a weight's value. Empty: it ends nowhere."""
        node = self._view.nodes[edge.op]
        if edge in self._weight_ports:
            return frozenset({Effect.DATA})
        if self._updates_statistic(edge):
            return frozenset({Effect.STATE})
        if self._only_initializes(edge):
            return frozenset({Effect.RAW})
        if ignores_value(node.op_type) or edge.op in self._view.masks or edge.op in self._optimizer:
            return frozenset({Effect.RAW})
        if self._kinds.of(edge.op) is Kind.DATA and not self._carries_on(edge):
            joins_loss = node.op_type in _ADDITIVE and self._view.is_scalar(edge.tensor)
            return frozenset({Effect.PENALTY if joins_loss else Effect.DATA})
        return self._of_op(edge.op)

    def is_gradient(self, op: OpName) -> bool:
        """Tells whether autodiff made an op."""
        return op in self._gradient_ops

    def is_output(self, op: OpName) -> bool:
        """Tells whether the model returns what an op computes."""
        tensors = {TensorRef(op).name} | {edge.tensor.name for edge in self._view.edges_from(op)}
        return bool(tensors & self._outputs)

    def _updates_statistic(self, edge: Edge) -> bool:
        """Tells whether an edge writes a vector or scalar into a variable that the model computes with.

        What has the weight's own shape, such as its average, is the weight again, and follows the raw one.
        """
        if edge.port == 0 or not is_write(self._view.nodes[edge.op].op_type) or edge.op in self._optimizer:
            return False
        shape = self._view.shape(edge.tensor)
        target = variable_behind(self._view.nodes, self._view.nodes[edge.op].inputs[0].op)
        if shape is None or len(shape) > 1 or not self._view.is_variable(target):
            return False
        if self._is_initializer(edge):
            return False
        if target not in self._read:
            self._read[target] = self._is_read(target)
        return self._read[target]

    def _only_initializes(self, edge: Edge) -> bool:
        """Tells whether all that comes of `Variable.initialized_value`, a cond, is what other variables start from.

        There is no mask yet when they do.
        """
        nodes = self._view.nodes
        if nodes[edge.tensor.op].op_type != "Merge":
            return False
        seen, waiting = {edge.op}, [edge]
        while waiting:
            current = waiting.pop()
            if current in self._weight_ports or self.is_output(current.op) or len(seen) > _FEW:
                return False
            if is_write(nodes[current.op].op_type):
                if not self._is_initializer(current):
                    return False
                continue
            for following in self._view.edges_from(current.op):
                if following.op not in seen:
                    seen.add(following.op)
                    waiting.append(following)
        return True

    def _is_initializer(self, edge: Edge) -> bool:
        node = self._view.nodes[edge.op]
        return edge.port == 1 and edge.op == f"{variable_behind(self._view.nodes, node.inputs[0].op)}/Assign"

    def _is_read(self, variable: OpName) -> bool:
        """Tells whether the model computes with a variable; what a reference variable is assigned counts as it."""
        seen, waiting = {variable}, [variable]
        while waiting:
            for edge in self._view.edges_from(waiting.pop()):
                op_type = self._view.nodes[edge.op].op_type
                if edge in self._weight_ports:
                    return True
                is_carried = edge.port == 0 and is_write(op_type)
                if edge.op in self._optimizer or (ignores_value(op_type) and not is_carried):
                    continue
                if self._kinds.of(edge.op) is Kind.DATA and not (is_carried or self._carries_on(edge)):
                    return True
                if edge.op not in seen:
                    seen.add(edge.op)
                    waiting.append(edge.op)
        return False

    def _carries_on(self, edge: Edge) -> bool:
        """Tells whether an op hands the value on as it is, whatever else decides that it runs.

        A cond's Merge does: `Variable.initialized_value`, from which moving averages start, is such a cond. A
        loop's Merge does not; following it would not end.
        """
        op_type = self._view.nodes[edge.op].op_type
        if op_type == "Merge":
            return ends_cond(self._view, edge.op)
        return edge.port == 0 and op_type in ("Switch", "RefSwitch", "Enter", "Identity")

    def _of_op(self, op: OpName) -> FrozenSet[Effect]:
        if op not in self._known:
            edges = self._view.edges_from(op)
            outputs = {TensorRef(op).name} | {edge.tensor.name for edge in edges}
            if outputs & self._outputs:
                found = frozenset({Effect.DATA})
            elif outputs & self._penalties:
                found = frozenset({Effect.PENALTY})
            else:
                found = frozenset(effect for edge in edges for effect in self.of(edge))
            self._known[op] = found
        return self._known[op]
