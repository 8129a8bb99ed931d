"""TensorBoard summaries of pruning: overall, and of every weight. One op writes the values of all weights."""

import functools
from typing import Any, List, Sequence

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.engine.counting import ones_in
from graph_masker.engine.gate import sparsity_tensor
from graph_masker.engine.weights import Weight
from graph_masker.spec import PruningSpec
from graph_masker.spec.settings import LAST_STEP


def add_summaries(graph: Any, weights: Sequence[Weight], spec: PruningSpec, global_step: Any) -> List[Any]:
    """Adds scalar summaries to the graph's collection of them, and returns their ops.

    Overall ``model_pruning/sparsity`` and ``model_pruning/requested_sparsity`` (fractions of zeros); per weight
    ``<mask>/sparsity`` and ``<threshold>``. They read masks and thresholds as they are when the summary is asked for.

    Args:
        graph: the graph.
        weights: all that is updated.
        spec: the schedule.
        global_step: the global step variable.
    """
    with graph.as_default(), graph.control_dependencies(None), graph.name_scope("model_pruning/"):
        with tf_compat.Nodes(graph) as nodes:
            scope = tf_compat.free_scope(graph, "summaries")
            counts, thresholds = [], []
            for weight in weights:
                name, like = f"{scope}/{weight.name}", weight.first.weight.op
                count = _counting(weight.choice.dtype, weight.choice.is_long)
                # Each part is counted where it lies.
                for part in weight.parts:
                    ones = f"{scope}/{part.site.variable}/ones"
                    counts.extend(nodes.call(ones, count, [tf_compat.read_of(part.mask)], part.weight.op))
                threshold = tf_compat.read_of(weight.first.threshold)
                if threshold.dtype != tf.float32:
                    threshold = nodes.cast(f"{name}/threshold", threshold, tf.float32, like)
                thresholds.append(threshold)
            kept = tf.cast(nodes.stack(f"{scope}/kept", counts), tf.float64)
            reached = nodes.stack(f"{scope}/thresholds", thresholds)
        if len(counts) > len(weights):
            owners = [index for index, weight in enumerate(weights) for _ in weight.parts]
            kept = tf.math.segment_sum(kept, tf.constant(owners, tf.int32))
        entries = tf.constant([weight.entries for weight in weights], tf.float64)
        overall = tf.stack(
            [
                tf.cast(1.0 - tf.reduce_sum(kept) / tf.reduce_sum(entries), tf.float32),
                _requested(spec, tf.cast(tf.minimum(global_step.read_value(), LAST_STEP), tf.int32)),
            ]
        )
        values = tf.concat([overall, tf.cast(1.0 - kept / entries, tf.float32), reached], 0)
        sparsities = [f"{weight.first.site.saved_mask}/sparsity" for weight in weights]
        tags = ["model_pruning/sparsity", "model_pruning/requested_sparsity", *sparsities]
        tags += [weight.first.site.threshold for weight in weights]
        summary = tf_compat.scalar_summaries(tags, values)
        graph.add_to_collection(tf.GraphKeys.SUMMARIES, summary)
        return [summary]


def _requested(spec: PruningSpec, step: Any) -> Any:
    """What the schedule asks for at any step: nothing before its begin."""
    last = tf.maximum(step, spec.begin_step)
    return tf.where_v2(step < spec.begin_step, 0.0, sparsity_tensor(spec, last))


@functools.lru_cache(maxsize=None)
def _counting(dtype: Any, is_long: bool) -> tf_compat.Function:
    def graph_masker_ones(mask: Any) -> Any:
        return ones_in(mask, is_long)

    return tf_compat.as_function(graph_masker_ones, [dtype])
