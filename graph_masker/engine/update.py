"""Builds the conditional update of all masks.

    train op -> step -> due -> Switch -> pivot ..> read scores -> finite? -> all finite ..> select -> assign mask,
                                  \\                                                                  assign threshold
                                   \\-> (not due) -> Merge -> update_masks

The ops of a weight wait for the pivot by a control dependency, which is dead where no update is due, and so are they.
A tf.cond would do the same, but give every variable a Switch of its own.
"""

import contextlib
import sys
from typing import Any, Dict, List, Sequence

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.accumulators import Accumulators
from graph_masker.engine.gate import is_due, schedule_step, sparsity_tensor, weight_sparsity_tensor
from graph_masker.engine.together import Group
from graph_masker.engine.turns import Turns
from graph_masker.engine.weights import Weight
from graph_masker.engine.writing import Writer
from graph_masker.spec import PruningSpec

# The op that updates all masks, if they are due.
UPDATE = "model_pruning/update_masks"


def build_update(
    graph: Any,
    weights: Sequence[Weight],
    accumulators: Accumulators,
    spec: PruningSpec,
    global_step: Any,
    last_update: Any,
    after: Sequence[Any],
) -> Any:
    """Adds the conditional update of all masks and returns its op.

    Args:
        graph: the graph to add to.
        weights: what to update.
        accumulators: what their criteria have added up.
        spec: the schedule.
        global_step: the model's global step variable.
        last_update: what `last_update_step` returned.
        after: ops or tensors that the update waits for: weights and step are read once they have run.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(graph.as_default())
        stack.enter_context(graph.name_scope("model_pruning/"))
        with graph.control_dependencies(list(after)):
            step = schedule_step(global_step.read_value(), spec)
        with graph.control_dependencies([step]):
            due = is_due(spec, step, last_update.read_value())
        idle_step, due_step = tf_compat.switch(step, due)
        with graph.control_dependencies([due_step]):
            requested = sparsity_tensor(spec, due_step)
            sparsities = _sparsities(spec, requested, weights, due_step)
            count = None if accumulators.count is None else accumulators.count.read_value()
        nodes = tf_compat.Nodes(graph)
        writer = Writer(nodes, tf_compat.free_scope(graph, "update"), due_step.op, count, Turns(weights))
        kept = writer.stack("kept", _write(nodes, writer, weights, spec, sparsities))
        with graph.control_dependencies(writer.assigns):
            last = last_update.assign(due_step)
            reset = [] if count is None else [accumulators.count.assign(0)]
        told = [_log(due_step, requested, kept, weights)]
        if accumulators.skipped is not None:
            told.append(_tell_skipped(due_step, accumulators.skipped, last))
        with graph.control_dependencies([last, *reset, *told]):
            done = tf.identity(due_step)
        return tf.group(tf_compat.merge(idle_step, done), name=UPDATE.rpartition("/")[2])


def _write(
    nodes: tf_compat.Nodes, writer: Writer, weights: Sequence[Weight], spec: PruningSpec, sparsities: Dict[float, Any]
) -> List[Any]:
    """Updates all weights; returns, for each, the number of entries that stay.

    Nothing is written before all scores are known to be finite. A group finds that out of its own as it counts; the
    first one can wait for the others, so that they are asked separately.
    """
    alone = writer.turns.ordered([item for item in weights if item.pruning.group is None])
    groups: Dict[str, List[Weight]] = {}
    for weight in weights:
        if weight.pruning.group is not None:
            groups.setdefault(weight.pruning.group, []).append(weight)
    with nodes:
        for weight in weights:
            writer.read(weight)
    together = list(groups.values())
    first = together[0] if together else []
    asked = [*alone, *(weight for group in together[1:] for weight in group)]
    with nodes:
        finite = [writer.finite(weight) for weight in asked]
    checks: List[Any] = []

    def check(of_first: Sequence[Any]) -> Any:
        if not checks:
            names = [weight.name for weight in (*asked, *first)]
            checks.append(_all_finite(writer.stack("finite", [*finite, *of_first]), names))
        return checks[0]

    kept: List[Any] = []
    for group in together:
        sparsity = sparsities[group[0].pruning.target_sparsity]
        kept.extend(Group(writer, group, check).write(sparsity, spec.max_sparsity))
    checked = check(())
    with nodes:
        kept.extend(writer.write(weight, sparsities[weight.pruning.target_sparsity], checked) for weight in alone)
    return kept


def _sparsities(spec: PruningSpec, requested: Any, weights: Sequence[Weight], step: Any) -> Dict[float, Any]:
    """Returns the sparsity requested now, by the target of the weight."""
    targets = dict.fromkeys(weight.pruning.target_sparsity for weight in weights)
    return {target: weight_sparsity_tensor(spec, requested, target, step) for target in targets}


def _all_finite(finite: Any, names: Sequence[str]) -> Any:
    """Returns an op that fails where scores are not finite, and names the weights concerned.

    Args:
        finite: bool, shape [number of weights].
        names: of the weights.
    """
    where = tf.gather_nd(tf.constant(list(names)), tf.where_v2(tf.logical_not(finite)))
    message = "graph_masker: the values by which weights are pruned are not finite (NaN or Inf); no mask was changed:"
    return tf_compat.failing_unless(tf.reduce_all(finite), [message, where])


def _log(step: Any, requested: Any, kept: Any, weights: Sequence[Weight]) -> Any:
    """Returns an op that writes one line: the step, the sparsity requested, and the one reached over all weights.

    It writes to standard error, where TF_CPP_MIN_LOG_LEVEL, which many set, does not hide it.
    """
    entries = sum(weight.entries for weight in weights)
    reached = 1.0 - tf.reduce_sum(tf.cast(kept, tf.float64)) / float(entries)
    words = ("graph_masker: step", step, "sparsity requested", requested, "reached", reached)
    return tf.print(*words, "in", len(weights), "weights", output_stream=sys.stderr)


def _tell_skipped(step: Any, skipped: Any, after: Any) -> Any:
    """Returns an op that says how many gradients added nothing to the sums of criteria; they are counted anew."""
    with tf.control_dependencies([after]):
        number = skipped.read_value()
    none, some = tf_compat.switch(number, number > 0)
    words = ("of a weight and a step were not finite (NaN or Inf) and added nothing to the sums that weights are",)
    line = ("graph_masker: step", step, "since the last update", some, "gradients", *words, "pruned by")
    with tf.control_dependencies([tf.print(*line, output_stream=sys.stderr)]):
        told = tf.identity(some)
    with tf.control_dependencies([tf_compat.merge(none, told)]):
        return skipped.assign(0)
