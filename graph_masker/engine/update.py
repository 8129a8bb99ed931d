"""Builds the conditional update of all masks.

    train op -> step -> due -> Switch -> pivot ..> read weight -> select -> assign mask, assign threshold
                                  \\-> (not due) -> Merge -> update_masks

The ops of a weight wait for the pivot by a control dependency, which is dead where no update is due, and so are they.
A tf.cond would do the same, but give every variable a Switch of its own.
"""

import contextlib
from typing import Any, Dict, List, Sequence

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.engine.gate import is_due, sparsity_tensor
from graph_masker.engine.selection import selection
from graph_masker.spec import PruningSpec
from graph_masker.surgery import MaskedVariable


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
        with graph.control_dependencies(list(after)):
            # Grappler moves a narrowing Cast of an Identity to before it, past `after`, and the update would see the
            # step before this one (ref variables, TensorFlow 1.15). It moves none across the Maximum.
            step = tf.cast(tf.maximum(global_step.read_value(), 0), tf.int32, name="step")
        with graph.control_dependencies([step]):
            due = is_due(spec, step, last_update.read_value())
        idle_step, due_step = tf_compat.switch(step, due)
        with graph.control_dependencies([due_step]):
            sparsity = sparsity_tensor(spec, due_step)
        with tf_compat.Nodes(graph) as nodes:
            updater = _Updater(nodes, graph.unique_name("update"), due_step.op, sparsity)
            for parts in _wholes(masked):
                updater.add(parts)
        with graph.control_dependencies(updater.assigns):
            last = last_update.assign(due_step)
        with graph.control_dependencies([last]):
            done = tf.identity(due_step)
        return tf.group(tf_compat.merge(idle_step, done), name="update_masks")


class _Updater:
    """Adds the update of one weight after the other.

    Attributes:
        assigns: the ops that write masks and thresholds.
    """

    def __init__(self, nodes: tf_compat.Nodes, scope: str, pivot: Any, sparsity: Any) -> None:
        """Args: where to add ops, below which scope, the op that runs only if masks are due, and the sparsity."""
        self.assigns: List[Any] = []
        self._nodes = nodes
        self._scope = scope
        self._pivot = pivot
        self._sparsity = sparsity
        # By device, the last op of the weight before: one at a time, so that memory is needed for one only.
        self._before: Dict[str, List[Any]] = {}

    def add(self, parts: Sequence[MaskedVariable]) -> None:
        """Adds the update of a weight, or of the parts of a partitioned one, which are ranked together."""
        nodes, first, axis = self._nodes, parts[0], _partitioned_axis(parts)
        like, scopes = first.weight.op, [f"{self._scope}/{item.site.variable}" for item in parts]
        after = [self._pivot, *self._before.get(like.device, ())]
        reads = [nodes.read(f"{scope}/read", item.weight, after) for scope, item in zip(scopes, parts)]
        whole = nodes.concat(f"{scopes[0]}/whole", reads, axis, like)
        select = selection(first.weight.dtype.base_dtype)
        mask, threshold = nodes.call(f"{scopes[0]}/select", select, [whole, self._sparsity], like)
        masks = nodes.split(f"{scopes[0]}/split", mask, [item.site.shape[axis] for item in parts], axis, like)
        assigns = [nodes.assign(f"{scope}/mask", item.mask, value) for scope, item, value in zip(scopes, parts, masks)]
        assigns.append(nodes.assign(f"{scopes[0]}/threshold", first.threshold, threshold))
        self._before[like.device] = assigns
        self.assigns.extend(assigns)


def _wholes(masked: Sequence[MaskedVariable]) -> List[List[MaskedVariable]]:
    """Groups the parts of partitioned weights, in order: their entries are ranked together."""
    groups: Dict[str, List[MaskedVariable]] = {}
    for item in masked:
        part = item.site.part
        groups.setdefault(item.site.variable if part is None else part.full_name, []).append(item)
    return [
        sorted(group, key=lambda item: item.site.part.offset if item.site.part else ()) for group in groups.values()
    ]


def _partitioned_axis(parts: Sequence[MaskedVariable]) -> int:
    """Returns the axis along which the parts of a weight lie; 0 where there is one."""
    offsets = [item.site.part.offset for item in parts if item.site.part is not None]
    differing = [axis for axis, starts in enumerate(zip(*offsets)) if len(set(starts)) > 1]
    return differing[0] if differing else 0
