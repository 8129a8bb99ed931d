"""Functions of the graph: made once, called by one op each time."""

import functools
from typing import Any, Callable, Dict, Sequence

import tensorflow.compat.v1 as tf
from tensorflow.python.framework import function as tf_function


class Function:
    """A function of ops. It runs as a whole: no graph optimizer takes it apart or reorders its arithmetic."""

    def __init__(self, body: Callable[..., Any], types: Sequence[Any]) -> None:
        """Args: a function of tensors and the types of these; what is open around it does not reach in."""
        with tf.Graph().as_default():
            self._defined = tf_function.Defun(*types, noinline=True)(in_order(body))
            # Named after the body and all that it does: equal ones share a name, others never do.
            self.name = str(self._defined.name)

    def add_to(self, graph: Any) -> None:
        """Makes the function known to a graph."""
        self._defined.add_to_graph(graph)


# Ops that control flow is made of: these fire by rules of their own.
_CONTROL_FLOW = ("Switch", "Merge", "Enter", "Exit", "NextIteration", "LoopCond")


def in_order(body: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a body whose ops run one after the other, as they were made.

    Nothing is then handed from thread to thread, which takes longer than most ops of an update, and what one op has
    written is in the cache of the processor that runs the next.
    """

    @functools.wraps(body)
    def ordered(*inputs: Any) -> Any:
        outputs = body(*inputs)
        last: Dict[Any, Any] = {}
        for op in tf.get_default_graph().get_operations():
            if op.type in _CONTROL_FLOW or not (op.inputs or op.control_inputs):
                continue
            context = op._get_control_flow_context()
            if context in last:
                op._add_control_input(last[context])
            last[context] = op
        return outputs

    return ordered


def as_function(body: Callable[..., Any], types: Sequence[Any]) -> Function:
    """Returns a graph function."""
    return Function(body, types)
