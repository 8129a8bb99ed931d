"""mask_graph: a graph that is built already, its gradients included, made prunable."""

from typing import Any, Iterable, Optional, Sequence

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.attaching import initialize_with_weights
from graph_masker.claims import claim
from graph_masker.masker import Masker, refuse_copies
from graph_masker.saving.built import extend_built_savers
from graph_masker.spec import PruningSpec
from graph_masker.trainers import train_ops_of
from rewriters import DEFAULT_RULES, Rule


def mask_graph(
    graph: Any,
    spec: PruningSpec,
    outputs: Optional[Iterable[Any]] = None,
    losses: Optional[Iterable[Any]] = None,
    rules: Sequence[Rule] = DEFAULT_RULES,
    train_op: Any = None,
) -> Masker:
    """Masks a graph that is built already, its gradients included: one after `minimize`, or an imported MetaGraph.

    Backward ops move to the masked weight, and each gradient is multiplied by the mask where it leaves autodiff, so
    that training equals that of a graph masked before its gradients were built. Where the graph trains and has a
    global step, `Masker.update_op` updates the masks on schedule; else it is None. It waits for the train op, and so
    brings it along: fetch both in one `session.run`, as a run of its own would train once more. The graph's savers,
    also one that `tf.train.import_meta_graph` has returned, hold masks from then on, and its init ops initialize them.

    No session may have run the graph before: it would go on without masks. Where one is open, a warning says so.

    Args:
        graph: a `tf.Graph`, not finalized.
        spec: what to mask, and when.
        outputs: tensors that the model returns.
        losses: tensors that it minimizes. With outputs or losses, masking can verify that no path bypasses a mask.
        rules: what is known of op types.
        train_op: what the update is to wait for. By default the train ops of the graph's collection, or else the
            ops that write the masked weights and the global step.

    Raises:
        PlanError: nothing is to be masked, or gradients cannot be matched with certainty; the graph is as it was.
        SurgeryError: the graph is finalized, or lacks the collections of its variables.
    """
    refuse_copies(graph)
    claim(graph)
    masker = Masker(graph, spec, rules)
    masker.mask(outputs or (), losses or (), strict=True)
    after = [train_op] if train_op is not None else graph.get_collection(tf.GraphKeys.TRAIN_OP)
    after = after or train_ops_of(graph, [item.weight for item in masker.masked_variables])
    if after and tf_compat.global_step(graph) is not None:
        masker.attach_update(*after)
    initialize_with_weights(masker)
    extend_built_savers(masker)
    if tf_compat.sessions_of(graph):
        tf.logging.warning(
            "graph_masker: a session of this graph is open. If it has run the graph before, it goes on without masks: "
            "make a new one after mask_graph"
        )
    return masker
