"""A small model, saved dense, and what tests of rewritten checkpoints look at."""

import os

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker import PruningSpec
from tests.helpers.bits import assert_same_bits
from tests.helpers.running import initialize, variables_by_name

SPEC = PruningSpec(target_sparsity=0.5, begin_step=0, end_step=4, frequency=1)


def net():
    """Two dense layers on a placeholder, a decayed average of their weights, and a step."""
    tf.set_random_seed(1)
    step = tf.train.get_or_create_global_step()
    rows = tf.placeholder(tf.float32, [4, 6], name="rows")
    net = tf.layers.dense(tf.layers.dense(rows, 5, tf.nn.relu, name="first"), 3, name="second")
    loss = tf.losses.softmax_cross_entropy(tf.one_hot([0, 1, 2, 0], 3), net)
    return loss, tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss, step)


def save(folder, build=net, saver=tf.train.Saver, steps=2, config=None, also=lambda: None):
    """Trains a little and saves; returns the checkpoint's prefix."""
    with tf.Graph().as_default() as graph:
        _, train_op = build()
        also()
        made = saver()
        with tf.Session(config=config) as session:
            initialize(session)
            session.run(tf.get_collection(tf.GraphKeys.TABLE_INITIALIZERS))
            for number in range(steps):
                session.run(train_op, feed(number) if build is net else {})
            os.makedirs(str(folder), exist_ok=True)
            assert made is not None and graph is session.graph
            prefix = made.save(session, os.path.join(str(folder), "model"))
    # A path of its own, so that a copy of the folder is one of the checkpoint.
    with open(os.path.join(str(folder), "checkpoint"), "w") as stream:
        stream.write('model_checkpoint_path: "model"\n')
    return prefix


def feed(number):
    return {"rows:0": np.random.RandomState(number).normal(size=(4, 6)).astype(np.float32)}


def read(prefix):
    reader = tf.train.NewCheckpointReader(prefix)
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def meta_graph_of(prefix):
    meta_graph = tf.MetaGraphDef()
    with open(f"{prefix}.meta", "rb") as stream:
        meta_graph.ParseFromString(stream.read())
    return meta_graph


def check_training(prefix, config=None, steps=4, **importing):
    """Runs what lies in files; checks that it prunes, and that its saver saves and restores all of it."""
    with tf.Graph().as_default() as graph:
        saver = tf.train.import_meta_graph(f"{prefix}.meta", **importing)
        with tf.Session(config=config) as session:
            saver.restore(session, prefix)
            for number in range(steps):
                session.run(graph.get_collection(tf.GraphKeys.TRAIN_OP), feed(number))
            before = session.run(variables_by_name(graph))
            saved = saver.save(session, f"{prefix}-more", write_state=False)
        with tf.Session(config=config) as session:
            saver.restore(session, saved)
            after = session.run(variables_by_name(graph))
    assert_same_bits(
        {key: value for key, value in after.items() if value.dtype != object},
        {key: value for key, value in before.items() if value.dtype != object},
    )
    masks = [value for key, value in before.items() if key.endswith("mask")]
    assert sorted(np.count_nonzero(mask) for mask in masks) == [8, 15]
    return before


def half_masked():
    """Half of it is made of contrib's layers: a graph that holds masks, and updates none."""
    from tensorflow.contrib.model_pruning.python.layers import layers as masked_layers

    step = tf.train.get_or_create_global_step()
    rows = tf.placeholder(tf.float32, [4, 6], name="rows")
    net = masked_layers.masked_fully_connected(rows, 5, scope="first")
    loss = tf.losses.softmax_cross_entropy(tf.one_hot([0, 1, 2, 0], 3), tf.layers.dense(net, 3, name="second"))
    return loss, tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss, step)
