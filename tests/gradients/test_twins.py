"""Negative controls: the comparison with a twin must fail where something differs."""

import pytest
import tensorflow.compat.v1 as tf

from tests.gradients.pieces import apply, dense, mean_square, minimize, two_layers
from tests.gradients.twins import assert_trains_as_its_twin, assert_trains_as_its_twin_or_is_refused, by_hand, ours
from tests.helpers.bits import assert_same_bits, differences, flip_last_bit


def _net(batch):
    return minimize(mean_square(two_layers(batch)))


@pytest.fixture(scope="module")
def theirs():
    return by_hand(_net, use_resource=False)


def test_the_same_start_gives_the_same_training(theirs):
    assert_same_bits(ours(_net, False, theirs.initial).flat(), theirs.flat())
    assert set(theirs.masks) == {"first/kernel", "last/kernel"}


@pytest.mark.parametrize("name", ["first/kernel", "last/kernel"])
def test_one_bit_of_one_weight_is_seen(theirs, name):
    initial = {**theirs.initial, name: flip_last_bit(theirs.initial[name])}
    assert differences(ours(_net, False, initial).flat(), theirs.flat())


def test_a_loss_that_masks_do_not_change_is_seen():
    with pytest.raises(AssertionError, match="masks change nothing"):
        assert_trains_as_its_twin(lambda batch: minimize(0.0 * mean_square(two_layers(batch))), False)


@pytest.mark.parametrize(
    "check", [assert_trains_as_its_twin, assert_trains_as_its_twin_or_is_refused], ids=["twin", "twin or refused"]
)
@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
def test_an_unmasked_gradient_is_seen(check, use_resource):
    """The twin differentiates by the product, and so moves what is masked, too."""

    def build(batch):
        weight = tf.convert_to_tensor(tf.get_variable("net/kernel", [8, 3]))
        loss = mean_square(tf.matmul(batch, weight))
        return apply(loss, tf.gradients(loss, weight), tf.trainable_variables())

    with pytest.raises(AssertionError, match="net/kernel: "):
        check(build, use_resource)


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
def test_an_unmasked_layer_is_seen(use_resource):
    def twin(batch):
        hidden = dense(batch, 7, "first")
        with tf.variable_scope("last"):
            kernel = tf.Variable(tf.ones([7, 3]), use_resource=use_resource, name="kernel")
            bias = tf.get_variable("bias", [3], initializer=tf.zeros_initializer())
        return minimize(mean_square(tf.tanh(tf.matmul(hidden, kernel) + bias)))

    with pytest.raises(AssertionError, match="mask of last/kernel: found on one side only"):
        assert_trains_as_its_twin(_net, use_resource, twin)
