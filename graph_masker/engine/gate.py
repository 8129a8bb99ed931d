"""The schedule in the graph: when masks are due, and how sparse they are to be.

Computed in float32, operation by operation as tf.contrib.model_pruning does, so that its curve is ours.
"""

from typing import Any

import tensorflow.compat.v1 as tf

from graph_masker.spec import PruningSpec


def is_due(spec: PruningSpec, step: Any, last_update: Any) -> Any:
    """Tells whether masks are due: no update has been made since the latest scheduled step that is not in the future.

    Args:
        spec: the schedule: begin, every `frequency` steps after it, and end.
        step: int32 scalar, the global step.
        last_update: int32 scalar, the step of the last update, or below 0.

    Returns:
        bool scalar. Also true where a scheduled step was jumped over, as several workers can do.
    """
    since_begin = step - spec.begin_step
    latest = spec.begin_step + since_begin // spec.frequency * spec.frequency
    latest = tf.where(step >= spec.end_step, tf.constant(spec.end_step, tf.int32), latest)
    return tf.logical_and(since_begin >= 0, last_update < latest)


def sparsity_tensor(spec: PruningSpec, step: Any) -> Any:
    """Returns the requested sparsity at a step, a float32 scalar (Zhu & Gupta 2017, equation 1)."""
    span = float(spec.end_step - spec.begin_step)
    progress = tf.cast(step - spec.begin_step, tf.float32) / span
    progress = tf.minimum(1.0, tf.maximum(0.0, progress))
    difference = spec.initial_sparsity - spec.target_sparsity
    return tf.add(difference * tf.pow(1.0 - progress, spec.exponent), spec.target_sparsity, name="sparsity")
