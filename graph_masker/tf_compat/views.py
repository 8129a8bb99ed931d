"""Views of live graphs, of graphs in files, and of function bodies that are being built."""

import itertools
import operator
from typing import Any, Callable, Collection, Dict, FrozenSet, Iterable, Iterator, List, Mapping, Optional, Tuple

import tensorflow.compat.v1 as tf
from tensorflow.core.framework import variable_pb2
from tensorflow.python.framework import func_graph

from graph_masker.flow import Flow, build_view, derived_view
from graph_masker.tf_compat.bodies import Bodies
from graph_masker.tf_compat.distribution import mirrors_of, variables_of
from graph_masker.view import VARIABLE_OPS, Call, GraphView, Slice, TensorRef

_READ_COLLECTIONS = (
    "variables",
    "trainable_variables",
    "local_variables",
    "regularization_losses",
    "masks",
    "masked_weights",
)


_INPUTS = operator.attrgetter("_inputs_val")
# Quicker than the named tuple's own, which is called once for each of tens of thousands of inputs.
_new: Callable[..., TensorRef] = tuple.__new__


class _LiveFlow:
    """The flow of a `tf.Graph`. Ops are only ever added to one; edges move, and TensorFlow then reads them anew."""

    def __init__(self, graph: Any) -> None:
        self.flow = Flow()
        self._graph = graph
        # Names and types come through TensorFlow's C interface, at a microsecond a call: each is asked for once.
        self._names: Dict[Any, str] = {}
        self._inputs: List[Any] = []
        self._attributes: Dict[Tuple[str, str], Any] = {}
        # By id, with the item itself, so that the id stays its own.
        self._items: Dict[int, Tuple[Any, str]] = {}
        self._values: Dict[int, List[str]] = {}

    def refresh(self) -> Flow:
        names, inputs = self._names, self._inputs
        added = list(itertools.islice(self._graph._nodes_by_name.items(), len(names), None))
        for name, op in added:
            names[op] = name
        current = list(map(_INPUTS, itertools.islice(names, len(inputs))))
        # Lists compare their items by identity first.
        if current != inputs:
            for op, now, known in zip(names, current, inputs):
                if now is not known:
                    self.flow.reconnect(names[op], self._read(op))
            self._inputs = inputs = [op._inputs_val for op in itertools.islice(names, len(inputs))]
        self.flow.extend([(name, op.type, self._read(op)) for name, op in added])
        inputs.extend([op._inputs_val for _, op in added])
        return self.flow

    def attribute(self, name: str, key: str) -> Any:
        """Returns an attribute of an op as plain data. It never changes."""
        if (name, key) not in self._attributes:
            op = self._graph._nodes_by_name[name]
            is_buffer = op.type in ("VariableV2", "Variable")
            self._attributes[name, key] = _of_buffer(op, key) if is_buffer else _plain(op.get_attr(key))
        return self._attributes[name, key]

    def names_of(self, items: Collection[Any]) -> List[str]:
        """Returns the names of a collection's items, of those that have one."""
        known = self._items
        for item in items:
            if id(item) not in known:
                known[id(item)] = (item, getattr(item, "name", ""))
        return [name for name in [known[id(item)][1] for item in items] if name]

    def values_of(self, variable: Any) -> List[str]:
        """Returns the ops that TensorFlow takes for the value of a variable."""
        if id(variable) not in self._values:
            self.names_of([variable])
            tensors = [getattr(variable, name, None) for name in ("_graph_element", "_cached_value", "_snapshot")]
            self._values[id(variable)] = [tensor.op.name for tensor in tensors if isinstance(tensor, tf.Tensor)]
        return self._values[id(variable)]

    def _read(self, op: Any) -> Tuple[TensorRef, ...]:
        names = self._names
        return tuple([_new(TensorRef, (names[tensor._op], tensor._value_index)) for tensor in op.inputs._inputs])


def _of_buffer(op: Any, key: str) -> Any:
    """Returns type or shape of a reference variable from its tensor, which costs less than parsing an attribute."""
    tensor = op.outputs[0]
    if key == "dtype":
        return tensor.dtype.base_dtype.name
    return None if tensor.shape.ndims is None else tuple(tensor.shape.as_list())


def _live_flow_of(graph: Any) -> _LiveFlow:
    """Returns what is known of a graph's flow. The graph keeps it, so that it lives no longer than the graph."""
    live: Optional[_LiveFlow] = getattr(graph, "_graph_masker_flow", None)
    if live is None:
        live = graph._graph_masker_flow = _LiveFlow(graph)
    return live


def view_of_graph(graph: Any) -> GraphView:
    """Returns a view of a `tf.Graph` as it is now."""

    ops = graph._nodes_by_name

    def is_controlled(name: str) -> bool:
        return bool(ops[name].control_inputs)

    def is_scalar(tensor: TensorRef) -> bool:
        return bool(ops[tensor.op].outputs[tensor.output].shape.ndims == 0)

    def shape(tensor: TensorRef) -> Optional[Tuple[int, ...]]:
        static = ops[tensor.op].outputs[tensor.output].shape
        return tuple(static.as_list()) if static.is_fully_defined() else None

    def constant(name: str) -> Optional[Tuple[int, ...]]:
        op = ops[name]
        return _whole_numbers(op.get_attr("value")) if op.type == "Const" else None

    live = _live_flow_of(graph)
    collections = {key: live.names_of(graph.get_collection(key)) for key in _READ_COLLECTIONS}
    slices, values = {}, set()
    for variable in variables_of(graph):
        info = getattr(variable, "_save_slice_info", None)
        if info is not None:
            slices[variable.op.name] = Slice(info.full_name, tuple(info.full_shape), tuple(info.var_offset))
        values.update(live.values_of(variable))
    bodies = Bodies(lambda name: graph._functions[name].definition if name in graph._functions else None)

    flow = live.refresh()

    def calls(name: str) -> Tuple[Call, ...]:
        node = flow.nodes[name]
        return bodies.calls(
            node.op_type, len(node.inputs), lambda key: graph.get_operation_by_name(name).get_attr(key).name
        )

    has_functions = bool(graph._functions)
    return build_view(
        flow,
        collections,
        slices,
        mirrors_of(graph),
        values,
        live.attribute,
        shape,
        is_scalar,
        is_controlled,
        constant,
        calls if has_functions else _no_calls,
        has_functions,
    )


def _no_calls(_: str) -> Tuple[Call, ...]:
    return ()


def _whole_numbers(tensor: Any) -> Optional[Tuple[int, ...]]:
    if tf.as_dtype(tensor.dtype).is_integer and len(tensor.tensor_shape.dim) == 1:
        return tuple(int(number) for number in tf.make_ndarray(tensor))
    return None


def _plain(value: Any) -> Any:
    """Turns an attribute's value into plain data: a type into its name, a shape into a tuple."""
    if isinstance(value, tf.DType):
        return value.base_dtype.name
    if hasattr(value, "unknown_rank"):
        return None if value.unknown_rank else tuple(None if d.size < 0 else d.size for d in value.dim)
    return value


def view_of_meta_graph(meta_graph: Any) -> GraphView:
    """Returns a view of a MetaGraphDef protocol buffer. Nothing of it is run or imported."""
    nodes = {node.name: node for node in meta_graph.graph_def.node}

    def ops() -> Iterator[Tuple[str, str, Tuple[TensorRef, ...]]]:
        for node in meta_graph.graph_def.node:
            yield node.name, node.op, tuple(_parse_input(text) for text in node.input if not text.startswith("^"))

    def is_controlled(name: str) -> bool:
        return any(text.startswith("^") for text in nodes[name].input)

    def attribute(name: str, key: str) -> Any:
        value = nodes[name].attr[key]
        if value.HasField("b"):
            return value.b
        if value.HasField("type"):
            return tf.as_dtype(value.type).base_dtype.name
        return _plain(value.shape)

    def is_scalar(tensor: TensorRef) -> bool:
        shapes = nodes[tensor.op].attr["_output_shapes"].list.shape
        return tensor.output >= len(shapes) or _plain(shapes[tensor.output]) == ()

    def shape(tensor: TensorRef) -> Optional[Tuple[int, ...]]:
        shapes = nodes[tensor.op].attr["_output_shapes"].list.shape
        found = _plain(shapes[tensor.output]) if tensor.output < len(shapes) else None
        return None if found is None or None in found else found

    def constant(name: str) -> Optional[Tuple[int, ...]]:
        node = nodes[name]
        return _whole_numbers(node.attr["value"].tensor) if node.op == "Const" else None

    collections = {key: names_in_collection(meta_graph, key) for key in _READ_COLLECTIONS}
    slices, values = {}, set()
    for definition in _variables_in(meta_graph, "variables"):
        values.add(definition.snapshot_name.split(":")[0])
        info = definition.save_slice_info_def
        if info.full_name:
            name = definition.variable_name.split(":")[0]
            slices[name] = Slice(info.full_name, tuple(info.full_shape), tuple(info.var_offset))
    library = {function.signature.name: function for function in meta_graph.graph_def.library.function}
    bodies = Bodies(library.get)

    def calls(name: str) -> Tuple[Call, ...]:
        node = nodes[name]
        inputs = sum(not text.startswith("^") for text in node.input)
        return bodies.calls(node.op, inputs, lambda key: node.attr[key].func.name)

    return build_view(
        Flow(ops()),
        collections,
        slices,
        _mirrors_in(nodes, lambda name: nodes[name].op, collections["variables"]),
        values,
        attribute,
        shape,
        is_scalar,
        is_controlled,
        constant,
        calls if library else _no_calls,
        bool(library),
    )


def _mirrors_in(names: Iterable[str], type_of: Callable[[str], str], variables: Collection[str]) -> Dict[str, str]:
    """Returns copies of mirrored variables, each with the first one: collections in files hold the first ones alone."""
    held = {name.split(":")[0] for name in variables}
    found: Dict[str, str] = {}
    for name in names:
        first, _, last = name.rpartition("/replica_")
        if last.isdigit() and first in held and name not in held and type_of(name) in VARIABLE_OPS:
            found[name] = first
    return found


def lost_copies(graph: Any) -> Dict[str, str]:
    """Returns copies of mirrored variables, each with the first one, that a graph knows by their names alone.

    A graph that is imported from a MetaGraph has lost which variables are copies.
    """
    ops = graph._nodes_by_name
    return _mirrors_in(ops, lambda name: str(ops[name].type), [variable.op.name for variable in variables_of(graph)])


def _parse_input(text: str) -> TensorRef:
    name, _, output = text.partition(":")
    return TensorRef(name, int(output or 0))


def names_in_collection(meta_graph: Any, key: str) -> List[str]:
    if key not in meta_graph.collection_def:
        return []
    collection = meta_graph.collection_def[key]
    if collection.HasField("node_list"):
        return list(collection.node_list.value)
    return [definition.variable_name for definition in _variables_in(meta_graph, key)]


def _variables_in(meta_graph: Any, key: str) -> Iterator[Any]:
    if key not in meta_graph.collection_def:
        return
    for value in meta_graph.collection_def[key].bytes_list.value:
        definition = variable_pb2.VariableDef()
        definition.ParseFromString(value)
        yield definition


def captured_variables(body: Any) -> Dict[str, str]:
    """Returns the names of the variables whose handles a function body has captured, by the captures' names."""
    captures = body.captures if hasattr(body, "captures") else body._captured.items()
    found = {}
    for outer, inner in captures:
        while outer.op.type == "Placeholder" and isinstance(outer.graph, func_graph.FuncGraph):
            outer = next(source for source, placeholder in outer.graph.captures if placeholder is outer)
        if outer.op.type == "VarHandleOp":
            found[inner.op.name] = outer.op.name
    return found


def view_of_body(body: Any, variables: Mapping[str, str], outer: GraphView) -> GraphView:
    """Returns a view of a function body that is being built; captured handles stand as the variables they are.

    Args:
        body: its graph.
        variables: what `captured_variables` returned for it.
        outer: view of the graph that holds the variables.
    """
    inner = view_of_graph(body)

    def attribute(name: str, key: str) -> Any:
        return outer.attribute(variables[name], key) if name in variables else inner.attribute(name, key)

    def collection(names: FrozenSet[str]) -> List[str]:
        return [name for name, variable in variables.items() if variable in names]

    return derived_view(
        inner,
        dict.fromkeys(variables, "VarHandleOp"),
        {"trainable_variables": collection(outer.trainable), "variables": collection(outer.saved)},
        attribute,
    )
