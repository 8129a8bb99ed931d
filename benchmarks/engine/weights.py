"""Graphs that hold weights, masks and the update alone: what an update costs does not depend on the net around it."""

from typing import Any, NamedTuple, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

import graph_masker
from benchmarks.engine.nets import Shape
from benchmarks.engine.sessions import session_for
from benchmarks.engine.specs import contribs_pruning

# Largest difference between asked and reached sparsity that an update may leave: contrib keeps what ties with the
# threshold, and among a million float32 normals some do.
TOLERANCE = 1e-4


class Pruned(NamedTuple):
    """One engine's graph.

    Attributes:
        session: with everything initialized.
        train: adds one to the global step, and nothing else.
        update: the engine's update; ours runs after `train`, which it brings with it.
        masks: its mask variables.
    """

    session: Any
    train: Any
    update: Any
    masks: Sequence[Any]

    def sparsity(self) -> float:
        """Returns the fraction of zeros in all masks."""
        masks = self.session.run(list(self.masks))
        return 1 - sum(np.count_nonzero(mask) for mask in masks) / sum(mask.size for mask in masks)

    def check_sparsity(self, expected: float) -> float:
        """Returns the sparsity of all masks together.

        Raises:
            RuntimeError: it is not what was to be reached, so that what was timed is no update, or is one too many.
        """
        found = self.sparsity()
        if abs(found - expected) > TOLERANCE:
            raise RuntimeError(f"masks: expected a sparsity of {expected:g}, found {found:g}; what was timed is wrong")
        return found


def ours(shapes: Sequence[Shape], asked: graph_masker.PruningSpec) -> Pruned:
    """Returns weights masked by graph_masker."""
    with tf.Graph().as_default() as graph:
        train = add_train()
        for weight in make_weights(shapes):
            consume(weight)
        masker = graph_masker.mask_graph(graph, asked, train_op=train)
        return Pruned(session_for(graph), train, masker.update_op, list(masker.masks.values()))


def contribs(shapes: Sequence[Shape], begin_step: int = 0, conditional: bool = False) -> Pruned:
    """Returns weights masked by tf.contrib.model_pruning.

    Args:
        shapes: one per weight.
        begin_step: of its schedule.
        conditional: keep to the schedule; else `update` updates whenever it is run.
    """
    from tensorflow.contrib import model_pruning

    with tf.Graph().as_default() as graph:
        train = add_train()
        mask_by_contrib(make_weights(shapes))
        pruning = contribs_pruning(begin_step, frequency=1)
        update = pruning.conditional_mask_update_op() if conditional else pruning.mask_update_op()
        return Pruned(session_for(graph), train, update, model_pruning.get_masks())


def make_weights(shapes: Sequence[Shape]) -> Sequence[Any]:
    """Adds a variable per shape to the default graph: normals of the usual scale, the same for every engine."""
    made = []
    for number, shape in enumerate(shapes):
        scale = float(np.sqrt(2 / np.prod(shape[:-1])))
        with tf.variable_scope(f"layer_{number}"):
            initializer = tf.random_normal_initializer(stddev=scale, seed=number + 1)
            made.append(tf.get_variable("weights", shape, initializer=initializer))
    return made


def consume(weight: Any) -> Any:
    """Adds the layer that a weight belongs to: a convolution or a matrix product."""
    if weight.shape.ndims == 2:
        return tf.matmul(tf.placeholder(tf.float32, [1, weight.shape[0]]), weight)
    images = tf.placeholder(tf.float32, [1, 8, 8, weight.shape[2]])
    return tf.nn.conv2d(images, weight, strides=1, padding="SAME")


def mask_by_contrib(weights: Sequence[Any]) -> None:
    """Adds contrib's masks and products to the default graph."""
    from tensorflow.contrib import model_pruning

    for number, weight in enumerate(weights):
        with tf.variable_scope(f"layer_{number}"):
            model_pruning.apply_mask(weight)


def add_train() -> Any:
    """Adds an op that counts a step, and returns it."""
    return tf.assign_add(tf.train.get_or_create_global_step(), 1, name="train").op
