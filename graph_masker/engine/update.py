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
        scope = graph.unique_name("update")
        updater = _Updater(graph, scope, due_step.op.name, sparsity.name)
        for parts in _wholes(masked):
            updater.add(parts)
        updates = updater.create()
        with graph.control_dependencies(updates):
            last = last_update.assign(due_step)
        with graph.control_dependencies([last]):
            done = tf.identity(due_step)
        return tf.group(tf_compat.merge(idle_step, done), name="update_masks")


class _Updater:
    """The ops of all weights, one list of nodes."""

    def __init__(self, graph: Any, scope: str, pivot: str, sparsity: str) -> None:
        """Args: the graph, the name scope, the op that runs only if masks are due, and the name of the sparsity."""
        self._graph = graph
        self._scope = scope
        self._pivot = pivot
        self._sparsity = sparsity
        self._nodes = tf_compat.Nodes(graph)
        self._assigns: List[str] = []
        # By device, the last op of the weight before: one at a time, so that memory is needed for one only.
        self._before: Dict[str, str] = {}

    def add(self, parts: Sequence[MaskedVariable]) -> None:
        """Adds the update of a weight, or of the parts of a partitioned one, which are ranked together."""
        first, axis = parts[0], _partitioned_axis(parts)
        like = first.weight.op
        dtype = first.weight.dtype.base_dtype
        scope = f"{self._scope}/{first.site.variable}"
        before = [self._before[like.device]] if like.device in self._before else []
        reads = [
            self._nodes.read(f"{self._scope}/{item.site.variable}/read", item.weight, after=[self._pivot, *before])
            for item in parts
        ]
        whole = reads[0] if len(reads) == 1 else self._nodes.concat(f"{scope}/whole", reads, axis, dtype, like)
        chosen = self._nodes.call(f"{scope}/select", selection(dtype), [whole, self._sparsity], like)
        masks = [chosen]
        if len(parts) > 1:
            sizes = [item.site.shape[axis] for item in parts]
            masks = self._nodes.split(f"{scope}/split", chosen, sizes, axis, dtype, like)
        assigns = [
            self._nodes.assign(f"{self._scope}/{item.site.variable}/mask", item.mask, mask)
            for item, mask in zip(parts, masks)
        ]
        assigns.append(self._nodes.assign(f"{scope}/threshold", first.threshold, f"{chosen}:1"))
        self._before[like.device] = assigns[0]
        self._assigns.extend(assigns)

    def create(self) -> List[Any]:
        """Adds everything to the graph and returns the ops that assign."""
        self._nodes.create()
        return [self._graph.get_operation_by_name(name) for name in self._assigns]


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
