"""The mask update: on schedule, exact to the entry, in plain TensorFlow ops.

The magnitude criterion and the schedule are Zhu & Gupta (2017). Sparsity and counts are computed in float32,
operation by operation as tf.contrib.model_pruning does, so that with distinct magnitudes its masks are ours.
"""

import contextlib
from typing import Any, Callable, Dict, List, Sequence, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.plan import LAST_UPDATE_STEP
from graph_masker.schedule import FLOAT32_EXACT_ENTRIES
from graph_masker.spec import PruningSpec
from graph_masker.surgery import MaskedVariable

# Before any update. Every step of a schedule lies above it, so that an update at step 0 is not missed.
NEVER = -1


def last_update_step(graph: Any, use_resource: bool) -> Any:
    """Returns the graph's int32 scalar that holds the step of the last mask update, adding it if need be."""
    for variable in graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES):
        if variable.op.name == LAST_UPDATE_STEP:
            return variable
    with graph.as_default(), graph.control_dependencies(None), tf_compat.root_variable_scope():
        # By get_variable, so that contrib's Pruning finds it under this name.
        return tf.get_variable(
            LAST_UPDATE_STEP,
            [],
            tf.int32,
            tf.constant_initializer(NEVER),
            trainable=False,
            collections=[tf.GraphKeys.GLOBAL_VARIABLES],
            use_resource=use_resource,
        )


def build_update(
    graph: Any,
    masked: Sequence[MaskedVariable],
    spec: PruningSpec,
    global_step: Any,
    last_update: Any,
    after: Sequence[Any],
) -> Any:
    """Adds the conditional update of all masks and returns its op.

    Args:
        graph: the graph to add to.
        masked: the sites to update.
        spec: schedule and target.
        global_step: the model's global step variable.
        last_update: what `last_update_step` returned.
        after: ops or tensors that the update waits for: weights and step are read once they have run.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(graph.as_default())
        stack.enter_context(graph.name_scope("model_pruning/"))
        stack.enter_context(graph.control_dependencies(list(after)))
        stack.enter_context(tf_compat.first_control_flow())
        # Grappler moves a narrowing Cast of an Identity to before it, past `after`, and the update would see the step
        # before this one (ref variables, TensorFlow 1.15). It moves none across the Maximum.
        step = tf.cast(tf.maximum(global_step.read_value(), 0), tf.int32, name="step")
        with graph.control_dependencies([step]):
            due = is_due(spec, step, last_update.read_value())
        # Outside the cond, as contrib has it: inside, Grappler folds the 1 - (x + target) of the count into other
        # constants, and a count that lies halfway between two rounds differently.
        sparsity = sparsity_tensor(spec, step)

        def update() -> Any:
            select: Dict[Any, Callable[..., Any]] = {}
            assigns: List[Any] = []
            for parts in _wholes(masked):
                dtype = parts[0].weight.dtype.base_dtype
                if dtype not in select:
                    select[dtype] = _selection(dtype)
                assigns.extend(_assign(parts, select[dtype], sparsity))
            with tf.control_dependencies(assigns):
                return tf.group(last_update.assign(step))

        return tf.group(tf.cond(due, update, tf.no_op), name="update_masks")


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


def kept_entries_tensor(entries: Any, sparsity: Any) -> Any:
    """Returns how many entries stay, an int32 scalar: see `schedule.kept_entries`.

    Args:
        entries: int32 scalar, the number of entries.
        sparsity: float32 scalar.
    """
    density = 1.0 - sparsity
    single = tf.round(tf.cast(entries, tf.float32) * density)
    double = tf.round(tf.cast(entries, tf.float64) * tf.cast(density, tf.float64))
    kept = tf.where(entries <= FLOAT32_EXACT_ENTRIES, tf.cast(single, tf.int32), tf.cast(double, tf.int32))
    return tf.maximum(kept, 1)


def _selection(dtype: Any) -> Callable[..., Any]:
    """Returns a function (weight, sparsity) -> (mask, threshold), one call op per weight.

    The mask keeps the k entries of largest magnitude; among equal magnitudes those of lowest index. The
    threshold is the magnitude of the k-th.
    """
    # Half precision widens exactly, and has no kernel for every op below.
    work = dtype if dtype in (tf.float32, tf.float64) else tf.float32

    def select(weight: Any, sparsity: Any) -> Tuple[Any, Any]:
        magnitude = tf.reshape(tf.abs(tf.cast(weight, work)), [-1])
        kept = kept_entries_tensor(tf.size(magnitude), sparsity)
        threshold = tf_compat.nth_element(magnitude, tf.size(magnitude) - kept)
        above = magnitude > threshold
        equal = tf.equal(magnitude, threshold)
        room = kept - tf.reduce_sum(tf.cast(above, tf.int32))
        is_early = tf.cumsum(tf.cast(equal, tf.int32)) <= room
        mask = tf.logical_or(above, tf.logical_and(equal, is_early))
        return tf.reshape(tf.cast(mask, dtype), tf.shape(weight)), tf.cast(threshold, dtype)

    return tf_compat.as_function(select, f"graph_masker_select_{dtype.name}", (dtype, tf.float32))


def _wholes(masked: Sequence[MaskedVariable]) -> List[List[MaskedVariable]]:
    """Groups the parts of partitioned weights, in order: their entries are ranked together."""
    groups: Dict[str, List[MaskedVariable]] = {}
    for item in masked:
        part = item.site.part
        groups.setdefault(item.site.variable if part is None else part.full_name, []).append(item)
    return [
        sorted(group, key=lambda item: item.site.part.offset if item.site.part else ()) for group in groups.values()
    ]


def _assign(parts: Sequence[MaskedVariable], select: Callable[..., Any], sparsity: Any) -> List[Any]:
    first = parts[0]
    with tf.name_scope(first.site.variable), tf_compat.beside(first.weight):
        axis = _partitioned_axis(parts)
        weights = [item.weight.read_value() for item in parts]
        mask, threshold = select(weights[0] if len(weights) == 1 else tf.concat(weights, axis), sparsity)
        threshold.set_shape([])
        masks = [mask] if len(parts) == 1 else tf.split(mask, [item.site.shape[axis] for item in parts], axis)
        assigns = [first.threshold.assign(threshold)]
        for item, value in zip(parts, masks):
            value.set_shape(item.site.shape)
            assigns.append(item.mask.assign(value))
        return assigns


def _partitioned_axis(parts: Sequence[MaskedVariable]) -> int:
    """Returns the axis along which the parts of a weight lie; 0 where there is one."""
    offsets = [item.site.part.offset for item in parts if item.site.part is not None]
    differing = [axis for axis, starts in enumerate(zip(*offsets)) if len(set(starts)) > 1]
    return differing[0] if differing else 0
