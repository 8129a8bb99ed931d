"""The mask update: on schedule, exact to the entry, in plain TensorFlow ops.

The magnitude criterion and the schedule are Zhu & Gupta (2017). Sparsity and counts are computed in float32,
operation by operation as tf.contrib.model_pruning does, so that with distinct magnitudes its masks are ours.
"""

from graph_masker.engine.gate import is_due, sparsity_tensor
from graph_masker.engine.last_update import NEVER, last_update_step
from graph_masker.engine.summaries import add_summaries
from graph_masker.engine.update import UPDATE, build_update
from graph_masker.engine.weights import weights_of

__all__ = [
    "NEVER",
    "UPDATE",
    "add_summaries",
    "build_update",
    "is_due",
    "last_update_step",
    "sparsity_tensor",
    "weights_of",
]
