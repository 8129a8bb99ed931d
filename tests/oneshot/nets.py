"""One model as each kind of file; and its mask update in a live graph, which is the oracle."""

import os
from typing import Any, Dict, NamedTuple, Optional

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker import PruningSpec, mask_graph
from tests.helpers.running import initialize, op_by_op, single_threaded

IMAGES = [2, 9, 9, 3]
KINDS = ("ckpt", "saved", "frozen.pb", "frozen.pbtxt")


def output_of(images: Any) -> Any:
    """Convolutions of every sort, a partitioned dense layer, and a recurrent one."""
    hidden = tf.layers.conv2d(images, 8, 3, name="conv")
    hidden = tf.nn.relu(tf.layers.batch_normalization(hidden, name="norm"))
    hidden = tf.layers.separable_conv2d(hidden, 10, 3, name="separable")
    hidden = tf.layers.conv2d_transpose(hidden, 7, 3, name="up")
    with tf.variable_scope("split", partitioner=tf.fixed_size_partitioner(3)):
        hidden = tf.layers.dense(hidden, 13, name="dense")
    sequence = tf.reshape(hidden, [IMAGES[0], -1, 13])
    outputs, _ = tf.nn.dynamic_rnn(tf.nn.rnn_cell.BasicLSTMCell(5), sequence, dtype=tf.float32)
    return tf.layers.dense(outputs[:, -1], 4, name="last")


def images_of(seed: int = 0) -> Any:
    """A batch."""
    return np.random.RandomState(seed).normal(size=IMAGES).astype(np.float32)


def train_op(output: Any) -> Any:
    """Momentum, and moving averages after it."""
    loss = tf.reduce_mean(tf.square(output - 1.0))
    tf.losses.add_loss(loss)
    step = tf.train.get_or_create_global_step()
    step_op = tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss, step)
    with tf.control_dependencies([step_op]):
        return tf.train.ExponentialMovingAverage(0.5).apply(tf.trainable_variables())


def write_model(folder: str, use_resource: bool) -> None:
    """Trains the model for two steps, and writes it as each of `KINDS`."""
    with tf.Graph().as_default() as graph, tf.variable_scope("", use_resource=use_resource):
        tf.set_random_seed(5)
        images = tf.placeholder(tf.float32, IMAGES, name="images")
        output = tf.identity(output_of(images), name="output")
        train = train_op(output)
        with single_threaded(graph) as session:
            initialize(session)
            for step in range(2):
                session.run(train, {images: images_of(step)})
            os.makedirs(os.path.join(folder, "ckpt"))
            tf.train.Saver().save(session, os.path.join(folder, "ckpt", "model.ckpt"), global_step=2)
            tf.saved_model.simple_save(session, os.path.join(folder, "saved"), {"images": images}, {"output": output})
            frozen = tf.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["output"])
    with open(os.path.join(folder, "frozen.pb"), "wb") as stream:
        stream.write(frozen.SerializeToString())
    with open(os.path.join(folder, "frozen.pbtxt"), "w", encoding="utf-8") as stream:
        stream.write(str(frozen))


class Live(NamedTuple):
    """What a mask update left.

    Attributes:
        weights: `mask * weight` by the key that a checkpoint has.
        masks: by the weight's key.
        thresholds: by the weight's key.
        output: the model's, of `images_of(9)`.
    """

    weights: Dict[str, Any]
    masks: Dict[str, Any]
    thresholds: Dict[str, Any]
    output: Any


def masked_live(
    prefix: str, spec: PruningSpec, use_resource: bool, values: Optional[Dict[str, Any]] = None, save: str = ""
) -> Live:
    """Masks the model in a graph, restores a checkpoint of the plain one, and makes one update of the masks.

    Args:
        prefix: of the checkpoint.
        spec: an update at the first step.
        use_resource: of which kind the variables are.
        values: by name, what the weights get in place of the checkpoint's.
        save: where to write the masked checkpoint after the update; empty for nowhere.
    """
    with tf.Graph().as_default() as graph, tf.variable_scope("", use_resource=use_resource):
        images = tf.placeholder(tf.float32, IMAGES, name="images")
        output = output_of(images)
        tf.train.get_or_create_global_step()
        saver = tf.train.Saver()
        masker = mask_graph(graph, spec, outputs=[output])
        update = masker.attach_update()
        with op_by_op(graph) as session:
            initialize(session)
            saver.restore(session, prefix)
            for variable in tf.global_variables():
                if values is not None and variable.op.name in values:
                    variable.load(values[variable.op.name], session)
            session.run(update)
            if save:
                tf.train.Saver().save(session, save)
            found = Live({}, {}, {}, session.run(output, {images: images_of(9)}))
            by_name = {variable.op.name: variable for variable in tf.global_variables()}
            parts: Dict[str, Any] = {}
            for site in masker.plan.sites:
                parts.setdefault(site.saved_variable, []).append(site)
            for key, sites in parts.items():
                sites.sort(key=lambda site: site.part.offset if site.part else ())
                masks = [session.run(by_name[site.mask]) for site in sites]
                products = [session.run(f"{site.masked_weight}:0") for site in sites]
                found.masks[key] = np.concatenate(masks)
                found.weights[key] = np.concatenate(products)
                found.thresholds[key] = session.run(by_name[sites[0].threshold])
    return found


def run_frozen(path: str) -> Any:
    """Returns the output of a frozen graph, of `images_of(9)`."""
    graph_def = tf.GraphDef()
    with open(path, "rb") as stream:
        graph_def.ParseFromString(stream.read())
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        with op_by_op(graph) as session:
            return session.run("output:0", {"images:0": images_of(9)})
