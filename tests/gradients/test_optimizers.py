"""Optimizers, training helpers, and what is done to gradients before they are applied."""

import pytest
import tensorflow.compat.v1 as tf
from tensorflow.contrib import layers as contrib_layers
from tensorflow.contrib import mixed_precision, opt, slim

from tests.gradients.pieces import apply, convolution, dense, mean_square, minimize, momentum, two_layers
from tests.gradients.twins import assert_trains_as_its_twin

KINDS = pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])


def _variable_clipping():
    axes = {variable: [0] for variable in tf.trainable_variables() if variable.shape.ndims == 2}
    return opt.VariableClippingOptimizer(tf.train.GradientDescentOptimizer(0.1), axes, 0.5)


OPTIMIZERS = {
    "moving average": lambda: opt.MovingAverageOptimizer(momentum(), 0.9),
    "AdamW": lambda: opt.AdamWOptimizer(0.01, 0.01),
    "MomentumW": lambda: opt.MomentumWOptimizer(0.01, 0.05, 0.9),
    "LARS": lambda: opt.LARSOptimizer(0.05, weight_decay=0.01),
    "LazyAdam": lambda: opt.LazyAdamOptimizer(0.01),
    "variable clipping": _variable_clipping,
    "proximal": lambda: tf.train.ProximalAdagradOptimizer(0.05, l1_regularization_strength=0.01),
}


def _minimized_by(name, batch):
    """Gradients come first: the decay of contrib's AdamW waits for nothing else, masked or not."""
    loss, optimizer = mean_square(dense(convolution(batch), 3, "last")), OPTIMIZERS[name]()
    pairs = optimizer.compute_gradients(loss)
    with tf.control_dependencies([loss, *(gradient for gradient, _ in pairs)]):
        return loss, optimizer.apply_gradients(pairs, tf.train.get_global_step())


@KINDS
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, use_resource):
    assert_trains_as_its_twin(lambda batch: _minimized_by(name, batch), use_resource)


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
@pytest.mark.parametrize("name", ["AdamW", "LARS", "moving average"])
def test_optimizers_read_the_raw_weight_where_its_value_is_cached(name, use_resource):
    def build(batch):
        with tf.variable_scope(tf.get_variable_scope(), caching_device="/device:CPU:0"):
            return _minimized_by(name, batch)

    assert_trains_as_its_twin(build, use_resource)


CLIPS = {
    "value": lambda gradients: [tf.clip_by_value(gradient, -0.01, 0.01) for gradient in gradients],
    "norm": lambda gradients: [tf.clip_by_norm(gradient, 0.02) for gradient in gradients],
    "average norm": lambda gradients: [tf.clip_by_average_norm(gradient, 0.002) for gradient in gradients],
    "global norm": lambda gradients: tf.clip_by_global_norm(gradients, 0.05)[0],
}


@KINDS
@pytest.mark.parametrize("clip", CLIPS)
def test_clipping(clip, use_resource):
    def build(batch):
        loss, variables = mean_square(two_layers(batch)), tf.trainable_variables()
        return apply(loss, CLIPS[clip](tf.gradients(loss, variables)), variables)

    assert_trains_as_its_twin(build, use_resource)


@KINDS
def test_train_op_of_slim(use_resource):
    def build(batch):
        loss = mean_square(two_layers(batch))
        rates = {"first/kernel": 0.5}
        train_op = slim.learning.create_train_op(
            loss, momentum(), clip_gradient_norm=0.1, summarize_gradients=True, gradient_multipliers=rates
        )
        return loss, train_op

    assert_trains_as_its_twin(build, use_resource)


@KINDS
def test_optimize_loss_of_contrib(use_resource):
    def build(batch):
        loss = mean_square(two_layers(batch))
        step = tf.train.get_global_step()
        summaries = ["loss", "gradients", "gradient_norm"]
        return loss, contrib_layers.optimize_loss(loss, step, 0.05, "Adam", clip_gradients=0.1, summaries=summaries)

    assert_trains_as_its_twin(build, use_resource)


@KINDS
def test_loss_scaling(use_resource):
    def build(batch):
        loss = mean_square(two_layers(batch))
        manager = mixed_precision.ExponentialUpdateLossScaleManager(1024.0, incr_every_n_steps=2)
        optimizer = mixed_precision.LossScaleOptimizer(momentum(), manager)
        return loss, optimizer.minimize(loss, tf.train.get_global_step())

    assert_trains_as_its_twin(build, use_resource)


def test_updates_of_keras():
    def build(batch):
        loss, optimizer = mean_square(two_layers(batch)), tf.keras.optimizers.SGD(0.1, momentum=0.9)
        with tf.control_dependencies([loss]):
            updates = optimizer.get_updates(loss, tf.trainable_variables())
        return loss, tf.group(*updates, tf.train.get_global_step().assign_add(1))

    assert_trains_as_its_twin(build, use_resource=True)


@KINDS
def test_a_regularizer_reads_the_raw_weight(use_resource):
    """Its gradient moves what is masked, too."""

    def build(batch):
        loss = mean_square(two_layers(batch))
        decay = [tf.nn.l2_loss(variable) for variable in tf.trainable_variables()]
        return minimize(loss + 0.01 * tf.add_n(decay))

    assert_trains_as_its_twin(build, use_resource)


@KINDS
def test_a_regularizer_with_gradients_of_its_own_reads_the_raw_weight(use_resource):
    def build(batch):
        loss, variables = mean_square(two_layers(batch)), tf.trainable_variables()
        decay = 0.01 * tf.add_n([tf.nn.l2_loss(variable) for variable in variables])
        pairs = zip(tf.gradients(loss, variables), tf.gradients(decay, variables))
        return apply(loss, [one + other for one, other in pairs], variables)

    assert_trains_as_its_twin(build, use_resource)
