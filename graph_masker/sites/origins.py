"""Follows a consumer's weight input back, op by op, to the variables that it comes from."""

from typing import Dict, FrozenSet, Iterable, List, NamedTuple, Optional, Tuple

from graph_masker.sites.effects import Kind, Kinds
from graph_masker.view import GraphView, OpName, TensorRef
from rewriters import ReadRule

# A chain of reads this long is no weight's way to its consumer.
_DEEPEST = 200


class Stop(NamedTuple):
    """An op at which the way back ends though its value is made of variables."""

    op: OpName
    text: str


class Origin(NamedTuple):
    """Where a tensor comes from: variables, or an op that no rule covers, or neither, where it is data."""

    variables: Tuple[OpName, ...] = ()
    stop: Optional[Stop] = None


class Origins:
    """Memo of where tensors come from."""

    def __init__(
        self,
        view: GraphView,
        rules: Iterable[ReadRule],
        kinds: Kinds,
        masks: FrozenSet[OpName],
        walls: FrozenSet[OpName] = frozenset(),
    ) -> None:
        """Args: the graph, the rules of reads, the kinds of its ops, variables that are no weights, ops not to pass."""
        self._view = view
        self._masks = masks
        self._walls = walls
        self._rules = {rule.op_type: rule for rule in rules}
        self._kinds = kinds
        self._known: Dict[TensorRef, Origin] = {}

    def of(self, tensor: TensorRef) -> Origin:
        """Returns the origin of a tensor."""
        return self._of(tensor, 0)

    def _of(self, tensor: TensorRef, depth: int) -> Origin:
        found = self._known.get(tensor)
        if found is None and depth < _DEEPEST:
            found = self._known[tensor] = self._find(tensor, depth)
        return found if found is not None else Origin()

    def _find(self, tensor: TensorRef, depth: int) -> Origin:
        op = tensor.op
        if op in self._walls:
            return Origin()
        if self._view.is_variable(op):
            return Origin() if op in self._masks else Origin((op,))
        if op in self._view.masks:
            return Origin((self._view.masks[op].variable,))
        node = self._view.nodes[op]
        rule = self._rules.get(node.op_type)
        carriers = rule.carriers(len(node.inputs), tensor.output) if rule is not None else ()
        if rule is None and self._view.calls(op):
            return self._through_calls(tensor, depth)
        if rule is None or not carriers:
            return self._end(op, f"{node.op_type} '{op}'")
        sources = [(node.inputs[index], self._of(node.inputs[index], depth + 1)) for index in carriers]
        if rule.scales:
            sources = self._scaled(sources)
            if len(sources) > 1 and sources[0][1].variables:
                return self._end(op, f"{node.op_type} '{op}', a product of several weights")
        stops = [origin.stop for _, origin in sources if origin.stop is not None]
        if stops:
            return Origin((), stops[0])
        weights = [(source, origin.variables) for source, origin in sources if origin.variables]
        if not weights:
            return Origin()
        keeps_shape = all(self._has_shape_of(tensor, source) for source, _ in weights)
        is_data = self._kinds.of(op) is Kind.DATA
        if rule.scales and not keeps_shape:
            return self._end(op, f"{node.op_type} '{op}', which makes it larger")
        if is_data and not (rule.alias or rule.control_flow or (keeps_shape and not rule.joins)):
            return Origin()
        return Origin(tuple(dict.fromkeys(name for _, variables in weights for name in variables)))

    def _through_calls(self, tensor: TensorRef, depth: int) -> Origin:
        """A function that hands on what it is given, as it is or through reads."""
        node = self._view.nodes[tensor.op]
        variables: List[OpName] = []
        for call in self._view.calls(tensor.op):
            if tensor.output >= len(call.body.outputs):
                continue
            given = {arg: self._kinds.of(node.inputs[port].op) for arg, port in zip(call.body.args, call.ports)}
            inner = Origins(call.body.view, self._rules.values(), Kinds(call.body.view, (), given), frozenset())
            for arg in inner.of(call.body.outputs[tensor.output]).variables:
                source = node.inputs[call.ports[call.body.args.index(arg)]]
                # A handle is read inside, at a moment of the function's.
                if not self._view.is_variable(source.op):
                    variables.extend(self._of(source, depth + 1).variables)
        if variables:
            return Origin(tuple(dict.fromkeys(variables)))
        return self._end(tensor.op, f"{node.op_type} '{tensor.op}'")

    def _end(self, op: OpName, text: str) -> Origin:
        return Origin((), Stop(op, text)) if self._kinds.of(op) is Kind.VARIABLE else Origin()

    def _scaled(self, sources: List[Tuple[TensorRef, Origin]]) -> List[Tuple[TensorRef, Origin]]:
        """Returns the factor that is the weight: the largest that is trained. Several where they are of one size."""
        found = [(source, origin) for source, origin in sources if origin.variables]
        trained = [(source, origin) for source, origin in found if self._view.trainable.intersection(origin.variables)]
        weights = [(self._entries(origin.variables), source, origin) for source, origin in trained or found]
        if not weights:
            return sources
        largest = max(entries for entries, _, _ in weights)
        return [(source, origin) for entries, source, origin in weights if entries == largest]

    def _entries(self, variables: Iterable[OpName]) -> int:
        total = 0
        for variable in variables:
            count = 1
            for size in self._view.attribute(variable, "shape") or ():
                count *= size or 1
            total += count
        return total

    def _has_shape_of(self, tensor: TensorRef, source: TensorRef) -> bool:
        """Tells whether two tensors are of one shape. Where a file does not say, a variable's value is."""
        shape, other = self._view.shape(tensor), self._view.shape(source)
        if shape is None or other is None:
            return self._kinds.of(tensor.op) is Kind.VARIABLE
        return shape == other
