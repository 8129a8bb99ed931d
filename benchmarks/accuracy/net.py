"""A plain model_fn around slim's MobileNet V1, which is used as it comes."""

from typing import Any, Dict, Tuple

import tensorflow.compat.v1 as tf

from benchmarks.accuracy.settings import Case, Training
from examples.digit_scenes.digits import CLASSES

_GRADIENT = "Conv2DByProducts"


@tf.RegisterGradient(_GRADIENT)
def by_products(op: Any, gradient: Any) -> Tuple[Any, Any]:
    """Returns the gradients of a convolution, those of a 1x1 one as two matrix products.

    TensorFlow's kernel on CPUs goes through a batch image by image. The products take all images at once, which makes a
    step on images as small as these three times as fast. The sums are the same, in another order.
    """
    images, weight = op.inputs
    height, width, inputs, outputs = weight.shape.as_list()
    strides, padding = op.get_attr("strides"), op.get_attr("padding")
    if (height, width) == (1, 1) and strides == [1, 1, 1, 1]:
        rows = tf.reshape(gradient, [-1, outputs])
        of_images = tf.matmul(rows, tf.reshape(weight, [inputs, outputs]), transpose_b=True)
        of_weight = tf.matmul(tf.reshape(images, [-1, inputs]), rows, transpose_a=True)
        return tf.reshape(of_images, tf.shape(images)), tf.reshape(of_weight, weight.shape)
    return (
        tf.nn.conv2d_backprop_input(tf.shape(images), weight, gradient, strides, padding),
        tf.nn.conv2d_backprop_filter(images, tf.shape(weight), gradient, strides, padding),
    )


def model_fn(features: Any, labels: Any, mode: str, params: Dict[str, Any]) -> Any:
    """Builds the net, and in training its loss and train op; knows nothing of pruning.

    Args:
        features: float32 [batch, side, side, 1].
        labels: int64 [batch], None where classes are predicted.
        mode: of the Estimator.
        params: ``case``, a Case, and ``training``, a Training.
    """
    from nets import mobilenet_v1
    from tensorflow.contrib import slim

    case: Case = params["case"]
    training: Training = params["training"]
    trains = mode == tf.estimator.ModeKeys.TRAIN
    scope = mobilenet_v1.mobilenet_v1_arg_scope(
        is_training=trains, weight_decay=training.weight_decay, batch_norm_decay=training.batch_norm_decay
    )
    with tf.get_default_graph().gradient_override_map({"Conv2D": _GRADIENT}), slim.arg_scope(scope):
        logits, _ = mobilenet_v1.mobilenet_v1(features, CLASSES, is_training=trains, depth_multiplier=case.depth)
    if not trains:
        return tf.estimator.EstimatorSpec(mode, predictions={"logits": logits})
    tf.losses.sparse_softmax_cross_entropy(labels, logits)
    loss, step = tf.losses.get_total_loss(), tf.train.get_global_step()
    rate = tf.train.cosine_decay(training.rate, step, training.steps)
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        train_op = tf.train.MomentumOptimizer(rate, training.momentum).minimize(loss, step)
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)
