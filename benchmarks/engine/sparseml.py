"""The TensorFlow 1 part of SparseML, which masks a constructed graph, too; measured where it is installed."""

import sys
from pathlib import Path
from typing import Sequence

import tensorflow.compat.v1 as tf

from benchmarks.engine import weights
from benchmarks.engine.nets import Shape
from benchmarks.engine.sessions import session_for
from benchmarks.engine.specs import NEVER, SPARSITY

# Where the Makefile installs it, last on the path: what it imports must not stand in for what we do.
FOLDER = Path(sys.prefix, "sparseml")


def is_installed() -> bool:
    """Tells whether it can be measured."""
    return (FOLDER / "ready").exists()


def masked(shapes: Sequence[Shape]) -> weights.Pruned:
    """Returns weights masked by SparseML, with an update at every step, to the same sparsity as the others.

    Raises:
        RuntimeError: it masks another number of weights.
    """
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    from sparseml.tensorflow_v1.optim import mask_creator_pruning, mask_pruning

    with tf.Graph().as_default() as graph:
        train = weights.add_train()
        made = weights.make_weights(shapes)
        for weight in made:
            weights.consume(weight)
        update, found, _, _ = mask_pruning.get_or_create_ks_scheduled_graph_ops(
            graph,
            tf.train.get_global_step(),
            var_names=[weight.op.name for weight in made],
            begin_step=0,
            end_step=NEVER,
            update_step_freq=1,
            init_sparsity=SPARSITY,
            final_sparsity=SPARSITY,
            exponent=1.0,
            leave_enabled=True,
            ks_group="measured",
            mask_creator=mask_creator_pruning.UnstructuredPruningMaskCreator(),
        )
        if len(found) != len(shapes):
            raise RuntimeError(f"SparseML: expected {len(shapes)} masks, found {len(found)}")
        session = session_for(graph)
        # Its schedule has no update at step 0.
        session.run(train)
        return weights.Pruned(session, train, update, [item.mask for item in found])
