"""Small nets, and the ends of training code: what takes a loss or gradients and returns `(loss, train op)`."""

from typing import Any, Iterable, Tuple

import tensorflow.compat.v1 as tf


def dense(inputs: Any, units: int, name: str) -> Any:
    """A layer with tanh; its variables are shared by name."""
    return tf.layers.dense(inputs, units, tf.tanh, name=name, reuse=tf.AUTO_REUSE)


def two_layers(batch: Any) -> Any:
    """Outputs `[6, 3]`."""
    return dense(dense(batch, 7, "first"), 3, "last")


def convolution(batch: Any) -> Any:
    """Features `[6, 16]` of images `[6, 2, 2, 2]`."""
    images = tf.reshape(batch, [-1, 2, 2, 2])
    net = tf.layers.conv2d(images, 4, 2, padding="same", activation=tf.tanh, name="conv", reuse=tf.AUTO_REUSE)
    return tf.layers.flatten(net)


def mean_square(tensor: Any) -> Any:
    """The loss of everything here."""
    return tf.reduce_mean(tf.square(tensor))


def momentum() -> Any:
    """The optimizer of everything here."""
    return tf.train.MomentumOptimizer(0.05, 0.9)


def minimize(loss: Any, **options: Any) -> Tuple[Any, Any]:
    """Minimizes a loss in one call."""
    return loss, momentum().minimize(loss, tf.train.get_global_step(), **options)


def apply(loss: Any, gradients: Iterable[Any], variables: Iterable[Any]) -> Tuple[Any, Any]:
    """Applies gradients once all of them, and the loss, have been computed."""
    gradients = list(gradients)
    with tf.control_dependencies([loss, *(gradient for gradient in gradients if gradient is not None)]):
        return loss, momentum().apply_gradients(zip(gradients, variables), tf.train.get_global_step())
