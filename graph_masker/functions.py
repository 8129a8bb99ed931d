"""Looks into function bodies: control flow v2 (If, While), tf.function, Defun.

A body is a graph of its own. What it reads of a weight comes in through an argument, as a value or as a handle.
"""

from typing import Dict, FrozenSet, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from graph_masker.effects import Kind, Kinds
from graph_masker.origins import Origins
from graph_masker.view import Body, Edge, GraphView, OpName, variable_behind
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
    ) -> None:
        self._view = view
        self._weight_rules = weight_rules
        self._read_rules = read_rules
        self._kinds = kinds
        self._origins = origins

    def consumptions(self, op: OpName) -> List[Consumption]:
        """Returns the weights that a call op hands to consumers in its body."""
        found: List[Consumption] = []
        inputs = self._view.nodes[op].inputs
        for call in self._view.calls(op):
            rules = self._consumed_arguments(op, call.body, call.ports)
            for position, port in enumerate(call.ports):
                for rule in rules.get(call.body.args[position], ()):
                    for variable in self._origins.of(inputs[port]).variables:
                        found.append(Consumption(Edge(inputs[port], op, port), variable, rule))
        return found

    def is_masked_inside(self, op: OpName, port: int, mask: OpName) -> bool:
        """Tells whether a body that gets a weight's handle multiplies what it reads of it before any consumer."""
        for call in self._view.calls(op):
            if port in call.ports:
                products = self._products(op, call.body, call.ports, port, mask)
                rules = self._consumed_arguments(op, call.body, call.ports, products)
                if rules.get(call.body.args[call.ports.index(port)]):
                    return False
        return True

    def _products(self, op: OpName, body: Body, ports: Tuple[int, ...], port: int, mask: OpName) -> FrozenSet[OpName]:
        outer = self._view.nodes[op].inputs
        masks = {arg for arg, at in zip(body.args, ports) if variable_behind(self._view.nodes, outer[at].op) == mask}
        weight = body.args[ports.index(port)]
        nodes = body.view.nodes
        products = set()
        for node in nodes.values():
            if node.op_type == "Mul":
                one, other = (_source(body.view, tensor.op) for tensor in node.inputs)
                if (one in masks and other == weight) or (other in masks and one == weight):
                    products.add(node.name)
        return frozenset(products)

    def _consumed_arguments(
        self, op: OpName, body: Body, ports: Tuple[int, ...], walls: Iterable[OpName] = ()
    ) -> Dict[OpName, List[WeightRule]]:
        """Returns, by argument, the rules of the consumers that it reaches in a body. Walls are ops not to pass."""
        outer = self._view.nodes[op].inputs
        is_loop = self._view.nodes[op].op_type.endswith("While")
        given: Dict[OpName, Kind] = {}
        for position, (arg, port) in enumerate(zip(body.args, ports)):
            # What a loop changes is not what it was given.
            is_kept = (
                not is_loop or position >= len(body.outputs) or _source(body.view, body.outputs[position].op) == arg
            )
            given[arg] = self._kinds.of(outer[port].op) if is_kept else Kind.DATA
        kinds = Kinds(body.view, self._weight_rules.values(), given)
        origins = Origins(body.view, self._read_rules.values(), kinds, frozenset(walls))
        inner = Functions(body.view, self._weight_rules, self._read_rules, kinds, origins)
        found: Dict[OpName, List[WeightRule]] = {}
        for node in body.view.nodes.values():
            rule = self._weight_rules.get(node.op_type)
            if rule is not None:
                for _, variables in weight_inputs(body.view, kinds, origins, node.name, rule):
                    for arg in variables:
                        found.setdefault(arg, []).append(rule)
            for consumption in inner.consumptions(node.name):
                found.setdefault(consumption.variable, []).append(consumption.rule)
        return found


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
        pure = [index for index in found if kinds.of(inputs[index].op) is Kind.VARIABLE]
        if len(found) > 1 and len(pure) == 1:
            found = {index: found[index] for index in pure}
        others = {index: [t for other, t in enumerate(inputs) if other != index] for index in found}
        found = {
            index: variables
            for index, variables in found.items()
            if all(kinds.of(tensor.op) is not Kind.VARIABLE for tensor in others[index])
        }
    return [(Edge(inputs[index], op, index), variables) for index, variables in found.items()]


def _source(view: GraphView, op: OpName) -> Optional[OpName]:
    """Follows plain reads back to what they read, and gradients' stops too."""
    while True:
        found = variable_behind(view.nodes, op)
        if view.nodes[found].op_type != "StopGradient":
            return found
        op = view.nodes[found].inputs[0].op
