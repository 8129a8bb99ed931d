"""Variables: partitioned ones, what they start from, what they read."""

import contextlib
from typing import Any, Iterator, Sequence, Tuple

import tensorflow.compat.v1 as tf

from graph_masker.tf_compat.distribution import copies_of, place_beside, variables_of, whole_of
from graph_masker.tf_compat.ops import root_variable_scope
from graph_masker.view import Slice


def set_slice(variable: Any, part: Slice, shape: Sequence[int]) -> None:
    """Makes checkpoints hold a variable as part of a whole."""
    info = tf.Variable.SaveSliceInfo(part.full_name, list(part.full_shape), list(part.offset), list(shape))
    variable._set_save_slice_info(info)


def saved_name(variable: Any) -> str:
    """Returns the key under which checkpoints hold a variable: the whole's, for a part of a partitioned one."""
    info = getattr(variable, "_save_slice_info", None)
    return str(info.full_name) if info is not None else str(variable.op.name)


def part_of(variable: Any) -> str:
    """Returns which part of a checkpoint's tensor a variable holds, as savers write it: "4 5 0,2:-"; all of it, ""."""
    info = getattr(variable, "_save_slice_info", None)
    return "" if info is None else str(info.spec)


def variable_named(graph: Any, name: str) -> Any:
    """Returns the global variable of a graph whose op has this name; None where there is none."""
    return next((variable for variable in variables_of(graph) if variable.op.name == name), None)


def copies_named(graph: Any, name: str) -> Tuple[Any, ...]:
    """Returns the variables that the one of this name consists of, as `copies_of`; nothing where there is none."""
    variable = variable_named(graph, name)
    return () if variable is None else copies_of(whole_of(variable))


def step_variable(graph: Any, name: str, initializer: Any, use_resource: bool, beside: Any) -> Any:
    """Returns a graph's int32 scalar of this name, outside of all scopes, adding it if need be; none trains it.

    Args:
        graph: the graph.
        name: of the variable.
        initializer: its own.
        use_resource: whether it is a resource variable.
        beside: a variable that it is to be saved with (see `place_beside`). On its parameter server, workers share it.
    """
    known = variable_named(graph, name)
    if known is not None:
        return known
    place = place_beside(beside)
    with contextlib.ExitStack() as stack:
        stack.enter_context(graph.as_default())
        stack.enter_context(graph.control_dependencies(None))
        stack.enter_context(root_variable_scope())
        stack.enter_context(_undistributed())
        if place:
            stack.enter_context(tf.device(None))
            stack.enter_context(tf.device(place))
        # By get_variable, so that contrib's Pruning finds its own under its name.
        return tf.get_variable(
            name,
            [],
            tf.int32,
            initializer,
            trainable=False,
            collections=[tf.GraphKeys.GLOBAL_VARIABLES],
            use_resource=use_resource,
        )


@contextlib.contextmanager
def _undistributed() -> Iterator[None]:
    """While open, a variable that is made has no copies, whatever strategy the model is built under."""
    graph = tf.get_default_graph()
    with contextlib.ExitStack() as stack:
        if tf.distribute.has_strategy():
            stack.enter_context(tf.device(None))
            creators = graph._variable_creator_stack
            stack.callback(setattr, graph, "_variable_creator_stack", creators)
            graph._variable_creator_stack = []
        yield


def initializer_of(variable: Any) -> Any:
    """Returns the op that initializes a variable: a warm start may leave that op's tensor in its place."""
    return getattr(variable.initializer, "op", variable.initializer)


def load_variable(session: Any, variable: Any, value: Any) -> None:
    """Sets a variable, and every copy of it, without adding an op to its graph."""
    initializers = [initializer_of(copy) for copy in copies_of(whole_of(variable))]
    session.run(initializers, {initializer.inputs[1]: value for initializer in initializers})


def buffer_of(variable: Any) -> Any:
    """Returns the tensor by which a variable is written: its handle, or a reference to its buffer."""
    return variable.op.outputs[0]


def read_of(variable: Any) -> Any:
    """Returns the value that the op made with a variable reads; asked for its value, some variables make another."""
    return variable._graph_element if variable.op.type == "VarHandleOp" else variable._snapshot
