"""Sees what is built: gradients, and function bodies."""

import contextlib
from typing import Any, Callable, Iterator, List, Optional, Sequence

import tensorflow.compat.v1 as tf
from tensorflow.python.eager import imperative_grad
from tensorflow.python.framework import func_graph, ops
from tensorflow.python.framework import function as tf_function
from tensorflow.python.ops import gradients_util
from tensorflow.python.util import tf_decorator


class GradientWatcher:
    """What to do around every building of gradients in a graph; to be derived from."""

    def before(self, ys: Sequence[Any]) -> None:
        """Called with the tensors that are about to be differentiated."""

    def after(self, names: Sequence[str]) -> None:
        """Called with the names of the ops that autodiff has made."""

    def gradient_of(self, op: Any, xs: Sequence[str]) -> Optional[Callable[..., Any]]:
        """Returns the gradient function of an op, where it is not to be TensorFlow's own.

        `xs`: names of the ops by whose tensors is differentiated.
        """
        return None

    def before_tape(self, variables: Sequence[str], nested: bool) -> None:
        """Called with the names of resource variables, by which a tape is asked to differentiate.

        `nested`: within another building of gradients, as recompute_grad does it.
        """

    def after_tape(self, names: Sequence[str], gradients: Sequence[Any]) -> Sequence[Any]:
        """Called like `after`, with what the tape found; returns what to return in its place."""
        return gradients


@contextlib.contextmanager
def around_gradients(watcher_of: Callable[[Any], Optional[GradientWatcher]]) -> Iterator[None]:
    """While open, tells the watcher of a graph, where it has one, of every building of gradients in that graph.

    tf.gradients and every optimizer reach TensorFlow's one implementation through its module, so that replacing it
    there sees them all; likewise tapes. Gradients of function bodies are built in graphs of their own and pass.
    """
    original, of_tape = gradients_util._GradientsHelper, imperative_grad.imperative_grad
    depth = [0]

    def new_ops(graph: Any, first: int) -> List[str]:
        numbers = range(first + 1, graph._next_id_counter + 1)
        return [graph._nodes_by_id[number].name for number in numbers if number in graph._nodes_by_id]

    def helper(ys: Any, xs: Any, *args: Any, **kwargs: Any) -> Any:
        graph = tf.get_default_graph()
        watcher = watcher_of(graph)
        if watcher is None:
            return original(ys, xs, *args, **kwargs)
        watching = watcher
        watcher.before(list(ys) if isinstance(ys, (list, tuple)) else [ys])
        names = [x.op.name for x in (xs if isinstance(xs, (list, tuple)) else [xs]) if hasattr(x, "op")]
        first = graph._next_id_counter
        depth[0] += 1
        try:
            with _gradient_functions(lambda op: watching.gradient_of(op, names)):
                result = original(ys, xs, *args, **kwargs)
        finally:
            depth[0] -= 1
        watcher.after(new_ops(graph, first))
        return result

    def tape_helper(tape: Any, target: Any, sources: Any, *args: Any, **kwargs: Any) -> Any:
        graph = tf.get_default_graph()
        watcher = None if tf.executing_eagerly() else watcher_of(graph)
        if watcher is None:
            return of_tape(tape, target, sources, *args, **kwargs)
        handles = [tensor.op.name for tensor in sources if tensor.dtype == tf.resource]
        watcher.before_tape(handles, bool(depth[0]))
        first = graph._next_id_counter
        result = of_tape(tape, target, sources, *args, **kwargs)
        return watcher.after_tape(new_ops(graph, first), result)

    gradients_util._GradientsHelper, imperative_grad.imperative_grad = helper, tape_helper
    try:
        yield
    finally:
        gradients_util._GradientsHelper, imperative_grad.imperative_grad = original, of_tape


@contextlib.contextmanager
def _gradient_functions(of: Callable[[Any], Optional[Callable[..., Any]]]) -> Iterator[None]:
    """While open, autodiff takes the gradient functions of ops from `of`, and from its registry where that has none."""
    original = ops.get_gradient_function
    ops.get_gradient_function = lambda op: of(op) or original(op)
    try:
        yield
    finally:
        ops.get_gradient_function = original


@contextlib.contextmanager
def around_functions(built_in: Callable[[Any], Optional[Callable[[Any, List[Any]], None]]]) -> Iterator[None]:
    """While open, calls `built_in(graph)(body graph, its outputs)` when a function body has been built within a graph.

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
            # What a body captures from a program that executes eagerly is no variable of a graph.
            passes = depth[0] or ops.executing_eagerly_outside_functions()
            built = None if passes else built_in(_outermost(body))
            if built is not None:
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
