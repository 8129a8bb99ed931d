"""Models that random search found and shrank. Each one failed once, or fails as yet."""

import pytest
import tensorflow.compat.v1 as tf
from tensorflow.contrib import graph_editor

from fixtures.random_graphs import Cond, Head, Layer, Loop, Model
from graph_masker.masker import Masker
from tests.helpers.bits import assert_same_bits
from tests.properties.checks import check_everything, ones, subject_of, trained
from tests.properties.twins import SPEC, dense

SHRUNK = {
    "cached_value_feeds_model_and_average": Model((Layer("dynamic_lstm"),), kind="resource", averages="before"),
    "cached_value_feeds_model_and_decay": Model((Layer("static_gru"),), kind="resource", decay_by_hand=True),
    "cached_value_feeds_model_and_summary": Model((Layer("static_lstm"),), kind="resource", summaries=True),
    "embedding_and_its_product_inside_a_loop": Model(
        (Layer("dense"),), heads=(Head((Loop((Layer("tied"),)),)),), kind="resource"
    ),
    "ref_variable_read_inside_a_cond": Model((Layer("matmul"), Cond((Layer("matmul", read="read_value"),)))),
    "ref_variable_read_inside_a_loop": Model((Layer("matmul"), Loop((Layer("matmul", read="read_value"),)))),
}


@pytest.mark.parametrize("name", SHRUNK)
def test_every_guarantee_holds(name: str):
    check_everything(SHRUNK[name])


_MERGED = pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="Grappler merges sums of gradients, but not past a mask"
)


@pytest.mark.parametrize("merge_sums", [pytest.param(True, marks=_MERGED), False])
def test_gradients_of_a_loop_are_added_in_the_dense_order(merge_sums: bool):
    with subject_of(Model((Loop((Layer("static_lstm"),)),), kind="resource"), merge_sums=merge_sums) as subject:
        subject.set_masks(subject.masks(ones))
        subject.masked.load(subject.start)
        subject.dense.load(subject.start)
        assert_same_bits(subject.masked.evaluate(), subject.dense.evaluate())


@pytest.mark.parametrize("kind", ["ref", "resource"])
def test_one_identity_feeds_a_layer_and_a_summary(kind: str):
    with tf.Graph().as_default() as graph, tf.variable_scope("net", use_resource=kind == "resource"):
        value = tf.identity(tf.get_variable("kernel", [4, 4]))
        tf.summary.histogram("kernel", value)
        output = tf.matmul(tf.placeholder(tf.float32, [2, 4]), value)
        assert len(Masker(graph, SPEC).mask([output], strict=True).sites) == 1


@pytest.mark.parametrize("decay_first", [False, True], ids=["loss first", "decay first"])
def test_decay_stays_raw_where_it_is_differentiated_alone(decay_first: bool):
    with tf.Graph().as_default() as graph:
        kernel = tf.get_variable("kernel", [4, 4], regularizer=lambda weight: 1e-3 * tf.nn.l2_loss(weight))
        loss = tf.reduce_sum(tf.matmul(tf.placeholder(tf.float32, [2, 4]), kernel))
        (decay,) = tf.losses.get_regularization_losses()
        masker = Masker(graph, SPEC)
        with masker.watching_gradients():
            for objective in (decay, loss) if decay_first else (loss, decay):
                tf.gradients(objective, [kernel])
        assert [site.variable for site in masker.plan.sites] == ["kernel"]
        assert graph.get_operation_by_name("kernel/Regularizer/L2Loss").inputs[0].op.type == "Identity"


READ_LATE = Model((Layer("dense"), Loop((Layer("matmul", read="read_value"),), times=1)))


def test_both_ways_train_alike_where_a_loop_of_gradients_reads_a_ref_variable():
    assert_same_bits(trained(READ_LATE, "after"), trained(READ_LATE, "before"))


DECAYS_ALONE = Model(
    (Layer("dense", regularizer="l2"),), heads=(Head((Layer("stop_gradient", slot=1), Layer("matmul"))),)
)


@pytest.mark.parametrize(
    "model, weight, read, is_ordered",
    [
        (READ_LATE, "matmul_0/kernel", "gradients/while/MatMul_grad/MatMul", False),
        (DECAYS_ALONE, "matmul_0/kernel", "MatMul", True),
        (DECAYS_ALONE, "dense_0_2/kernel", "dense_0_2/MatMul", False),
    ],
)
def test_tensorflow_may_read_a_ref_variable_after_its_update(model: Model, weight: str, read: str, is_ordered: bool):
    """Without masks: in a loop's gradient, and in the forward pass where decay alone trains the weight."""
    graph = dense(model).built.graph
    assert graph.get_operation_by_name(read).type == "MatMul"
    (update,) = [
        op for op in graph.get_operations() if op.type == "ApplyGradientDescent" and op.inputs[0].op.name == weight
    ]
    # What must run before the update; in a loop, what must in the same turn.
    earlier = graph_editor.get_backward_walk_ops(
        update, control_inputs=True, within_ops_fn=lambda op: op.type != "NextIteration"
    )
    assert (read in {op.name for op in earlier}) == is_ordered
