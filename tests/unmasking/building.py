"""Masked and dense MetaGraphs of the same models, each with a saver."""

from typing import Any, Callable, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker import PruningSpec
from graph_masker.built import mask_graph
from graph_masker.masker import Masker
from tests.helpers.running import initialize, normal_value, single_threaded, variables_by_name

# Ways of masking: none, before gradients are built, afterwards, and by hand with contrib's layers.
DENSE, BEFORE, AFTERWARDS, BY_HAND = "dense", "before gradients", "afterwards", "by hand"
SPEC = PruningSpec(target_sparsity=0.5, begin_step=1, end_step=4, frequency=1)

# Builds a model in the default graph; returns (output, loss, train op or None).
Build = Callable[[], Tuple[Any, Any, Any]]


def meta_graph_of(build: Build, way: str, use_resource: bool, spec: PruningSpec = SPEC) -> Any:
    """Returns the MetaGraphDef of a model, as it is exported beside a checkpoint."""
    graph = tf.Graph()
    with graph.as_default(), tf.variable_scope(tf.get_variable_scope(), use_resource=use_resource):
        tf.set_random_seed(1)
        tf.train.get_or_create_global_step()
        if way == BEFORE:
            masker = Masker(graph, spec)
            with masker.watching_gradients():
                output, _, train_op = build()
            masker.mask([output], strict=True)
            if train_op is not None:
                masker.attach_update(train_op)
        else:
            output, loss, _ = build()
            if way == AFTERWARDS:
                mask_graph(graph, spec, outputs=[output], losses=[loss])
        saver = tf.train.Saver()
        return tf.train.export_meta_graph(saver_def=saver.saver_def)


def toy_training(toy: Any, learns: bool = True) -> Build:
    """Returns a builder of a toy model that trains, or only predicts."""

    def build() -> Tuple[Any, Any, Any]:
        output = toy.build()
        loss = tf.reduce_sum(output)
        step = tf.train.get_global_step()
        return output, loss, tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss, step) if learns else None

    return build


def net_training(model: Any, layers: Any) -> Build:
    """Returns a builder of one of the oracle's nets."""

    def build() -> Tuple[Any, Any, Any]:
        loss = model.loss(layers, tf.placeholder(tf.float32, model.batch, name="batch"))
        return loss, loss, model.minimize(loss)

    return build


def trained(meta_graph: Any, steps: int = 8) -> Any:
    """Imports a MetaGraph, trains it from values that depend on names alone; returns its variables after each step."""
    graph, found = tf.Graph(), {}
    random = np.random.RandomState(5)
    with graph.as_default():
        tf.train.import_meta_graph(meta_graph)
    variables = variables_by_name(graph)
    train_op = graph.get_collection(tf.GraphKeys.TRAIN_OP)
    with single_threaded(graph) as session:
        initialize(session)
        # All others start from constants.
        for variable in graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES):
            variable.load(0.3 * normal_value(variable.op.name, variable.shape.as_list()), session)
        for step in range(steps):
            feed = {
                op.outputs[0]: random.normal(size=op.outputs[0].shape.as_list()).astype(np.float32)
                for op in graph.get_operations()
                if op.type == "Placeholder"
            }
            session.run(train_op, feed)
            found.update({f"step {step}: {name}": value for name, value in session.run(variables).items()})
    return found
