"""Reads function definitions as views: the bodies of functions, and which op runs which."""

from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from tensorflow.python.framework import op_def_registry

from graph_masker.flow import Flow, build_view
from graph_masker.view import Body, Call, GraphView, TensorRef

# By op type: the attributes that name functions, and the first input that is an argument.
_CALLS: Dict[str, Tuple[Tuple[str, ...], int]] = {
    "PartitionedCall": (("f",), 0),
    "StatefulPartitionedCall": (("f",), 0),
    "If": (("then_branch", "else_branch"), 1),
    "StatelessIf": (("then_branch", "else_branch"), 1),
    "While": (("cond", "body"), 0),
    "StatelessWhile": (("cond", "body"), 0),
}


def called_by(node: Any) -> Optional[Tuple[Tuple[str, ...], int]]:
    """Returns the functions that a node runs, and its first input that is their argument; None where it runs none."""
    if node.op not in _CALLS:
        return None
    keys, first = _CALLS[node.op]
    return tuple(node.attr[key].func.name for key in keys), first


class Bodies:
    """The functions of one graph, read when first asked for."""

    def __init__(self, definition: Callable[[str], Any]) -> None:
        """Args: a function that returns the FunctionDef of a name, or None."""
        self._definition = definition
        self._known: Dict[str, Optional[Body]] = {}

    def calls(self, op_type: str, inputs: int, function: Callable[[str], str]) -> Tuple[Call, ...]:
        """Returns the bodies that an op runs.

        Args:
            op_type: of the op; a function's name, where the op is a call of it.
            inputs: number of its data inputs.
            function: returns the function's name that an attribute of the op holds.
        """
        if op_type in _CALLS:
            keys, first = _CALLS[op_type]
            names = [function(key) for key in keys]
        else:
            names, first = [op_type], 0
        bodies = [self.body(name) for name in names]
        return tuple(Call(body, tuple(range(first, inputs))) for body in bodies if body is not None)

    def body(self, name: str) -> Optional[Body]:
        """Returns a function's body; None where there is no such function."""
        if name not in self._known:
            definition = self._definition(name)
            self._known[name] = None if definition is None else self._read(definition)
        return self._known[name]

    def _read(self, definition: Any) -> Body:
        signature, nodes = definition.signature, {node.name: node for node in definition.node_def}
        args = tuple(arg.name for arg in signature.input_arg)

        def reference(text: str) -> TensorRef:
            name, _, output = text.partition(":")
            return TensorRef(name, self._flat(nodes[name], output) if name in nodes and output else 0)

        def ops() -> Iterator[Tuple[str, str, Tuple[TensorRef, ...]]]:
            for arg in args:
                yield arg, "_Arg", ()
            for node in definition.node_def:
                yield node.name, node.op, tuple(reference(t) for t in node.input if not t.startswith("^"))

        def calls(name: str) -> Tuple[Call, ...]:
            node = nodes.get(name)
            if node is None:
                return ()
            inputs = sum(not text.startswith("^") for text in node.input)
            return self.calls(node.op, inputs, lambda key: str(node.attr[key].func.name))

        view = _view(ops(), nodes, calls)
        outputs = tuple(reference(definition.ret[arg.name]) for arg in signature.output_arg)
        return Body(signature.name, args, outputs, view)

    def _flat(self, node: Any, output: str) -> int:
        """Returns the index among all of an op's outputs, given the name of one and the index in it."""
        name, _, index = output.partition(":")
        position = int(index or 0)
        found = op_def_registry.get_registered_ops().get(node.op)
        if found is None:
            definition = self._definition(node.op)
            args = [] if definition is None else list(definition.signature.output_arg)
        else:
            args = list(found.output_arg)
        for arg in args:
            if arg.name == name:
                return position
            position += _count(node, arg)
        return position


def _count(node: Any, arg: Any) -> int:
    if arg.number_attr:
        return int(node.attr[arg.number_attr].i)
    if arg.type_list_attr:
        return len(node.attr[arg.type_list_attr].list.type)
    return 1


def _view(ops: Iterator[Any], nodes: Dict[str, Any], calls: Callable[[str], Tuple[Call, ...]]) -> GraphView:
    def nothing(*_: Any) -> Any:
        return None

    def is_controlled(name: str) -> bool:
        return name in nodes and any(text.startswith("^") for text in nodes[name].input)

    collections: Dict[str, List[str]] = {}
    return build_view(
        Flow(ops), collections, {}, {}, (), nothing, nothing, lambda _: True, is_controlled, nothing, calls
    )
