"""Masking graphs whose gradients exist: what is found, and what is refused whole."""

from typing import Any, Callable

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tensorflow.contrib import rnn as contrib_rnn

from graph_masker import mask_graph, plan_graph
from graph_masker.errors import PlanError
from graph_masker.spec import PruningSpec
from tests.helpers.graphs import collection_names, snapshot
from tests.helpers.running import initialize, single_threaded

SPEC = PruningSpec(0.5, 0, 10, 5)
KINDS = pytest.mark.parametrize("kind", ["ref", "resource"])


def data(*shape: int) -> Any:
    return tf.placeholder(tf.float32, shape)


def weight(*shape: int, name: str = "v", **options: Any) -> Any:
    return tf.get_variable(name, shape, **options)


def trained(build: Callable[[], Any], kind: str) -> Any:
    """Returns the graph of a model and of its training, and its loss."""
    with tf.Graph().as_default() as graph, tf.variable_scope(tf.get_variable_scope(), use_resource=kind == "resource"):
        loss = build()
        tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss, tf.train.get_or_create_global_step())
    return graph, loss


def _tied_embedding() -> Any:
    table = weight(5, 3)
    return tf.reduce_sum(tf.square(tf.gather(table, tf.placeholder(tf.int32, [2])) @ tf.transpose(table)))


def _weight_norm() -> Any:
    return tf.reduce_sum(tf.square(data(2, 3) @ tf.nn.l2_normalize(weight(3, 4), 0)))


def _block_cell() -> Any:
    cell = contrib_rnn.LSTMBlockCell(4, name="cell")
    return tf.reduce_sum(tf.nn.static_rnn(cell, [data(2, 3)], dtype=tf.float32)[0][0])


def _gradient_penalty() -> Any:
    batch = data(2, 3)
    output = tf.tanh(batch @ weight(3, 4))
    return tf.reduce_sum(output) + tf.reduce_sum(tf.square(tf.gradients(output, batch)[0]))


def _overridden_gradient() -> Any:
    with tf.get_default_graph().gradient_override_map({"MatMul": "OverriddenMatMul"}):
        return tf.reduce_sum(data(2, 3) @ weight(3, 4))


@tf.RegisterGradient("OverriddenMatMul")
def _overridden(op: Any, grad: Any) -> Any:
    return None, 2.0 * tf.tensordot(op.inputs[0], grad, [[0], [0]]) + tf.reduce_mean(op.inputs[0])


REFUSED = {
    "tied embedding": (_tied_embedding, "GatherV2|ResourceGather"),
    "weight normalisation": (_weight_norm, "Square|Mul"),
    "block cell": (_block_cell, "cell"),
    "gradient penalty": (_gradient_penalty, "differentiated again"),
    "overridden gradient": (_overridden_gradient, "no gradient of"),
}


@KINDS
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_matched_is_refused_whole(case: str, kind: str):
    build, reason = REFUSED[case]
    graph, loss = trained(build, kind)
    before, collections = snapshot(graph), collection_names(graph)
    with pytest.raises(PlanError, match="holds its gradients already, and") as caught:
        mask_graph(graph, SPEC, losses=[loss])
    assert any(word in str(caught.value) for word in reason.split("|"))
    assert "mask the graph before its gradients are built, or exclude this variable" in str(caught.value)
    assert snapshot(graph) == before
    assert collection_names(graph) == collections


def _block_lstm() -> Any:
    cell = contrib_rnn.LSTMBlockFusedCell(5)
    outputs, _ = cell(data(3, 2, 4), dtype=tf.float32)
    kernel = next(v for v in tf.trainable_variables() if v.shape.ndims == 2)
    return tf.reduce_mean(outputs**2), kernel


def _product() -> Any:
    kernel = weight(3, 4)
    return tf.reduce_mean((data(2, 3) @ kernel) ** 2), kernel


def _overridden_product() -> Any:
    with tf.get_default_graph().gradient_override_map({"MatMul": "OverriddenMatMul"}):
        return _product()


def _assigned(loss: Any, kernel: Any) -> None:
    tf.assign(kernel, kernel - 0.1 * tf.gradients(loss, kernel)[0])


def _subtracted(loss: Any, kernel: Any) -> None:
    tf.assign_sub(kernel, 0.1 * tf.gradients(loss, kernel)[0])


def _applied_in_a_cond(loss: Any, kernel: Any) -> None:
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    pairs = optimizer.compute_gradients(loss, [kernel])
    tf.cond(tf.reduce_all(tf.is_finite(pairs[0][0])), lambda: optimizer.apply_gradients(pairs), tf.no_op)


def _minimized_in_a_cond(loss: Any, kernel: Any) -> None:
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    tf.cond(tf.placeholder(tf.bool, []), lambda: optimizer.minimize(loss), tf.no_op)


def _differentiated_in_a_cond(loss: Any, kernel: Any) -> None:
    is_taken = tf.placeholder(tf.bool, [])
    tf.assign_sub(kernel, tf.cond(is_taken, lambda: tf.gradients(loss, kernel)[0], lambda: tf.zeros(kernel.shape)))


def _fetched(loss: Any, kernel: Any) -> None:
    tf.gradients(loss, kernel)


UNSEEN = [
    *((_block_lstm, train) for train in (_assigned, _subtracted, _applied_in_a_cond, _fetched)),
    *((_product, train) for train in (_minimized_in_a_cond, _differentiated_in_a_cond)),
    *((_overridden_product, train) for train in (_assigned, _subtracted)),
]


@KINDS
@pytest.mark.parametrize("build, train", UNSEEN, ids=lambda function: function.__name__[1:])
def test_whatever_trains_a_weight_its_gradient_must_be_found(build: Any, train: Any, kind: str):
    with tf.Graph().as_default() as graph, tf.variable_scope(tf.get_variable_scope(), use_resource=kind == "resource"):
        loss, kernel = build()
        train(loss, kernel)
    before = snapshot(graph)
    with pytest.raises(PlanError, match="holds its gradients already, and"):
        mask_graph(graph, SPEC, losses=[loss])
    assert snapshot(graph) == before


@KINDS
@pytest.mark.parametrize("train", [_assigned, _subtracted, _applied_in_a_cond], ids=lambda f: f.__name__[1:])
def test_assignments_train_the_unmasked_entries_only(train: Any, kind: str):
    with tf.Graph().as_default() as graph, tf.variable_scope(tf.get_variable_scope(), use_resource=kind == "resource"):
        loss, kernel = _product()
        train(loss, kernel)
        updates = [op for op in graph.get_operations() if op.type.startswith(("Assign", "Apply", "ResourceApply"))]
        update = updates[-1]
        masker = mask_graph(graph, SPEC, losses=[loss])
        finite = [op for op in graph.get_operations() if op.type == "Merge"]
    feed = {op.outputs[0]: np.ones([2, 3]) for op in graph.get_operations() if op.type == "Placeholder"}
    with single_threaded(graph) as session:
        initialize(session)
        mask = np.arange(12).reshape(3, 4) % 2
        masker.masks["v"].load(mask.astype(np.float32), session)
        start = session.run(kernel)
        session.run(finite[-1:] or update, feed)
        moved = session.run(kernel) != start
    assert (moved == (mask == 1)).all()


@KINDS
def test_a_gradient_that_training_does_not_use_leaves_it_alone(kind: str):
    with tf.Graph().as_default() as graph, tf.variable_scope(tf.get_variable_scope(), use_resource=kind == "resource"):
        batch = data(2, 3)
        output = tf.tanh(batch @ weight(3, 4))
        saliency = tf.gradients(output, batch)[0]
        masker = mask_graph(graph, SPEC, outputs=[output, saliency])
        assert masker.update_op is None
    (site,) = masker.plan.sites
    assert [consumer.op_type for consumer in site.consumers] == ["MatMul", "MatMul"]
    with single_threaded(graph) as session:
        initialize(session)
        masker.masks["v"].load(np.zeros([3, 4], np.float32), session)
        found = session.run([output, saliency], {batch: np.ones([2, 3])})
    assert not any(value.any() for value in found)


@KINDS
def test_a_product_that_looks_like_a_gradient_is_not_taken_for_one(kind: str):
    with tf.Graph().as_default() as graph, tf.variable_scope(tf.get_variable_scope(), use_resource=kind == "resource"):
        square = data(3, 3)
        hidden = tf.tanh(square @ weight(3, 3))
        gram = tf.matmul(square, hidden)
        loss = tf.reduce_sum(gram @ weight(3, 2, name="w"))
        tf.train.GradientDescentOptimizer(0.1).minimize(loss)
        plan = plan_graph(graph, SPEC, losses=[loss])
        unknown = plan_graph(graph, SPEC)
    for found in (plan, unknown):
        gradients = {site.variable: site.gradients for site in found.sites}
        assert all("gradients/" in gradient.result for items in gradients.values() for gradient in items)
        assert [len(items) for items in gradients.values()] == [1, 1]


@KINDS
def test_two_gradient_calls_are_both_masked(kind: str):
    def build() -> Any:
        batch, kernel = data(2, 3), weight(3, 3)
        output = tf.tanh(batch @ kernel) @ kernel
        first, second = tf.reduce_sum(output), tf.reduce_sum(tf.square(output))
        tf.train.GradientDescentOptimizer(0.1).minimize(first)
        return second

    graph, loss = trained(build, kind)
    (site,) = mask_graph(graph, SPEC, losses=[loss]).plan.sites
    assert len(site.gradients) == 2
    assert [len(gradient.summands[0].tensors) for gradient in site.gradients] == [2, 2]
