"""Shapes of a graph's tensors, each found when it is asked for."""

from typing import Any, Dict, List, Optional, Set, Tuple

import tensorflow.compat.v1 as tf

from graph_masker.shapes.arithmetic import Shape, Sizes, filled
from graph_masker.shapes.rules import RULES, SEVERAL_OUTPUTS, Call, Numbers
from graph_masker.view import FROZEN_WEIGHT, TensorRef

_STORES = frozenset({"VariableV2", "Variable", "VarHandleOp", FROZEN_WEIGHT})
# A constant of more numbers than this is no shape, and is not looked into.
_MOST_NUMBERS = 64


class Shapes:
    """Shapes as the graph tells them, and as they follow from there.

    The handle of a resource variable is given the shape of the variable's value.
    """

    def __init__(self, graph_def: Any, image_size: Optional[Tuple[int, int]] = None) -> None:
        """Takes a GraphDef, and the height and width of images that the graph is fed with and does not tell."""
        self._nodes = {node.name: node for node in graph_def.node}
        self._image_size = image_size
        self._known: Dict[str, List[Shape]] = {}

    def of(self, tensor: TensorRef) -> Shape:
        """Returns a tensor's shape; None where its number of axes is not known."""
        if tensor.op not in self._known:
            self._find(tensor.op)
        shapes = self._known[tensor.op]
        return shapes[tensor.output] if tensor.output < len(shapes) else None

    def numbers(self, tensor: TensorRef) -> Numbers:
        """Returns the whole numbers in a small constant; None where a tensor is none."""
        return self._numbers(*tensor)

    def _find(self, op: str) -> None:
        """Finds an op's shapes, those of what it reads first. What leads back to an op counts as not known."""
        stack, opened = [op], set()  # type: ignore[var-annotated]
        while stack:
            name = stack[-1]
            node = self._nodes.get(name)
            if name in self._known or node is None:
                self._known.setdefault(name, [])
                stack.pop()
                continue
            declared = self._declared(node)
            missing = self._missing(node, declared, opened)
            opened.add(name)
            if missing:
                stack.extend(missing)
                continue
            self._known[name] = self._inferred(node, declared)
            stack.pop()

    def _missing(self, node: Any, declared: List[Shape], opened: Set[str]) -> List[str]:
        if node.name in opened or node.op not in RULES or (declared and all(map(_is_known, declared))):
            return []
        return [name for name, _ in _inputs(node) if name not in self._known and name not in opened]

    def _declared(self, node: Any) -> List[Shape]:
        """Returns the shapes that the graph itself tells."""
        if node.op in _STORES or node.op == "Placeholder":
            shape = _plain(node.attr["shape"].shape) if node.attr["shape"].HasField("shape") else None
            found: List[Shape] = [shape if shape != () or node.op in _STORES else None]
        elif node.op == "Const":
            return [tuple(dim.size for dim in node.attr["value"].tensor.tensor_shape.dim)]
        else:
            found = []
        if node.op != "VarHandleOp":
            told = [_plain(shape) for shape in node.attr["_output_shapes"].list.shape]
            found = [filled(one, other) for one, other in zip(told, found)] + told[len(found) :] or found
        return found if node.input else [self._as_image(shape) for shape in found]

    def _as_image(self, shape: Shape) -> Shape:
        """Fills in the size of images, where what a graph is fed with looks like some."""
        if self._image_size is None or shape is None or len(shape) not in (3, 4):
            return shape
        for first in (len(shape) - 3, len(shape) - 2):
            channels = shape[-1] if first == len(shape) - 3 else shape[-3]
            if shape[first : first + 2] == (None, None) and channels in (1, 3, 4):
                return (*shape[:first], *self._image_size, *shape[first + 2 :])
        return shape

    def _inferred(self, node: Any, declared: List[Shape]) -> List[Shape]:
        rule = RULES.get(node.op)
        if rule is None or (declared and all(map(_is_known, declared))):
            return declared
        inputs = _inputs(node)
        shapes = [self._output(name, output) for name, output in inputs]

        def numbers(index: int) -> Numbers:
            return self._numbers(*inputs[index]) if index < len(inputs) else None

        try:
            found = rule(Call(node, shapes, numbers))
        except (ArithmeticError, LookupError, ValueError, TypeError):
            found = None
        every = [found] * (2 if node.op in SEVERAL_OUTPUTS else 1)
        return [filled(one, other) for one, other in zip(declared, every)] + (
            declared[len(every) :] or every[len(declared) :]
        )

    def _output(self, name: str, output: int) -> Shape:
        shapes = self._known.get(name, [])
        return shapes[output] if output < len(shapes) else None

    def _numbers(self, name: str, output: int) -> Numbers:
        """Returns the whole numbers in a constant, or in one that is packed together from several."""
        node = self._nodes.get(name)
        if node is None or output:
            return None
        if node.op == "Const":
            return _whole_numbers(node.attr["value"].tensor)
        if node.op == "Identity" and node.input:
            return self._numbers_of_constant(*_inputs(node)[0])
        if node.op == "Pack":
            items = [self._numbers_of_constant(*edge) for edge in _inputs(node)]
            return tuple(item[0] if item is not None and len(item) == 1 else None for item in items)
        if node.op == "Shape":
            return self._output(*_inputs(node)[0])
        return None

    def _numbers_of_constant(self, name: str, output: int) -> Numbers:
        node = self._nodes.get(name)
        is_constant = node is not None and node.op == "Const" and output == 0
        return _whole_numbers(node.attr["value"].tensor) if node is not None and is_constant else None


def _is_known(shape: Shape) -> bool:
    return shape is not None and None not in shape


def _inputs(node: Any) -> List[Tuple[str, int]]:
    found = []
    for text in node.input:
        if not text.startswith("^"):
            name, _, output = text.partition(":")
            found.append((name, int(output or 0)))
    return found


def _plain(shape: Any) -> Shape:
    if shape.unknown_rank:
        return None
    sizes: Sizes = tuple(None if dim.size < 0 else dim.size for dim in shape.dim)
    return sizes


def _whole_numbers(tensor: Any) -> Numbers:
    count = 1
    for dim in tensor.tensor_shape.dim:
        count *= dim.size
    try:
        if not 0 <= count <= _MOST_NUMBERS or not tf.as_dtype(tensor.dtype).is_integer:
            return None
        return tuple(int(number) for number in tf.make_ndarray(tensor).reshape(-1))
    except (ValueError, TypeError):
        return None  # Damaged: the graph of a stranger need not be one that TensorFlow takes.
