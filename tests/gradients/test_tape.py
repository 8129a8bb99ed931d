"""tf.GradientTape in a graph: it differentiates without tf.gradients. Over ref variables TensorFlow refuses it."""

import pytest
import tensorflow.compat.v1 as tf
from tensorflow.contrib import rnn as contrib_rnn

from graph_masker import PlanError, auto_mask
from tests.gradients.pieces import apply, dense, mean_square, momentum, two_layers
from tests.gradients.twins import SPEC, assert_trains_as_its_twin, assert_trains_as_its_twin_or_is_refused


def tape_alone(batch):
    with tf.GradientTape() as tape:
        loss = mean_square(two_layers(batch))
    variables = tf.trainable_variables()
    return apply(loss, tape.gradient(loss, variables), variables)


def loss_as_a_function(batch):
    """Optimizers differentiate a function with a tape."""
    losses = []

    def loss():
        losses.append(mean_square(two_layers(batch)))
        return losses[-1]

    train_op = momentum().minimize(loss, tf.train.get_global_step())
    return losses[-1], train_op


def loss_as_a_function_with_keras(batch):
    loss = mean_square(two_layers(batch))
    optimizer = tf.keras.optimizers.SGD(0.1)
    train_op = optimizer.minimize(lambda: mean_square(two_layers(batch)), tf.trainable_variables)
    return loss, tf.group(train_op, tf.train.get_global_step().assign_add(1))


def tape_before_other_gradients(batch):
    with tf.GradientTape() as tape:
        hidden = dense(batch, 7, "first")
        loss = mean_square(dense(hidden, 3, "last"))
    variables = tf.trainable_variables()
    by_tape, others = tape.gradient(loss, variables), tf.gradients(mean_square(hidden), variables[:2])
    return apply(loss, [by_tape[0] + others[0], *by_tape[1:]], variables)


def tape_after_other_gradients(batch):
    with tf.GradientTape() as tape:
        hidden = dense(batch, 7, "first")
        loss = mean_square(dense(hidden, 3, "last"))
    variables = tf.trainable_variables()
    others, by_tape = tf.gradients(mean_square(hidden), variables[:2]), tape.gradient(loss, variables)
    return apply(loss, [by_tape[0] + others[0], *by_tape[1:]], variables)


def tape_opened_after_other_gradients(batch):
    loss = mean_square(two_layers(batch))
    others = tf.gradients(loss, tf.trainable_variables())
    with tf.GradientTape() as tape:
        again = mean_square(two_layers(0.5 * batch))
    variables = tf.trainable_variables()
    return _added(loss, tape.gradient(again, variables), others, variables)


def _no_tape_at_all(batch):
    loss, again = mean_square(two_layers(batch)), mean_square(two_layers(0.5 * batch))
    variables = tf.trainable_variables()
    return _added(loss, tf.gradients(again, variables), tf.gradients(loss, variables), variables)


def _added(loss, one, other, variables):
    return apply(loss, [first + second for first, second in zip(one, other)], variables)


def penalty_inside_a_tape(batch):
    with tf.GradientTape() as tape:
        outputs = two_layers(batch)
        loss = mean_square(outputs) + mean_square(tf.gradients(outputs, batch)[0])
    variables = tf.trainable_variables()
    return apply(loss, tape.gradient(loss, variables), variables)


def _as_keras_without_a_tape(batch):
    loss, again = mean_square(two_layers(batch)), mean_square(two_layers(batch))
    variables = tf.trainable_variables()
    pairs = zip(tf.gradients(again, variables), variables)
    train_op = tf.keras.optimizers.SGD(0.1).apply_gradients(pairs)
    return loss, tf.group(train_op, tf.train.get_global_step().assign_add(1))


BUILDS = [
    tape_alone,
    loss_as_a_function,
    tape_before_other_gradients,
    tape_after_other_gradients,
    penalty_inside_a_tape,
]


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.__name__)
def test_a_tape_is_never_silently_wrong(build):
    assert_trains_as_its_twin_or_is_refused(build, use_resource=True)


@pytest.mark.parametrize("build", [tape_alone, loss_as_a_function], ids=lambda build: build.__name__)
def test_a_tape_trains_as_its_twin(build):
    assert_trains_as_its_twin(build, use_resource=True)


def test_keras_optimizers_train_as_their_twin():
    """The twin's product is made once, before the tape, which would not see it."""
    build = loss_as_a_function_with_keras
    assert_trains_as_its_twin(build, use_resource=True, twin=_as_keras_without_a_tape)


def _fused_cell(batch):
    cell = contrib_rnn.LSTMBlockFusedCell(5, name="cell")
    return cell(tf.reshape(batch, [3, 2, 8]), dtype=tf.float32)[0]


def _normalised(batch):
    return tf.matmul(batch, tf.nn.l2_normalize(tf.get_variable("v", [8, 3]), 0))


def _tied(batch):
    table = tf.get_variable("table", [5, 8])
    rows = tf.gather(table, tf.cast(batch[:, 0] > 0, tf.int32))
    return tf.matmul(rows, table, transpose_b=True)


@pytest.mark.parametrize("layer", [_fused_cell, _normalised, _tied], ids=lambda function: function.__name__)
def test_a_tape_whose_gradients_are_not_known_is_refused(layer):
    def model_fn(features, mode):
        with tf.GradientTape() as tape:
            loss = mean_square(layer(features))
        variables = tf.trainable_variables()
        loss, train_op = apply(loss, tape.gradient(loss, variables), variables)
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)

    with tf.Graph().as_default(), tf.variable_scope("", use_resource=True):
        tf.train.get_or_create_global_step()
        with pytest.raises(PlanError, match="holds its gradients already, and"):
            auto_mask(model_fn, SPEC)(tf.placeholder(tf.float32, [6, 8]), mode=tf.estimator.ModeKeys.TRAIN)


def test_a_tape_opened_after_masking_is_never_silently_wrong():
    """The twin's product is made once, before the tape, which would not see it."""
    build = tape_opened_after_other_gradients
    assert_trains_as_its_twin_or_is_refused(build, use_resource=True, twin=_no_tape_at_all)


def _on_its_way(pass_through):
    """Weights pass an op between the variable and the product; other gradients are asked for, too."""

    def build(batch):
        with tf.GradientTape() as tape:
            first, last = (tf.get_variable(name, [8, 8]) for name in ("net/first", "out/last"))
            hidden = tf.tanh(tf.matmul(batch, pass_through(first)))
            loss = mean_square(tf.matmul(hidden, pass_through(last)))
        variables = tf.trainable_variables()
        tf.gradients(mean_square(hidden), variables[:1])
        return apply(loss, tape.gradient(loss, variables), variables)

    return build


@pytest.mark.parametrize(
    "pass_through",
    [
        tf.identity,
        lambda weight: tf.transpose(tf.transpose(weight)),
        lambda w: tf.cast(tf.cast(w, "float64"), "float32"),
    ],
    ids=["identity", "transpose", "cast"],
)
def test_a_tape_is_never_silently_wrong_where_weights_pass_an_op(pass_through):
    assert_trains_as_its_twin_or_is_refused(_on_its_way(pass_through), use_resource=True)
