"""Functions of the graph: made once, called by one op each time."""

from typing import Any, Callable, Sequence

import tensorflow.compat.v1 as tf
from tensorflow.python.framework import function as tf_function


class Function:
    """A function of ops. It runs as a whole: no graph optimizer takes it apart or reorders its arithmetic."""

    def __init__(self, body: Callable[..., Any], types: Sequence[Any]) -> None:
        """Args: a function of tensors and the types of these; what is open around it does not reach in."""
        with tf.Graph().as_default():
            self._defined = tf_function.Defun(*types, noinline=True)(body)
            # Named after the body and all that it does: equal ones share a name, others never do.
            self.name = str(self._defined.name)

    def add_to(self, graph: Any) -> None:
        """Makes the function known to a graph."""
        self._defined.add_to_graph(graph)


def as_function(body: Callable[..., Any], types: Sequence[Any]) -> Function:
    """Returns a graph function."""
    return Function(body, types)
