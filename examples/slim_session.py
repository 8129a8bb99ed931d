"""tf-slim in a plain session with a Saver, stopped half way and resumed: masks are in the checkpoint.

    python examples/slim_session.py build/slim

The schedule runs from step 40 to 160; the first of the two sessions stops in the middle of it.
"""

import os
import sys

import numpy as np
import tensorflow.compat.v1 as tf
import tf_slim as slim

import graph_masker

SPEC = graph_masker.PruningSpec(target_sparsity=0.9, begin_step=40, end_step=160, frequency=20, exclude="logits")


def batches(seed):
    """Images of noise, one quarter of each brighter than the others, and which."""
    random = np.random.RandomState(seed)
    while True:
        labels = random.randint(4, size=50)
        images = random.normal(size=[50, 8, 8, 1]).astype(np.float32)
        for image, label in zip(images, labels):
            image[4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 0.8
        yield images, labels


def net(images):
    """As anyone writes it; weight decay sees the raw weights, as in contrib's masked layers."""
    with slim.arg_scope([slim.conv2d, slim.fully_connected], weights_regularizer=slim.l2_regularizer(1e-4)):
        hidden = slim.conv2d(images, 16, 3, scope="conv")
        hidden = slim.fully_connected(slim.flatten(hidden), 64, scope="hidden")
        return slim.fully_connected(hidden, 4, activation_fn=None, scope="logits")


def train(directory, until):
    """Trains from the latest checkpoint, or from the start, to a step; tells the sparsity of each weight."""
    with tf.Graph().as_default(), graph_masker.masking(SPEC) as masker:
        tf.set_random_seed(1)
        images, labels = tf.placeholder(tf.float32, [50, 8, 8, 1]), tf.placeholder(tf.int64, [50])
        tf.losses.sparse_softmax_cross_entropy(labels, net(images))
        step = tf.train.get_or_create_global_step()
        train_op = slim.learning.create_train_op(tf.losses.get_total_loss(), tf.train.AdamOptimizer(0.003))
        saver = tf.train.Saver()
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            latest = tf.train.latest_checkpoint(directory)
            if latest is not None:
                saver.restore(session, latest)
            data = batches(seed=session.run(step))
            while session.run(step) < until:
                session.run(train_op, dict(zip((images, labels), next(data))))
            os.makedirs(directory, exist_ok=True)
            saver.save(session, os.path.join(directory, "model.ckpt"), step)
            reached = {name: 1 - session.run(mask).mean() for name, mask in masker.masks.items()}
    print(f"step {until}: " + ", ".join(f"{name} {value:.4f}" for name, value in reached.items()))


def main(directory):
    """Trains in two sessions, then folds."""
    tf.logging.set_verbosity(tf.logging.ERROR)
    train(directory, until=100)
    train(directory, until=200)
    result = graph_masker.fold_checkpoint(directory, directory + "-folded", overwrite=True)
    print(f"folded: {len(result.weights)} weights, {result.sparsity:.4f} of their entries are zero")


if __name__ == "__main__":
    main(*sys.argv[1:])
