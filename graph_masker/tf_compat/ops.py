"""New ops: where they go, and what they are."""

import contextlib
import gc
from typing import Any, Callable, Dict, Iterable, Iterator, List, Sequence, Tuple

import tensorflow.compat.v1 as tf
from tensorflow.python.framework import function as tf_function
from tensorflow.python.ops import control_flow_ops, control_flow_util, gen_logging_ops, gen_math_ops, nn_ops


def outlined(body: Callable[..., Any], types: Sequence[Any]) -> Callable[..., Any]:
    """Returns a graph function for a rarely taken branch: there it is one op that is skipped, instead of many.

    It is named after what it holds, so that the same body twice is one function.
    """
    function: Callable[..., Any] = tf_function.Defun(*types, noinline=True)(body)
    return function


def choose(condition: Any, one: Any, other: Any) -> Any:
    """Returns one of two scalars. For these, tf.where_v2, which broadcasts, takes several times as long."""
    return tf.where(condition, one, other)


def nth_element(values: Any, n: Any) -> Any:
    """Returns the n-th smallest of a vector (n from 0), exactly, in linear time."""
    return nn_ops.nth_element(values, n)


def empty(shape: Sequence[Any], dtype: Any) -> Any:
    """Returns a tensor to be filled: what it holds is not defined."""
    # There is no kernel for bfloat16.
    stored = tf.half if dtype == tf.bfloat16 else dtype
    return tf.bitcast(tf.raw_ops.Empty(shape=tf.stack(shape), dtype=stored), dtype)


def set_rows(rows: Any, indices: Any, values: Any) -> Any:
    """Writes into some rows of a matrix, in place, and returns it: nothing else may read what it held before.

    Args:
        rows: the matrix.
        indices: int32 vector.
        values: a row for each of them.
    """
    return tf.raw_ops.InplaceUpdate(x=rows, i=indices, v=values)


def add_at(values: Any, indices: Any, numbers: Any) -> Any:
    """Adds to some entries of a vector, in place where nothing else reads it, and returns the vector.

    Args:
        values: float vector.
        indices: int64 vector.
        numbers: what to add at each index, like `values`.
    """
    return tf.raw_ops.ScatterNdNonAliasingAdd(input=values, indices=indices[:, tf.newaxis], updates=numbers)


def failing_unless(condition: Any, words: Sequence[Any]) -> Any:
    """Returns an op that fails with a message of some tensors, up to 20 entries of each, unless a condition holds."""
    return gen_logging_ops._assert(condition, [tf.convert_to_tensor(word) for word in words], 20, name="Assert")


def scalar_summaries(tags: Sequence[str], values: Any) -> Any:
    """Returns a summary of many scalars, by one op.

    Args:
        tags: names, [n].
        values: float tensor of shape [n].
    """
    return gen_logging_ops.scalar_summary(list(tags), values)


def bincount(values: Any, bins: Any) -> Any:
    """Returns how often each of 0 ... bins - 1 occurs in an int32 vector, which holds nothing below 0."""
    return gen_math_ops.bincount(values, bins, tf.constant([], tf.int32))


def free_scope(graph: Any, name: str) -> str:
    """Returns a name scope, below the current one, that no op lies in.

    Of scopes that were imported, a graph does not know that they are taken.
    """
    while True:
        scope = str(graph.unique_name(name))
        if not any(op.startswith(f"{scope}/") for op in graph._nodes_by_name):
            return scope


@contextlib.contextmanager
def root_variable_scope() -> Iterator[None]:
    """A context in which variables get the names that they are given, whatever scopes are open."""
    scope = tf.VariableScope(reuse=False, name="")
    with tf.name_scope(None), tf.variable_scope(scope, auxiliary_name_scope=False):
        yield


@contextlib.contextmanager
def first_control_flow() -> Iterator[None]:
    """While open, conds and loops are ops of this graph (Switch, Merge), not functions, whatever is enabled."""
    enabled = control_flow_util.ENABLE_CONTROL_FLOW_V2
    control_flow_util.ENABLE_CONTROL_FLOW_V2 = False
    try:
        yield
    finally:
        control_flow_util.ENABLE_CONTROL_FLOW_V2 = enabled


def switch(value: Any, condition: Any) -> Tuple[Any, Any]:
    """Returns a value for where a condition does not hold, and for where it does; the other one is dead."""
    return tuple(tf.identity(output) for output in control_flow_ops.switch(value, condition))  # type: ignore


def merge(*values: Any) -> Any:
    """Returns whichever of some values is not dead."""
    return control_flow_ops.merge(values)[0]


@contextlib.contextmanager
def paused_collector() -> Iterator[None]:
    """While open, Python's garbage collector rests: it would walk the model's whole graph again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


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


def has_op(graph: Any, name: str) -> bool:
    """Tells whether a graph has an op of a name."""
    return name in graph._nodes_by_name


def collections_of(graph: Any, names: Iterable[str]) -> Dict[str, List[Any]]:
    """Returns copies of a graph's collections."""
    return {name: list(graph.get_collection(name)) for name in names}
