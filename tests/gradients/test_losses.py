"""Several losses, several optimizers, gradients that are added up before they are applied."""

import pytest
import tensorflow.compat.v1 as tf

from tests.gradients.pieces import apply, dense, mean_square, minimize, momentum, two_layers
from tests.gradients.twins import assert_trains_as_its_twin


def adversarial_nets(batch):
    """Two optimizers with their own variables; the judge's third use is built after its own gradients."""
    fake = dense(dense(batch[:, :4], 6, "generator/first"), 8, "generator/last")

    def judge(samples):
        return dense(dense(samples, 5, "judge/first"), 1, "judge/last")

    judge_loss = mean_square(judge(batch) - 1.0) + mean_square(judge(tf.stop_gradient(fake)) + 1.0)
    judge_pairs = tf.train.AdamOptimizer(0.01).compute_gradients(judge_loss, tf.trainable_variables("judge"))
    loss = mean_square(judge(fake) - 1.0)
    pairs = momentum().compute_gradients(loss, tf.trainable_variables("generator"))
    with tf.control_dependencies([loss, *(gradient for gradient, _ in [*judge_pairs, *pairs])]):
        first = tf.train.AdamOptimizer(0.01).apply_gradients(judge_pairs)
        second = momentum().apply_gradients(pairs, tf.train.get_global_step())
    return loss, tf.group(first, second)


def one_loss_differentiated_twice(batch):
    loss, variables = mean_square(two_layers(batch)), tf.trainable_variables()
    once, again = tf.gradients(loss, variables), tf.gradients(loss, variables)
    return apply(loss, [2.0 * first - 0.5 * second for first, second in zip(once, again)], variables)


def two_losses_with_shared_weights(batch):
    hidden = dense(batch, 7, "first")
    losses = [mean_square(dense(hidden, 3, "last")), tf.reduce_mean(tf.abs(dense(hidden, 2, "other")))]
    variables = tf.trainable_variables()
    pairs = zip(*(tf.gradients(loss, variables) for loss in losses))
    return apply(losses[0], [tf.add_n([g for g in pair if g is not None]) for pair in pairs], variables)


def accumulators_over_steps(batch):
    """Adds gradients up over three steps, then applies and clears them."""
    loss, variables = mean_square(two_layers(batch)), tf.trainable_variables()
    zeros = tf.zeros_initializer()
    sums = [tf.get_variable(f"{v.op.name}/sum", v.shape, initializer=zeros, trainable=False) for v in variables]
    with tf.control_dependencies([loss]):
        added = [total.assign_add(gradient) for total, gradient in zip(sums, tf.gradients(loss, variables))]
    with tf.control_dependencies(added):
        step = tf.train.get_global_step().assign_add(1)
        totals = [total.read_value() for total in sums]

    def move():
        moved = tf.train.GradientDescentOptimizer(0.1).apply_gradients(zip(totals, variables))
        with tf.control_dependencies([moved]):
            return tf.group(*[total.assign(tf.zeros_like(total)) for total in sums])

    return loss, tf.cond(tf.equal(step % 3, 0), move, tf.no_op)


def a_tower_for_each_micro_batch(batch):
    losses = [mean_square(two_layers(part)) for part in tf.split(batch, 3)]
    variables = tf.trainable_variables()
    parts = zip(*(tf.gradients(loss, variables) for loss in losses))
    return apply(tf.add_n(losses), [tf.add_n(part) / 3.0 for part in parts], variables)


def gradients_of_each_example(batch):
    """Clips the gradients of each example, in a loop, as private training does."""
    loss, variables = mean_square(two_layers(batch)), tf.trainable_variables()

    def one(example):
        gradients = tf.gradients(mean_square(two_layers(example[tf.newaxis])), variables)
        return tf.clip_by_global_norm(gradients, 0.1)[0]

    each = tf.map_fn(one, batch, dtype=[tf.float32] * len(variables), parallel_iterations=1)
    return apply(loss, [tf.reduce_mean(gradients, 0) for gradients in each], variables)


def activations_stopped_in_one_of_two_heads(batch):
    hidden = dense(batch, 7, "first")
    return minimize(mean_square(dense(hidden, 3, "last")) + mean_square(dense(tf.stop_gradient(hidden), 3, "other")))


def weight_stopped_for_one_of_two_consumers(batch):
    weight = tf.get_variable("half/kernel", [8, 8])
    hidden = tf.tanh(tf.matmul(batch, weight))
    return minimize(mean_square(dense(tf.matmul(hidden, tf.stop_gradient(weight)), 3, "last")))


def one_optimizer_for_each_branch_of_a_cond(batch):
    fake = dense(batch[:, :4], 8, "generator")
    judge_loss = mean_square(dense(batch, 1, "judge") - 1.0) + mean_square(dense(tf.stop_gradient(fake), 1, "judge"))
    loss, step = mean_square(dense(fake, 1, "judge") - 1.0), tf.train.get_global_step()

    def move(own_loss, scope):
        return tf.train.GradientDescentOptimizer(0.1).minimize(own_loss, step, tf.trainable_variables(scope))

    with tf.control_dependencies([judge_loss, loss]):
        is_even = tf.equal(step % 2, 0)
        train_op = tf.cond(is_even, lambda: move(judge_loss, "judge"), lambda: move(loss, "generator"))
    return judge_loss + loss, train_op


BUILDS = [
    adversarial_nets,
    one_loss_differentiated_twice,
    two_losses_with_shared_weights,
    accumulators_over_steps,
    a_tower_for_each_micro_batch,
    gradients_of_each_example,
    activations_stopped_in_one_of_two_heads,
    weight_stopped_for_one_of_two_consumers,
    one_optimizer_for_each_branch_of_a_cond,
]


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.__name__)
def test_training_equals_the_twins(build, use_resource):
    assert_trains_as_its_twin(build, use_resource)
