"""Looks into function bodies: control flow v2 (If, While), tf.function, Defun.

A body is a graph of its own. What it reads of a weight comes in through an argument, as a value or as a handle.
"""

from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Tuple

from graph_masker.sites.effects import Kind, Kinds
from graph_masker.sites.origins import Origins
from graph_masker.view import Body, Call, Edge, GraphView, OpName, variable_behind
from rewriters import ReadRule, WeightRule


class Consumption(NamedTuple):
    """An input by which a call op hands a weight to a consumer inside its body."""

    edge: Edge
    variable: OpName
    rule: WeightRule


class Functions:
    """What the bodies of a graph's call ops do with weights."""

    def __init__(
        self,
        view: GraphView,
        weight_rules: Mapping[str, WeightRule],
        read_rules: Mapping[str, ReadRule],
        kinds: Kinds,
        origins: Origins,
        masks: Mapping[OpName, OpName],
    ) -> None:
        """Args: the graph, what is known of it, and the masks that it holds, by weight."""
        self._view = view
        self._weight_rules = weight_rules
        self._read_rules = read_rules
        self._kinds = kinds
        self._origins = origins
        self._masks = masks
        self._known: Dict[Any, Dict[OpName, List[WeightRule]]] = {}

    def consumptions(self, op: OpName, past_masks: bool = False) -> List[Consumption]:
        """Returns the weights that a call op hands to consumers in its body; on request only those not masked there."""
        found: List[Consumption] = []
        inputs = self._view.nodes[op].inputs
        for call in self._view.calls(op):
            rules = self._consumed_arguments(op, call, past_masks)
            for arg, port in zip(call.body.args, call.ports):
                for rule in rules.get(arg, ()):
                    for variable in self._origins.of(inputs[port]).variables:
                        found.append(Consumption(Edge(inputs[port], op, port), variable, rule))
        return found

    def is_masked_inside(self, op: OpName, port: int) -> bool:
        """Tells whether the bodies that get a weight's handle multiply what they read of it before any consumer."""
        return all(consumption.edge.port != port for consumption in self.consumptions(op, past_masks=True))

    def _consumed_arguments(self, op: OpName, call: Call, past_masks: bool) -> Dict[OpName, List[WeightRule]]:
        """Returns, by argument, the rules of the consumers that it reaches in a body."""
        body, outer = call.body, self._view.nodes[op].inputs
        is_loop = self._view.nodes[op].op_type.endswith("While")
        given: Dict[OpName, Kind] = {}
        behind: Dict[OpName, OpName] = {}
        for position, (arg, port) in enumerate(zip(body.args, call.ports)):
            # What a loop changes is not what it was given.
            changes = is_loop and position < len(body.outputs) and _source(body.view, body.outputs[position].op) != arg
            given[arg] = Kind.DATA if changes else self._kinds.of(outer[port].op)
            behind.setdefault(variable_behind(self._view.nodes, outer[port].op), arg)
        masks = {behind[w]: behind[mask] for w, mask in self._masks.items() if w in behind and mask in behind}
        # A mask update calls one function for each weight: it is looked into once.
        key = (body.name, past_masks, tuple(given.items()), tuple(masks.items()))
        if key not in self._known:
            self._known[key] = self._consumed_in(body, given, masks, past_masks)
        return self._known[key]

    def _consumed_in(
        self, body: Body, given: Dict[OpName, Kind], masks: Dict[OpName, OpName], past_masks: bool
    ) -> Dict[OpName, List[WeightRule]]:
        walls = frozenset(_products(body.view, masks)) if past_masks else frozenset()
        kinds = Kinds(body.view, self._weight_rules.values(), given)
        origins = Origins(body.view, self._read_rules.values(), kinds, frozenset(masks.values()), walls)
        inner = Functions(body.view, self._weight_rules, self._read_rules, kinds, origins, masks)
        found: Dict[OpName, List[WeightRule]] = {}
        for node in body.view.nodes.values():
            rule = self._weight_rules.get(node.op_type)
            if rule is not None:
                for _, variables in weight_inputs(body.view, kinds, origins, node.name, rule):
                    for arg in variables:
                        found.setdefault(arg, []).append(rule)
            for consumption in inner.consumptions(node.name, past_masks):
                found.setdefault(consumption.variable, []).append(consumption.rule)
        return found


def _products(view: GraphView, masks: Mapping[OpName, OpName]) -> Iterator[OpName]:
    for node in view.nodes.values():
        if node.op_type == "Mul":
            one, other = (_source(view, tensor.op) for tensor in node.inputs)
            if masks.get(one) == other or masks.get(other) == one:
                yield node.name


def weight_inputs(
    view: GraphView, kinds: Kinds, origins: Origins, op: OpName, rule: WeightRule
) -> List[Tuple[Edge, Tuple[OpName, ...]]]:
    """Returns the inputs of a consumer that carry weights, with the variables that these come from.

    Where an op has no input of its own for data, one that is made of variables alone is the weight.
    """
    inputs = view.nodes[op].inputs
    found = {}
    for index in rule.weight_inputs:
        variables = origins.of(inputs[index]).variables if index < len(inputs) else ()
        if variables:
            found[index] = variables
    if rule.data_input is None:
        pure = [index for index in found if not kinds.feeds(inputs[index].op)]
        if len(found) > 1 and len(pure) == 1:
            found = {index: found[index] for index in pure}
        others = {index: [t for other, t in enumerate(inputs) if other != index] for index in found}
        found = {
            index: variables
            for index, variables in found.items()
            if all(kinds.feeds(tensor.op) for tensor in others[index])
        }
    return [(Edge(inputs[index], op, index), variables) for index, variables in found.items()]


def _source(view: GraphView, op: OpName) -> OpName:
    """Follows plain reads back to what they read, and gradients' stops too."""
    while True:
        found = variable_behind(view.nodes, op)
        if view.nodes[found].op_type != "StopGradient":
            return found
        op = view.nodes[found].inputs[0].op
