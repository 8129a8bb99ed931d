"""Gradients of gradients."""

import pytest
import tensorflow.compat.v1 as tf
from tensorflow.python.ops.parallel_for.gradients import jacobian

from tests.gradients.pieces import apply, convolution, dense, mean_square, minimize, two_layers
from tests.gradients.twins import assert_trains_as_its_twin


def gradient_penalty(batch):
    outputs = dense(convolution(batch), 1, "last")
    slope = tf.gradients(outputs, batch)[0]
    norm = tf.sqrt(tf.reduce_sum(tf.square(slope), 1) + 1e-6)
    return minimize(mean_square(outputs - 1.0) + 10.0 * mean_square(norm - 1.0))


def penalty_of_a_net_built_after_other_gradients(batch):
    loss, variables = mean_square(two_layers(batch)), tf.trainable_variables()
    first = tf.gradients(loss, variables)
    between = 0.3 * batch + 0.7 * tf.reverse(batch, [0])
    slope = tf.gradients(two_layers(between), between)[0]
    second = tf.gradients(mean_square(tf.norm(slope, axis=1) - 1.0), variables)
    return apply(loss, [one if other is None else one + other for one, other in zip(first, second)], variables)


def norm_of_the_gradients_in_the_loss(batch):
    loss, variables = mean_square(two_layers(batch)), tf.trainable_variables()
    norm = tf.add_n([tf.reduce_sum(tf.square(gradient)) for gradient in tf.gradients(loss, variables)])
    return apply(loss, tf.gradients(loss + 0.1 * norm, variables), variables)


def jacobian_in_a_loop(batch):
    outputs = two_layers(batch)
    return minimize(mean_square(outputs) + mean_square(jacobian(outputs, batch, use_pfor=False)))


def descent_in_the_body_of_a_loop(batch):
    """Activations descend an energy whose weight the loss trains through the loop."""
    weight = tf.convert_to_tensor(tf.get_variable("energy/kernel", [8, 8]))

    def body(number, state):
        energy = tf.reduce_sum(tf.square(tf.tanh(tf.matmul(state, weight))))
        return number + 1, state - 0.1 * tf.gradients(energy, state)[0]

    start = (0, dense(batch, 8, "first"))
    _, state = tf.while_loop(lambda number, _: number < 3, body, start, parallel_iterations=1)
    loss, variables = mean_square(dense(state, 3, "last")), tf.trainable_variables()
    return apply(loss, tf.gradients(loss, variables), variables)


BUILDS = [
    gradient_penalty,
    penalty_of_a_net_built_after_other_gradients,
    norm_of_the_gradients_in_the_loss,
    jacobian_in_a_loop,
    descent_in_the_body_of_a_loop,
]


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.__name__)
def test_training_equals_the_twins(build, use_resource):
    assert_trains_as_its_twin(build, use_resource)
