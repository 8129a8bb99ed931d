"""The schedule in the graph: when masks are due, and how sparse they are to be.

Computed in float32, operation by operation as tf.contrib.model_pruning does, so that its curve is ours.
"""

from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.spec import PruningSpec
from graph_masker.spec.settings import LAST_STEP, POLYNOMIAL, SMALLEST_PROPORTION


def schedule_step(global_step: Any, spec: PruningSpec) -> Any:
    """Returns a global step as the schedule counts, int32 scalar "step": from 0 on, and up to the largest int32.

    A schedule that has ended by then needs no more; one without an end cannot go on, and the op fails.

    Args:
        global_step: int32 or int64 scalar; where the step is read after something, this has been waited for.
        spec: the schedule.
    """
    # Grappler moves a narrowing Cast of an Identity to before it, past what it waits for, and the update would see the
    # step before this one (ref variables, TensorFlow 1.15). It moves none across the Maximum.
    held = tf.minimum(tf.maximum(global_step, 0), LAST_STEP)
    waiting = []
    if spec.last_step is None and global_step.dtype == tf.int64:
        message = "graph_masker: mask updates count steps up to 2147483647, and the schedule has no end_step; found"
        remedy = "give the spec an end_step, or start from a lower global step"
        waiting.append(tf_compat.failing_unless(global_step <= LAST_STEP, [message, global_step, remedy]))
    with tf.control_dependencies(waiting):
        return tf.cast(held, tf.int32, name="step")


def is_due(spec: PruningSpec, step: Any, last_update: Any) -> Any:
    """Tells whether masks are due: no update has been made since the latest scheduled step that is not in the future.

    Args:
        spec: the schedule: begin, every `frequency` steps after it, and end, if there is one.
        step: int32 scalar, the global step.
        last_update: int32 scalar, the step of the last update, or below 0.

    Returns:
        bool scalar. Also true where a scheduled step was jumped over, as several workers can do.
    """
    if spec.last_step == spec.begin_step:
        return tf.logical_and(step >= spec.begin_step, last_update < spec.begin_step)
    since_begin = step - spec.begin_step
    latest = spec.begin_step + since_begin // spec.frequency * spec.frequency
    if spec.last_step is not None:
        latest = tf.where_v2(step >= spec.last_step, tf.constant(spec.last_step, tf.int32), latest)
    return tf.logical_and(since_begin >= 0, last_update < latest)


def sparsity_tensor(spec: PruningSpec, step: Any) -> Any:
    """Returns the sparsity that the spec requests at a step at which masks are due, a float32 scalar.

    The polynomial is Zhu & Gupta's (2017), equation 1.
    """
    if spec.schedule == POLYNOMIAL:
        begin, end = spec.curve
        progress = tf.cast(step - begin, tf.float32) / float(end - begin)
        progress = tf.minimum(1.0, tf.maximum(0.0, progress))
        difference = spec.initial_sparsity - spec.target_sparsity
        return tf.add(difference * tf.pow(1.0 - progress, spec.exponent), spec.target_sparsity, name="sparsity")
    if spec.values is None:
        return tf.constant(spec.target_sparsity, tf.float32, name="sparsity")
    assert spec.end_step is not None, "a list of values has an end"
    latest = tf.minimum((step - spec.begin_step) // spec.frequency, len(spec.values) - 2)
    index = tf.where_v2(step >= spec.end_step, len(spec.values) - 1, latest)
    return tf.gather(tf.constant(np.asarray(spec.values, np.float32)), index, name="sparsity")


def weight_sparsity_tensor(spec: PruningSpec, sparsity: Any, target: float, step: Any) -> Any:
    """Returns the sparsity requested of weights with a target of their own: see `schedule.weight_sparsities_at`.

    Args:
        spec: the schedule.
        sparsity: what `sparsity_tensor` returned.
        target: fraction of zeros at the end of the curve.
        step: int32 scalar.
    """
    if target == spec.target_sparsity:
        return sparsity
    if spec.target_sparsity < SMALLEST_PROPORTION:
        return tf.constant(target, tf.float32)
    scaled = tf.minimum(sparsity * (np.float32(target) / np.float32(spec.target_sparsity)), 1.0)
    return tf.where_v2(step >= spec.curve[1], tf.constant(target, tf.float32), scaled)
