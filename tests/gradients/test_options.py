"""The options of the calls that build gradients."""

import pytest
import tensorflow.compat.v1 as tf

from tests.gradients.pieces import apply, dense, mean_square, minimize, two_layers
from tests.gradients.twins import assert_trains_as_its_twin

KINDS = pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
OPTIONS = {
    "gate none": {"gate_gradients": tf.train.Optimizer.GATE_NONE},
    "gate op": {"gate_gradients": tf.train.Optimizer.GATE_OP},
    "gate graph": {"gate_gradients": tf.train.Optimizer.GATE_GRAPH},
    "colocate": {"colocate_gradients_with_ops": True},
    "add n": {"aggregation_method": tf.AggregationMethod.ADD_N},
    "tree": {"aggregation_method": tf.AggregationMethod.EXPERIMENTAL_TREE},
}


def _three_consumers(batch):
    weight = tf.get_variable("shared/kernel", [8, 8])
    first = tf.tanh(tf.matmul(batch, weight))
    second = tf.tanh(tf.matmul(first, weight))
    return mean_square(dense(second + tf.matmul(0.5 * batch, weight), 3, "last"))


@KINDS
@pytest.mark.parametrize("option", OPTIONS)
def test_options_of_minimize(option, use_resource):
    assert_trains_as_its_twin(lambda batch: minimize(_three_consumers(batch), **OPTIONS[option]), use_resource)


@KINDS
def test_accumulation_in_the_order_of_arrival(use_resource):
    """AccumulateNV2 adds in any order: each consumer sees rows of its own, so that every order gives one sum."""

    def build(batch):
        weight = tf.get_variable("shared/kernel", [8, 8])
        rows = [tf.cast(tf.equal(tf.range(8) % 3, number), tf.float32) for number in range(3)]
        hidden = tf.add_n([tf.tanh(tf.matmul(batch * own, weight)) for own in rows])
        method = tf.AggregationMethod.EXPERIMENTAL_ACCUMULATE_N
        built = minimize(mean_square(dense(hidden, 3, "last")), aggregation_method=method)
        assert any(op.type == "AccumulateNV2" for op in tf.get_default_graph().get_operations())
        return built

    assert_trains_as_its_twin(build, use_resource)


@KINDS
def test_weights_of_outputs(use_resource):
    def build(batch):
        outputs, variables = two_layers(batch), tf.trainable_variables()
        weights = tf.reshape(tf.linspace(-1.0, 2.0, 18), [6, 3])
        return apply(tf.reduce_sum(outputs), tf.gradients(outputs, variables, grad_ys=weights), variables)

    assert_trains_as_its_twin(build, use_resource)


@KINDS
def test_weight_of_the_loss(use_resource):
    def build(batch):
        return minimize(mean_square(two_layers(batch)), grad_loss=tf.constant(3.0))

    assert_trains_as_its_twin(build, use_resource)


@KINDS
def test_gradients_stopped_at_activations(use_resource):
    def build(batch):
        hidden = dense(batch, 7, "first")
        loss = mean_square(dense(hidden, 3, "last"))
        variables = tf.trainable_variables()
        return apply(loss, tf.gradients(loss, variables, stop_gradients=[hidden]), variables)

    assert_trains_as_its_twin(build, use_resource)


def _two_reads(read):
    """Differentiates by each of two reads of one weight, and applies the two gradients at different rates."""

    def build(batch):
        weight = tf.get_variable("net/kernel", [8, 8])
        one, other = read(weight), read(weight)
        loss = mean_square(tf.matmul(tf.tanh(tf.matmul(batch, one)), other))
        first, second = tf.gradients(loss, [one, other])
        with tf.control_dependencies([loss]):
            update = tf.trainable_variables()[0].assign_sub(0.1 * first + 0.3 * second)
        return loss, tf.group(update, tf.train.get_global_step().assign_add(1))

    return build


@KINDS
def test_gradients_with_respect_to_two_copies_of_a_weight(use_resource):
    assert_trains_as_its_twin(_two_reads(tf.identity), use_resource)


@pytest.mark.xfail(
    strict=True, raises=TypeError, reason="one product serves both reads and multiplies the first: the other has none"
)
@pytest.mark.parametrize(
    ("read", "use_resource"),
    [(lambda weight: weight.read_value(), False), (tf.convert_to_tensor, True)],
    ids=["ref", "resource"],
)
def test_gradients_with_respect_to_two_reads_of_a_weight(read, use_resource):
    assert_trains_as_its_twin(_two_reads(read), use_resource, twin=_two_reads(tf.identity))
