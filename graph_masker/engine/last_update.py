"""The step of the last mask update, which checkpoints hold: a resumed run goes on where the killed one was."""

from typing import Any

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.plan import LAST_UPDATE_STEP

# Before any update. Every step of a schedule lies above it, so that an update at step 0 is not missed.
NEVER = -1


def last_update_step(graph: Any, use_resource: bool, beside: Any) -> Any:
    """Returns the graph's int32 scalar that holds the step of the last mask update, adding it if need be.

    Args:
        graph: the graph.
        use_resource: whether it is to be a resource variable.
        beside: a weight, which it is to lie beside.
    """
    return tf_compat.step_variable(graph, LAST_UPDATE_STEP, tf.constant_initializer(NEVER), use_resource, beside)
