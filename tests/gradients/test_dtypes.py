"""Weights that are not float32, and float32 weights that are computed with in another type."""

import pytest
import tensorflow.compat.v1 as tf

from tests.gradients.pieces import apply, mean_square
from tests.gradients.twins import assert_trains_as_its_twin

KINDS = pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
TYPES = [tf.float16, tf.bfloat16, tf.float64]


def _normal(shape, dtype, partition_info=None):
    """An initializer for every type: TensorFlow's own have no bfloat16."""
    return tf.cast(0.4 * tf.random_normal(shape, seed=5), dtype)


def _dense(inputs, units, name):
    return tf.matmul(inputs, tf.get_variable(name, [inputs.shape[1], units], inputs.dtype, _normal))


def _conv(inputs, units, name):
    kernel = tf.get_variable(name, [2, 2, 2, units], inputs.dtype, _normal)
    return tf.layers.flatten(tf.nn.conv2d(tf.reshape(inputs, [-1, 2, 2, 2]), kernel, 1, "SAME"))


@KINDS
@pytest.mark.parametrize("layer", [_dense, _conv], ids=["matmul", "conv2d"])
@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: dtype.name)
def test_weights_of_a_type(dtype, layer, use_resource):
    def build(batch):
        hidden = tf.nn.relu(layer(tf.cast(batch, dtype), 6, "first/kernel"))
        loss = tf.reduce_sum(tf.abs(_dense(hidden, 3, "last/kernel")))
        optimizer = tf.train.GradientDescentOptimizer(0.01)
        gradients = optimizer.compute_gradients(loss)
        with tf.control_dependencies([loss, *(gradient for gradient, _ in gradients)]):
            return loss, optimizer.apply_gradients(gradients, tf.train.get_global_step())

    assert_trains_as_its_twin(build, use_resource)


def _float32_storage(getter, name, shape=None, dtype=None, trainable=True, **options):
    variable = getter(name, shape, tf.float32 if trainable else dtype, trainable=trainable, **options)
    return tf.cast(variable, dtype) if trainable and dtype is not tf.float32 else variable


@KINDS
@pytest.mark.parametrize("dtype", [tf.float16, tf.float64], ids=lambda dtype: dtype.name)
def test_weights_stored_as_float32_and_cast(dtype, use_resource):
    def build(batch):
        with tf.variable_scope("net", dtype=dtype, custom_getter=_float32_storage):
            hidden = tf.cast(tf.reshape(batch, [-1, 2, 2, 2]), dtype)
            hidden = tf.layers.conv2d(hidden, 4, 2, padding="same", activation=tf.tanh, name="conv")
            outputs = tf.layers.dense(tf.layers.flatten(hidden), 3, name="last")
        loss, variables = mean_square(tf.cast(outputs, tf.float32)), tf.trainable_variables()
        assert all(variable.dtype.base_dtype is tf.float32 for variable in variables)
        return apply(loss, [gradient / 64.0 for gradient in tf.gradients(64.0 * loss, variables)], variables)

    assert_trains_as_its_twin(build, use_resource)
