"""Function bodies: takes products of a mask and a weight out of them, and the masks out of their arguments."""

from typing import Any, Dict, NamedTuple, Optional, Set, Tuple

from graph_masker import tf_compat
from graph_masker.errors import SourceError
from graph_masker.unmasking.definition import Definition, data_inputs, output_of
from graph_masker.unmasking.ours import Ours

_READS = frozenset({"Identity", "ReadVariableOp", "StopGradient"})
# By op type, attributes that list something for each argument; those that list something for each result.
_LISTS = {
    "If": (("Tin",), ()),
    "StatelessIf": (("Tin",), ()),
    "While": (("T",), ("output_shapes", "_output_shapes")),
    "StatelessWhile": (("T",), ("output_shapes", "_output_shapes")),
    "PartitionedCall": (("Tin",), ()),
    "StatefulPartitionedCall": (("Tin",), ()),
}


class _Call(NamedTuple):
    """A call op, the functions that it runs, and the first of its inputs that is an argument of theirs."""

    node: Any
    names: Tuple[str, ...]
    first: int


def unmask_bodies(definition: Definition, ours: Ours, source: str) -> None:
    """Unmasks the functions that are handed masks, and hands them none.

    Args:
        definition: a graph whose own products are still there.
        ours: what pruning added.
        source: what the graph was read from, for messages.

    Raises:
        SourceError: a function computes with a mask in another way, as gradients of functions do.
    """
    functions = {function.signature.name: function for function in definition.graph_def.library.function}
    if functions:
        worker = _Worker(functions, source)
        for node in definition.nodes.values():
            masks = {number for number, text in enumerate(data_inputs(node)) if text in ours.masks}
            if masks and not ours.owns(node.name):
                moved = worker.take_out(node, masks)
                for reader in tuple(definition.data_readers(node.name)) if moved else ():
                    text = reader.node.input[reader.port]
                    if output_of(text) not in moved:
                        definition.move(reader, _moved(text, moved))
                    elif reader.node.op == "Identity" and not definition.is_read(reader.node.name):
                        definition.removed.add(reader.node.name)
                    else:
                        raise worker.unknown(node.name)


class _Worker:
    def __init__(self, functions: Dict[str, Any], source: str) -> None:
        self._functions = functions
        self._source = source
        # The arguments that each function has lost.
        self._done: Dict[str, Set[int]] = {}

    def take_out(self, node: Any, masks: Set[int]) -> Set[int]:
        """Takes masks out of a call's inputs, and out of what it calls; returns the results that it has no more."""
        call = self._call(node)
        if call is None:
            return set()
        arguments = {number - call.first for number in masks}
        for name in call.names:
            self._unmask(name, arguments, is_loop=node.op.endswith("While"))
        for number in sorted(masks, reverse=True):
            del node.input[number]
        for_arguments, for_results = _LISTS.get(node.op, ((), ()))
        for key in for_arguments:
            _drop(node.attr[key].list.type, arguments)
        for key in for_results:
            _drop(node.attr[key].list.shape, arguments)
        if node.op.endswith("While") and "_num_original_outputs" in node.attr:
            node.attr["_num_original_outputs"].i -= len(arguments)
        return arguments if node.op.endswith("While") else set()

    def _call(self, node: Any) -> Optional[_Call]:
        found = tf_compat.called_by(node)
        if found is not None and all(name in self._functions for name in found[0]):
            return _Call(node, *found)
        return _Call(node, (node.op,), 0) if node.op in self._functions else None

    def _unmask(self, name: str, masks: Set[int], is_loop: bool) -> None:
        if name in self._done:
            if self._done[name] != masks:
                raise self.unknown(name)
            return
        self._done[name] = masks
        function = self._functions[name]
        arguments = [argument.name for argument in function.signature.input_arg]
        factors = {arguments[number] for number in masks}
        for node in function.node_def:
            if node.op in _READS and _op(node.input[0]) in factors:
                factors.add(node.name)
        instead: Dict[str, str] = {}
        for node in function.node_def:
            if node.op == "Mul" and len(factors & {_op(text) for text in node.input}) == 1:
                instead[node.name] = next(text for text in node.input if _op(text) not in factors)
        gone = (factors | set(instead)) - set(arguments)
        moved: Dict[str, Set[int]] = {}
        for node in function.node_def:
            if node.name not in gone:
                handed = {number for number, text in enumerate(data_inputs(node)) if _op(text) in factors}
                if handed and self._call(node) is None:
                    raise self.unknown(name)
                moved[node.name] = self.take_out(node, handed) if handed else set()
        gone |= _unread(function, moved)
        kept = [node for node in function.node_def if node.name not in gone]
        for node in kept:
            inputs = [_replaced(text, instead, moved) for text in node.input if text not in {f"^{n}" for n in gone}]
            if None in inputs:
                raise self.unknown(name)
            del node.input[:]
            node.input.extend(inputs)
        del function.node_def[:]
        function.node_def.extend(kept)
        self._update_signature(function, masks, is_loop)
        for result, text in function.ret.items():
            found = _replaced(text, instead, moved)
            if found is None or _op(found) in factors:
                raise self.unknown(name)
            function.ret[result] = found
        for result, operation in tuple(function.control_ret.items()):
            if operation in gone:
                del function.control_ret[result]
                if result in function.signature.control_output:
                    function.signature.control_output.remove(result)

    def _update_signature(self, function: Any, masks: Set[int], is_loop: bool) -> None:
        signature = function.signature
        if is_loop and len(signature.output_arg) == len(signature.input_arg):
            for number in masks:
                result = signature.output_arg[number].name
                if _op(function.ret[result]) != signature.input_arg[number].name:
                    raise self.unknown(signature.name)
                del function.ret[result]
            _drop(signature.output_arg, masks)
        _drop(signature.input_arg, masks)
        if "_input_shapes" in function.attr:
            _drop(function.attr["_input_shapes"].list.shape, masks)
        kept = sorted((number, value) for number, value in function.arg_attr.items() if number not in masks)
        copies = [
            (number - sum(mask < number for mask in masks), type(value).FromString(value.SerializeToString()))
            for number, value in kept
        ]
        function.arg_attr.clear()
        for number, value in copies:
            function.arg_attr[number].CopyFrom(value)

    def unknown(self, name: str) -> SourceError:
        """Returns the error to raise where a function, or a call, does something else with a mask."""
        return SourceError(
            f"{self._source}: function '{name}' computes with a mask, as gradients of functions do, so that the graph "
            "without masks is not known; build it by the model's own code"
        )


def _op(text: str) -> str:
    return text.lstrip("^").partition(":")[0]


def _unread(function: Any, moved: Dict[str, Set[int]]) -> Set[str]:
    """Returns the ops that hold a result which a call has no more, and that nothing reads."""
    read = {_op(text) for node in function.node_def for text in node.input} | {_op(t) for t in function.ret.values()}
    found = set()
    for node in function.node_def:
        if node.op == "Identity" and node.name not in read:
            name, _, output = node.input[0].partition(":")
            if int(output.rpartition(":")[2] or 0) in moved.get(name, ()):
                found.add(node.name)
    return found


def _replaced(text: str, instead: Dict[str, str], moved: Dict[str, Set[int]]) -> Optional[str]:
    """Returns what a body's op reads in place of a tensor; None where that is gone."""
    if text.startswith("^"):
        return text
    if _op(text) in instead:
        return instead[_op(text)]
    gone = moved.get(_op(text))
    if not gone:
        return text
    name, _, number = text.rpartition(":")
    place = int(number)
    return None if place in gone else f"{name}:{place - sum(item < place for item in gone)}"


def _drop(values: Any, numbers: Set[int]) -> None:
    for number in sorted(numbers, reverse=True):
        if number < len(values):
            del values[number]


def _moved(text: str, gone: Set[int]) -> str:
    name, _, output = text.partition(":")
    place = int(output or 0)
    place -= sum(number < place for number in gone)
    return f"{name}:{place}" if place else name
