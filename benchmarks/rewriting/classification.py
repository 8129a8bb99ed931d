"""Training graphs of slim's image classifiers, with the loss and optimizer of slim's own training script."""

from typing import Any

import tensorflow.compat.v1 as tf

from benchmarks.rewriting.training import Inputs, Training

CLASSES = 1001


def nasnet_large() -> Training:
    """NASNet-A large, 331 px, with its auxiliary head."""
    from nets.nasnet import nasnet
    from tensorflow.contrib import slim

    def model_fn(features: Any, labels: Any, mode: Any) -> Any:
        is_training = mode == tf.estimator.ModeKeys.TRAIN
        with slim.arg_scope(nasnet.nasnet_large_arg_scope()):
            logits, ends = nasnet.build_nasnet_large(features, CLASSES, is_training=is_training)
        tf.losses.softmax_cross_entropy(labels, ends["AuxLogits"], weights=0.4)
        tf.losses.softmax_cross_entropy(labels, logits)
        loss = tf.losses.get_total_loss()
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            optimizer = tf.train.MomentumOptimizer(0.01, 0.9)
            train_op = optimizer.minimize(loss, tf.train.get_or_create_global_step())
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)

    return Training(model_fn, _inputs)


def _inputs() -> Inputs:
    return tf.placeholder(tf.float32, [2, 331, 331, 3]), tf.placeholder(tf.float32, [2, CLASSES])
