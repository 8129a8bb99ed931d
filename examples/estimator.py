"""An Estimator with convolutions, pruned to 80% while it trains; the folded checkpoint is for the original model_fn.

    python examples/estimator.py build/estimator

Nothing of the model knows of pruning. The task is made up: which of four quarters of an image is the brightest.
"""

import os
import sys

import numpy as np
import tensorflow.compat.v1 as tf

import graph_masker

STEPS = 200


def model_fn(features, labels, mode, params):
    """A small net, as anyone writes it."""
    is_training = mode == tf.estimator.ModeKeys.TRAIN
    net = tf.layers.conv2d(features, 16, 3, padding="same", use_bias=False, name="conv1")
    net = tf.nn.relu(tf.layers.batch_normalization(net, momentum=0.9, training=is_training, name="norm"))
    net = tf.layers.max_pooling2d(tf.layers.conv2d(net, 32, 3, activation=tf.nn.relu, name="conv2"), 2, 2)
    logits = tf.layers.dense(tf.layers.flatten(net), 4, name="logits")
    if mode == tf.estimator.ModeKeys.PREDICT:
        return tf.estimator.EstimatorSpec(mode, {"logits": logits})
    loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
    accuracy = tf.metrics.accuracy(labels, tf.argmax(logits, 1))
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        train_op = tf.train.AdamOptimizer(params["rate"]).minimize(loss, tf.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, None, loss, train_op, {"accuracy": accuracy})


def input_fn(seed, epochs=None):
    """1000 images of noise, one quarter of each brighter than the others."""
    random = np.random.RandomState(seed)
    labels = random.randint(4, size=1000)
    images = random.normal(size=[1000, 8, 8, 1]).astype(np.float32)
    for image, label in zip(images, labels):
        image[4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 0.8
    return lambda: tf.data.Dataset.from_tensor_slices((images, labels)).repeat(epochs).batch(50)


def main(directory):
    """Trains, folds, and compares what the masked and the folded model say."""
    tf.logging.set_verbosity(tf.logging.ERROR)
    masked, folded = os.path.join(directory, "masked"), os.path.join(directory, "folded")
    spec = graph_masker.PruningSpec(target_sparsity=0.8, begin_step=40, end_step=160, frequency=20)
    params, config = {"rate": 0.003}, tf.estimator.RunConfig(tf_random_seed=1)

    estimator = tf.estimator.Estimator(graph_masker.auto_mask(model_fn, spec), masked, config, params)
    estimator.train(input_fn(seed=1), max_steps=STEPS)
    for weight in graph_masker.fold_checkpoint(masked, folded, overwrite=True).weights:
        print(f"{weight.variable}: {weight.zeros} of {weight.entries} entries are zero")

    # In a directory of its own: evaluation writes there, and the folded checkpoint stays as it is.
    original = tf.estimator.Estimator(model_fn, os.path.join(directory, "original"), config, params)
    test = input_fn(seed=2, epochs=1)
    both = [(one, tf.train.latest_checkpoint(of)) for one, of in ((estimator, masked), (original, folded))]
    accuracies = [one.evaluate(test, checkpoint_path=path)["accuracy"] for one, path in both]
    print("accuracy masked {:.3f}, folded {:.3f}".format(*accuracies))
    outputs = [np.array([item["logits"] for item in one.predict(test, checkpoint_path=path)]) for one, path in both]
    print("outputs equal, bit for bit:", outputs[0].tobytes() == outputs[1].tobytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
