"""Gradients that the model defines itself, and forward passes that run again while gradients are built.

TensorFlow allows variables inside them to be resource variables only. Recomputation changes no value, so that the
twin does without.
"""

import pytest
import tensorflow.compat.v1 as tf
from tensorflow.contrib import graph_editor
from tensorflow.contrib import layers as contrib_layers

from tests.gradients.pieces import apply, dense, mean_square, minimize
from tests.gradients.twins import assert_trains_as_its_twin

KINDS = pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])


def _with_layer(layer):
    """A model whose middle layer is given."""

    def build(batch):
        return minimize(mean_square(dense(layer(dense(batch, 8, "first")), 3, "last")))

    return build


def _custom_gradient(gradients_of):
    """A layer with a gradient of its own: `gradients_of(inputs, weight, outputs, dy)` by the inputs and the weight."""

    @tf.custom_gradient
    def layer(inputs):
        weight = tf.get_variable("hidden/kernel", [8, 8])
        outputs = tf.matmul(inputs, weight)

        def gradient(dy, variables=None):
            by_inputs, by_weight = gradients_of(inputs, variables[0], weight, outputs, dy)
            return by_inputs, [by_weight]

        return outputs, gradient

    return _with_layer(layer)


def test_a_custom_gradient_made_of_tensorflows():
    def clipped(inputs, variable, weight, outputs, dy):
        by_inputs, by_variable = tf.gradients(outputs, [inputs, variable], dy)
        return tf.clip_by_value(by_inputs, -0.01, 0.01), by_variable

    assert_trains_as_its_twin(_custom_gradient(clipped), use_resource=True)


def _by_product(inputs, weight, dy):
    return tf.matmul(dy, weight, transpose_b=True)


def _by_sum(inputs, weight, dy):
    return tf.reduce_sum(dy[:, tf.newaxis, :] * weight, 2)


def _written_out(by_inputs):
    def gradients(inputs, variable, weight, outputs, dy):
        by_product = tf.matmul(inputs, dy, transpose_a=True)
        # The twin's weight is a product, whose gradient reaches the variable through the mask.
        by_variable = by_product if weight is variable else tf.gradients(weight, variable, by_product)[0]
        return by_inputs(inputs, weight, dy), by_variable

    return _custom_gradient(gradients)


def test_a_custom_gradient_that_multiplies_by_the_weight():
    assert_trains_as_its_twin(_written_out(_by_product), use_resource=True)


def test_a_custom_gradient_that_reads_the_weight_by_other_ops():
    assert_trains_as_its_twin(_written_out(_by_sum), use_resource=True)


def _of_an_argument(by_inputs):
    """The same, of a function that takes the weight's value as an argument."""

    @tf.custom_gradient
    def product(inputs, weight):
        def gradient(dy):
            return by_inputs(inputs, weight, dy), tf.matmul(inputs, dy, transpose_a=True)

        return tf.matmul(inputs, weight), gradient

    return _with_layer(lambda inputs: product(inputs, tf.get_variable("hidden/kernel", [8, 8])))


@KINDS
def test_a_custom_gradient_that_multiplies_by_its_argument(use_resource):
    assert_trains_as_its_twin(_of_an_argument(_by_product), use_resource)


@KINDS
def test_a_custom_gradient_that_reads_its_argument_by_other_ops(use_resource):
    assert_trains_as_its_twin(_of_an_argument(_by_sum), use_resource)


@tf.RegisterGradient("ClippedMatMulOfTests")
def _clipped_gradient(op, dy):
    inputs, weight = op.inputs
    return tf.clip_by_value(_by_product(inputs, weight, dy), -0.01, 0.01), tf.matmul(inputs, dy, transpose_a=True)


@KINDS
def test_a_gradient_that_overrides_an_ops_own(use_resource):
    def layer(inputs):
        with tf.get_default_graph().gradient_override_map({"MatMul": "ClippedMatMulOfTests"}):
            return tf.matmul(inputs, tf.get_variable("hidden/kernel", [8, 8]))

    assert_trains_as_its_twin(_with_layer(layer), use_resource)


def _block(inputs):
    with tf.variable_scope("block", reuse=tf.AUTO_REUSE):
        hidden = tf.tanh(tf.matmul(inputs, tf.get_variable("first", [8, 8])))
        return tf.tanh(tf.matmul(hidden, tf.get_variable("last", [8, 8])))


def _cast_block(inputs):
    with tf.variable_scope("block", reuse=tf.AUTO_REUSE):
        weight = tf.cast(tf.get_variable("first", [8, 8]), tf.float64)
        return tf.tanh(tf.cast(tf.matmul(tf.cast(inputs, tf.float64), weight), tf.float32))


BLOCKS = {"two weights": _block, "cast weight": _cast_block}


@pytest.mark.parametrize("options", [{}, {"use_data_dep": True}, {"tupleize_grads": True}], ids=str)
@pytest.mark.parametrize("block", BLOCKS)
def test_recomputation_of_contrib(block, options):
    wrapped = contrib_layers.recompute_grad(**options)(BLOCKS[block])
    assert_trains_as_its_twin(_with_layer(wrapped), use_resource=True, twin=_with_layer(BLOCKS[block]))


def _recomputed_layer(recompute, make_layer):
    def build(batch):
        layer = make_layer(8, "tanh", name="hidden")

        def call(inputs):
            return layer(inputs)

        return _with_layer(recompute(call))(batch)

    return build


def test_recomputation_of_a_layer_by_contrib():
    build = _recomputed_layer(contrib_layers.recompute_grad, _tf_dense)
    twin = _recomputed_layer(lambda function: function, _tf_dense)
    assert_trains_as_its_twin(build, use_resource=True, twin=twin)


def _tf_dense(units, activation, name):
    return tf.layers.Dense(units, getattr(tf, activation), name=name)


@pytest.mark.parametrize("block", BLOCKS)
def test_recomputation_of_tensorflow(block):
    build, twin = _with_layer(tf.recompute_grad(BLOCKS[block])), _with_layer(BLOCKS[block])
    assert_trains_as_its_twin(build, use_resource=True, twin=twin)


@pytest.mark.parametrize("make_layer", [_tf_dense, tf.keras.layers.Dense], ids=["tf.layers", "keras"])
def test_recomputation_of_a_layer_by_tensorflow(make_layer):
    build = _recomputed_layer(tf.recompute_grad, make_layer)
    twin = _recomputed_layer(lambda function: function, _tf_dense)
    assert_trains_as_its_twin(build, use_resource=True, twin=twin)


def test_reversible_blocks_of_contrib():
    """Their inputs are computed anew from their outputs, which rounds: the twin is reversible, too."""

    def layer(name):
        return lambda inputs: tf.layers.dense(inputs, 4, tf.tanh, name=name)

    def build(batch):
        halves = tf.split(dense(batch, 8, "first"), 2, 1)
        halves = contrib_layers.rev_block(*halves, layer("f"), layer("g"), num_layers=2)
        return minimize(mean_square(dense(tf.concat(halves, 1), 3, "last")))

    assert_trains_as_its_twin(build, use_resource=True)


@KINDS
def test_recomputation_by_copied_ops(use_resource):
    """Checkpointing as it is done to any graph: ops are copied from an activation on, and the copies differentiated."""

    def build(batch, copy=True):
        hidden = dense(batch, 7, "first")
        loss = mean_square(dense(hidden, 3, "last"))
        variables = tf.trainable_variables()
        if not copy:
            return apply(loss, tf.gradients(loss, variables), variables)
        ops = graph_editor.get_backward_walk_ops(loss.op, stop_at_ts=[hidden], inclusive=True)
        ops = [op for op in ops if op.inputs and op.type != "ReadVariableOp" and not op.name.endswith("/read")]
        start = tf.stop_gradient(hidden)
        _, copies = graph_editor.copy_with_input_replacements(graph_editor.sgv(ops), {hidden: start})
        again = copies.transformed(loss)
        assert again is not loss
        *last, by_hidden = tf.gradients(again, [*variables[2:], start])
        first = tf.gradients(hidden, variables[:2], by_hidden)
        return apply(loss, [*first, *last], variables)

    assert_trains_as_its_twin(build, use_resource, twin=lambda batch: build(batch, copy=False))
