"""Tells which axes of a weight make its consumer's output, and over which the consumer sums.

Structured pruning sees a kernel as a matrix [fan-in, fan-out]. Which axis is which depends on the op that reads it, and
on what the weight passes on its way there.
"""

from typing import Mapping, Optional, Sequence, Set, Tuple

from graph_masker.view import Edge, GraphView, OpName, TensorRef
from rewriters import ReadRule, WeightRule

Axes = Tuple[int, ...]

_RESHAPES = frozenset({"Reshape", "ExpandDims", "Squeeze"})


def output_axes(
    view: GraphView,
    variable: OpName,
    consumers: Sequence[Tuple[Edge, WeightRule]],
    read_rules: Mapping[str, ReadRule],
) -> Optional[Axes]:
    """Returns the axes of a variable, counted from the end, that make its consumers' output.

    Args:
        view: the graph.
        variable: op name.
        consumers: the edges by which ops of the model read it, with their rules.
        read_rules: by op type.

    Returns:
        None where the consumers differ, or where what the weight passes on its way hides it.
    """
    found: Set[Optional[Axes]] = set()
    for edge, rule in consumers:
        if view.nodes[edge.op].op_type != rule.op_type:
            return None
        axes = rule.axes_of(edge.port, lambda key, op=edge.op: bool(view.attribute(op, key)))  # type: ignore[misc]
        found.add(_Path(view, variable, read_rules).back(edge.tensor, axes))
    return found.pop() if len(found) == 1 else None


class _Path:
    """Follows a tensor back to a variable and counts its axes in the variable's."""

    def __init__(self, view: GraphView, variable: OpName, read_rules: Mapping[str, ReadRule]) -> None:
        self._view = view
        self._variable = variable
        self._read_rules = read_rules

    def back(self, tensor: TensorRef, axes: Axes) -> Optional[Axes]:
        """Returns the variable's axes that are `axes` of a tensor; None where that is not known."""
        if tensor.op == self._variable:
            return axes
        node = self._view.nodes[tensor.op]
        rule = self._read_rules.get(node.op_type)
        if rule is None:
            return None
        if node.op_type == "Transpose":
            order = self._view.constant(node.inputs[1].op)
            before = None if order is None else tuple(order[axis] - len(order) for axis in axes)
        elif node.op_type in _RESHAPES:
            before = axes if self._keeps(tensor, node.inputs[0], axes) else None
        else:
            before = axes
        if before is None:
            return None
        reached = {self.back(node.inputs[index], before) for index in rule.carriers(len(node.inputs), tensor.output)}
        known = {found for found in reached if found is not None}
        return known.pop() if len(known) == 1 else None

    def _keeps(self, after: TensorRef, before: TensorRef, axes: Axes) -> bool:
        """Tells whether a reshaping leaves the axes in question, and all after them, as they are."""
        one, other = self._view.shape(after), self._view.shape(before)
        first = min(axes)
        if one is None or other is None or min(len(one), len(other)) < -first:
            return False
        return one[first:] == other[first:]
