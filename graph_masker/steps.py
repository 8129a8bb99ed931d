"""Steps that a schedule can go by: what the update reads in place of a global step."""

from typing import Any

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat

# Counts the runs of the train op of a graph that counts nothing itself.
OWN_STEP = "model_pruning/step"


def own_step(graph: Any, like: Any) -> Any:
    """Returns the graph's own counter of training steps, an int32 scalar variable, adding it if need be.

    Args:
        graph: the graph.
        like: the variable whose kind (reference or resource) and place it takes.
    """
    use_resource = like.op.type == "VarHandleOp"
    return tf_compat.step_variable(graph, OWN_STEP, tf.zeros_initializer(), use_resource, like)


class StepAhead:
    """A step that is counted right after the update, which is told the number that it will have.

    Attributes:
        variable: the one that counts.
    """

    def __init__(self, variable: Any, count: Any) -> None:
        """Takes the variable and the op that counts: an addition to it, or an assignment."""
        self.variable = variable
        self._count = count

    def read_value(self) -> Any:
        """Returns the step that is being made."""
        value = self._count.inputs[1]
        if self._count.type.startswith("AssignAdd"):
            value = self.variable.read_value() + value
        return tf.cast(value, tf.int64)


class StepOfItsOwn:
    """A step that is counted whenever it is read.

    Attributes:
        variable: the one that counts.
    """

    def __init__(self, variable: Any) -> None:
        self.variable = variable

    def read_value(self) -> Any:
        """Counts a step and returns its number."""
        return tf.identity(self.variable.assign_add(1))
