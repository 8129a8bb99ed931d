"""The only file that names TensorFlow's private API, and the only one that knows which TensorFlow it is (1.15)."""

import contextlib
import copy
import functools
import types
from typing import Any, Callable, Dict, FrozenSet, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

import tensorflow.compat.v1 as tf
from tensorflow.core.framework import variable_pb2
from tensorflow.python.eager import imperative_grad
from tensorflow.python.framework import func_graph
from tensorflow.python.framework import function as tf_function
from tensorflow.python.ops import control_flow_util, gradients_util, nn_ops
from tensorflow.python.ops import variables as variables_lib
from tensorflow.python.util import tf_decorator
from tensorflow_estimator.python.estimator import estimator as estimator_lib

from graph_masker.bodies import Bodies
from graph_masker.view import Call, GraphView, Slice, TensorRef, build_view

_READ_COLLECTIONS = (
    "variables",
    "trainable_variables",
    "local_variables",
    "regularization_losses",
    "masks",
    "masked_weights",
)


def view_of_graph(graph: Any) -> GraphView:
    """Returns a view of a `tf.Graph` as it is now."""
    # Names and types come through TensorFlow's C interface, at two microseconds a call: each is asked for once.
    names = {op: op.name for op in graph.get_operations()}

    def ops() -> Iterator[Tuple[str, str, Tuple[TensorRef, ...]]]:
        for op, name in names.items():
            yield name, op.type, tuple(TensorRef(names[tensor.op], tensor.value_index) for tensor in op.inputs)

    def is_controlled(name: str) -> bool:
        return bool(graph.get_operation_by_name(name).control_inputs)

    def attribute(name: str, key: str) -> Any:
        return _plain(graph.get_operation_by_name(name).get_attr(key))

    def is_scalar(tensor: TensorRef) -> bool:
        return bool(graph.get_tensor_by_name(tensor.name).shape.ndims == 0)

    def shape(tensor: TensorRef) -> Optional[Tuple[int, ...]]:
        static = graph.get_tensor_by_name(tensor.name).shape
        return tuple(static.as_list()) if static.is_fully_defined() else None

    collections = {
        key: [item.name for item in graph.get_collection(key) if hasattr(item, "name")] for key in _READ_COLLECTIONS
    }
    slices, values = {}, set()
    for variable in graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES):
        info = getattr(variable, "_save_slice_info", None)
        if info is not None:
            slices[variable.op.name] = Slice(info.full_name, tuple(info.full_shape), tuple(info.var_offset))
        for attribute_name in ("_graph_element", "_cached_value", "_snapshot"):
            value = getattr(variable, attribute_name, None)
            if isinstance(value, tf.Tensor):
                values.add(value.op.name)
    bodies = Bodies(lambda name: graph._functions[name].definition if name in graph._functions else None)

    def calls(name: str) -> Tuple[Call, ...]:
        op = graph.get_operation_by_name(name)
        return bodies.calls(op.type, len(op.inputs), lambda key: op.get_attr(key).name)

    return build_view(ops(), collections, slices, values, attribute, shape, is_scalar, is_controlled, calls)


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

    collections = {key: _names_in(meta_graph, key) for key in _READ_COLLECTIONS}
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

    return build_view(ops(), collections, slices, values, attribute, shape, is_scalar, is_controlled, calls)


def _parse_input(text: str) -> TensorRef:
    name, _, output = text.partition(":")
    return TensorRef(name, int(output or 0))


def _names_in(meta_graph: Any, key: str) -> List[str]:
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


def as_function(body: Callable[..., Any], name: str, types: Sequence[Any]) -> Callable[..., Any]:
    """Returns a graph function: each call of it adds one op."""
    function: Callable[..., Any] = tf_function.Defun(*types, func_name=name)(body)
    return function


def nth_element(values: Any, n: Any) -> Any:
    """Returns the n-th smallest of a vector (n from 0), exactly, in linear time."""
    return nn_ops.nth_element(values, n)


@contextlib.contextmanager
def root_variable_scope() -> Iterator[None]:
    """A context in which variables get the names that they are given, whatever scopes are open."""
    scope = tf.VariableScope(reuse=False, name="")
    with tf.name_scope(None), tf.variable_scope(scope, auxiliary_name_scope=False):
        yield


def beside(variable: Any) -> Any:
    """A context in which new ops are colocated with a variable."""
    return tf.get_default_graph().colocate_with(variable.op, ignore_existing=True)


def update_input(op: Any, index: int, tensor: Any) -> None:
    """Makes input `index` of an op read another tensor."""
    op._update_input(index, tensor)


@contextlib.contextmanager
def outside_everything(graph: Any, like: Any) -> Iterator[None]:
    """New ops go beside op `like`: no name scope, control flow or control dependency applies to them."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(graph.as_default())
        stack.enter_context(graph.control_dependencies(None))
        stack.enter_context(graph.name_scope(None))
        stack.enter_context(graph.colocate_with(like, ignore_existing=True))
        yield


@contextlib.contextmanager
def in_context_of(graph: Any, op: Any) -> Iterator[None]:
    """New ops go into the loop or cond that holds the outputs of `op`, and nothing else applies to them."""
    with graph.as_default(), graph.control_dependencies(None), graph.name_scope(None):
        graph._set_control_flow_context(control_flow_util.GetOutputContext(op))
        try:
            yield
        finally:
            graph._set_control_flow_context(None)


def twin_of(op: Any, inputs: Sequence[Any], name: str) -> Any:
    """Adds an op that equals `op` but for its inputs: type, attributes, control inputs, place, loop or cond."""
    graph, definition = op.graph, op.node_def
    attributes = {key: value for key, value in definition.attr.items() if not key.startswith("_output_shapes")}
    with in_context_of(graph, op), graph.control_dependencies(op.control_inputs), graph.device(op.device or None):
        twin = graph.create_op(
            op.type,
            list(inputs),
            [tensor.dtype for tensor in op.outputs],
            input_types=[tensor.dtype for tensor in inputs],
            name=name,
            attrs=attributes,
            op_def=op.op_def,
            compute_device=False,
        )
    for tensor, original in zip(twin.outputs, op.outputs):
        tensor.set_shape(original.shape)
    return twin


def mark_names_as_used(graph: Any, names: Iterable[str]) -> None:
    """Makes ops that are created later under these names get other ones. Absolute names bypass that."""
    for name in names:
        graph.unique_name(name)


def set_slice(variable: Any, part: Slice, shape: Sequence[int]) -> None:
    """Makes checkpoints hold a variable as part of a whole."""
    info = tf.Variable.SaveSliceInfo(part.full_name, list(part.full_shape), list(part.offset), list(shape))
    variable._set_save_slice_info(info)


def saved_name(variable: Any) -> str:
    """Returns the key under which checkpoints hold a variable: the whole's, for a part of a partitioned one."""
    info = getattr(variable, "_save_slice_info", None)
    return str(info.full_name) if info is not None else str(variable.op.name)


def part_of(variable: Any, value: Any) -> Any:
    """Returns the part of a checkpoint's array that a variable holds."""
    info = getattr(variable, "_save_slice_info", None)
    if info is None:
        return value
    return value[tuple(slice(start, start + size) for start, size in zip(info.var_offset, info.var_shape))]


def writers_of(graph: Any, variables: Sequence[Any]) -> List[Any]:
    """Returns the ops by which training writes variables and the global step; empty where nothing trains them."""
    trainers = [op for variable in variables for op in _written_by(variable, ("Apply", "ResourceApply"))]
    step = tf.train.get_global_step(graph)
    if not trainers or step is None:
        return []
    return [*trainers, *_written_by(step, ("AssignAdd",))]


def _written_by(variable: Any, prefixes: Tuple[str, ...]) -> List[Any]:
    tensor = variable.handle if variable.op.type == "VarHandleOp" else variable._ref()
    return [op for op in tensor.consumers() if op.type.startswith(prefixes) and op.inputs[0] is tensor]


class GradientWatcher:
    """What to do around every building of gradients in a graph; to be derived from."""

    def before(self, ys: Sequence[Any]) -> None:
        """Called with the tensors that are about to be differentiated."""

    def after(self, names: Sequence[str]) -> None:
        """Called with the names of the ops that autodiff has made."""

    def before_tape(self, variables: Sequence[str], nested: bool) -> None:
        """Called with the names of resource variables, by which a tape is asked to differentiate.

        `nested`: within another building of gradients, as recompute_grad does it.
        """

    def after_tape(self, names: Sequence[str], gradients: Sequence[Any]) -> Sequence[Any]:
        """Called like `after`, with what the tape found; returns what to return in its place."""
        return gradients


@contextlib.contextmanager
def around_gradients(graph: Any, watcher: GradientWatcher) -> Iterator[None]:
    """While open, tells a watcher of every building of gradients in `graph`.

    tf.gradients and every optimizer reach TensorFlow's one implementation through its module, so that replacing it
    there sees them all; likewise tapes. Gradients of function bodies are built in graphs of their own and pass.
    """
    original, of_tape = gradients_util._GradientsHelper, imperative_grad.imperative_grad
    depth = [0]

    def new_ops(first: int) -> List[str]:
        numbers = range(first + 1, graph._next_id_counter + 1)
        return [graph._nodes_by_id[number].name for number in numbers if number in graph._nodes_by_id]

    def helper(ys: Any, xs: Any, *args: Any, **kwargs: Any) -> Any:
        if tf.get_default_graph() is not graph:
            return original(ys, xs, *args, **kwargs)
        watcher.before(list(ys) if isinstance(ys, (list, tuple)) else [ys])
        first = graph._next_id_counter
        depth[0] += 1
        try:
            result = original(ys, xs, *args, **kwargs)
        finally:
            depth[0] -= 1
        watcher.after(new_ops(first))
        return result

    def tape_helper(tape: Any, target: Any, sources: Any, *args: Any, **kwargs: Any) -> Any:
        if tf.executing_eagerly() or tf.get_default_graph() is not graph:
            return of_tape(tape, target, sources, *args, **kwargs)
        handles = [tensor.op.name for tensor in sources if tensor.dtype == tf.resource]
        watcher.before_tape(handles, bool(depth[0]))
        first = graph._next_id_counter
        result = of_tape(tape, target, sources, *args, **kwargs)
        return watcher.after_tape(new_ops(first), result)

    gradients_util._GradientsHelper, imperative_grad.imperative_grad = helper, tape_helper
    try:
        yield
    finally:
        gradients_util._GradientsHelper, imperative_grad.imperative_grad = original, of_tape


@contextlib.contextmanager
def around_functions(graph: Any, built: Callable[[Any, List[Any]], None]) -> Iterator[None]:
    """While open, calls `built(body graph, its outputs)` when a function body has been built within `graph`.

    That is before the body becomes a function, so that it can still be changed and take in more captures. Bodies of
    gradients are autodiff's, and pass.
    """
    new, old = func_graph.func_graph_from_py_func, tf_function.func_graph_from_py_func
    differentiate = gradients_util._GradientsHelper
    depth = [0]

    def gradients(*args: Any, **kwargs: Any) -> Any:
        depth[0] += 1
        try:
            return differentiate(*args, **kwargs)
        finally:
            depth[0] -= 1

    def watching(python_func: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            # Not `python_func`: AutoGraph puts what it makes of that in this place.
            result = decorated.__wrapped__(*args, **kwargs)
            body = tf.get_default_graph()
            if not depth[0] and _outermost(body) is graph:
                tensors = [item for item in tf.nest.flatten(result) if isinstance(item, tf.Tensor)]
                built(body, [tensor for tensor in tensors if tensor.graph is body])
            return result

        decorated: Any = tf_decorator.make_decorator(python_func, watched)
        return decorated  # type: ignore[no-any-return]

    def of_func_graph(name: Any, python_func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return new(name, watching(python_func), *args, **kwargs)

    def of_defun(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return old(watching(func), *args, **kwargs)

    func_graph.func_graph_from_py_func, tf_function.func_graph_from_py_func = of_func_graph, of_defun
    gradients_util._GradientsHelper = gradients
    try:
        yield
    finally:
        func_graph.func_graph_from_py_func, tf_function.func_graph_from_py_func = new, old
        gradients_util._GradientsHelper = differentiate


def _outermost(graph: Any) -> Any:
    while getattr(graph, "outer_graph", getattr(graph, "_outer_graph", None)) is not None:
        graph = getattr(graph, "outer_graph", None) or graph._outer_graph
    return graph


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

    return build_view(
        ((n.name, "VarHandleOp" if n.name in variables else n.op_type, n.inputs) for n in inner.nodes.values()),
        {"trainable_variables": collection(outer.trainable), "variables": collection(outer.saved)},
        {},
        (),
        attribute,
        inner.shape,
        inner.is_scalar,
        inner.is_controlled,
        inner.calls,
    )


@contextlib.contextmanager
def recorded_savers(graph: Any) -> Iterator[List[Any]]:
    """Yields a list that takes in every saver made in `graph` while open."""
    original = tf.train.Saver.__init__
    made: List[Any] = []

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if tf.get_default_graph() is graph:
            made.append(self)

    tf.train.Saver.__init__ = init
    try:
        yield made
    finally:
        tf.train.Saver.__init__ = original


def set_scaffold_saver(scaffold: Any, saver: Any) -> None:
    """Gives a Scaffold that has no saver one. In place: hooks may hold the same Scaffold."""
    scaffold._saver = saver


def saver_variables(saver: Any) -> List[Any]:
    """Returns the variables that a built saver saves."""
    items = saver._var_list
    found = items.values() if isinstance(items, dict) else items or []
    return [variable for item in found for variable in _parts(item)]


def _parts(item: Any) -> List[Any]:
    """Returns the variables of a saver's item: itself, or those that a partitioned variable consists of."""
    return list(item) if isinstance(item, (list, tuple, variables_lib.PartitionedVariable)) else [item]


def saver_is_built(saver: Any) -> bool:
    """Tells whether a saver has its ops. One that has not will take in all variables when it gets them."""
    return bool(saver._is_built)


def extend_saver(saver: Any, variables: Sequence[Any]) -> None:
    """Makes a built saver hold more variables. In place: hooks may hold the same saver."""
    items = saver._var_list
    if isinstance(items, dict):
        added: Dict[str, Any] = {}
        for variable in variables:
            name = saved_name(variable)
            if name == variable.op.name:
                added[name] = variable
            else:
                added.setdefault(name, []).append(variable)
        saver._var_list = {**items, **added}
    else:
        saver._var_list = [*items, *variables]
    saver.saver_def = None
    saver._is_built = False
    saver.build()


def saver_without(saver: Any, names: Iterable[str]) -> Any:
    """Returns a new saver for what a built one restores, less the variables of these op names. None if empty."""
    dropped = set(names)
    items = saver._var_list
    if isinstance(items, dict):
        kept: Any = {key: item for key, item in items.items() if not dropped.intersection(_op_names(item))}
    else:
        kept = [item for item in items if not dropped.intersection(_op_names(item))]
    if not kept:
        return None
    return tf.train.Saver(kept, sharded=saver._sharded, reshape=saver._reshape)


def _op_names(item: Any) -> List[str]:
    return [str(getattr(getattr(part, "op", part), "name", "")) for part in _parts(item)]


def replace_method(instance: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replaces one bound method of one object by `make(original)`; its class stays untouched."""
    original = getattr(instance, name)
    replacement = make(original)
    setattr(instance, name, types.MethodType(lambda _, *args, **kwargs: replacement(*args, **kwargs), instance))


def wrap_estimators(wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """From now on every Estimator of this process, of whatever subclass, gets `wrap(model_fn)` for its model_fn."""
    original = estimator_lib.Estimator.__init__

    @functools.wraps(original)
    def init(self: Any, model_fn: Any, *args: Any, **kwargs: Any) -> None:
        original(self, wrap(model_fn), *args, **kwargs)

    estimator_lib.Estimator.__init__ = init


def estimator_with(estimator: Any, model_fn: Callable[..., Any]) -> Any:
    """Returns a copy of an Estimator with another model_fn: same class, configuration, directory, parameters."""
    result = copy.copy(estimator)
    result._model_fn = model_fn
    return result


def estimator_model_fn(estimator: Any) -> Callable[..., Any]:
    """Returns the model_fn that an Estimator was given."""
    model_fn: Callable[..., Any] = estimator._model_fn
    return model_fn


def collections_of(graph: Any, names: Iterable[str]) -> Dict[str, List[Any]]:
    """Returns copies of a graph's collections."""
    return {name: list(graph.get_collection(name)) for name in names}
