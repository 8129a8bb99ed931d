"""Checkpoints whose masks were made by training, and ones that were tampered with."""

from typing import Any, Callable, Dict, Mapping, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker import PruningSpec, masking
from graph_masker.plan import PLAN_FILE
from tests.helpers.running import initialize, single_threaded

Values = Dict[str, Any]


class Trained(NamedTuple):
    prefix: str
    values: Values


def build() -> Any:
    """Returns the loss of a small model: two convolutions, one of them depthwise, and a partitioned dense layer."""
    images = tf.placeholder_with_default(np.random.RandomState(3).normal(size=[2, 8, 8, 3]).astype("f"), [2, 8, 8, 3])
    features = tf.layers.conv2d(images, 8, 3, name="conv")
    features = tf.layers.separable_conv2d(features, 6, 3, name="separable")
    with tf.variable_scope("parts", partitioner=tf.fixed_size_partitioner(3)):
        kernel = tf.get_variable("kernel", [96, 10])
    return tf.reduce_mean(tf.square(tf.matmul(tf.reshape(features, [2, 96]), tf.convert_to_tensor(kernel)) - 1))


def train(folder: Any, spec: PruningSpec, steps: int) -> Trained:
    """Trains with masks, and saves checkpoint and plan."""
    tf.set_random_seed(4)
    with tf.Graph().as_default() as graph, masking(spec) as masker:
        tf.set_random_seed(4)
        train_op = tf.train.AdamOptimizer(0.01).minimize(build(), tf.train.get_or_create_global_step())
        with single_threaded(graph) as session:
            initialize(session)
            for _ in range(steps):
                session.run(train_op)
            prefix = tf.train.Saver().save(session, str(folder / "model.ckpt"), global_step=steps)
    (folder / PLAN_FILE).write_text(masker.plan.to_json())
    return Trained(prefix, read(prefix))


def read(prefix: str) -> Values:
    """Returns all tensors of a checkpoint."""
    reader = tf.train.load_checkpoint(prefix)
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def write(prefix: str, values: Mapping[str, Any]) -> None:
    """Writes tensors under a checkpoint's prefix, in place of what is there."""
    with tf.Graph().as_default(), tf.Session() as session:
        names = sorted(values)
        session.run(
            tf.raw_ops.SaveV2(
                prefix=prefix,
                tensor_names=names,
                shape_and_slices=[""] * len(names),
                tensors=[values[n] for n in names],
            )
        )


def tampered(trained: Trained, change: Callable[[Values], None]) -> None:
    """Rewrites a checkpoint with some of its tensors changed."""
    values = dict(trained.values)
    change(values)
    write(trained.prefix, values)
