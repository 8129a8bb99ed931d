"""Weights that function bodies read: control flow v2, tf.function, Defun."""

from typing import Any, Callable, Dict

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tensorflow.python.eager.function import defun
from tensorflow.python.framework import function
from tensorflow.python.ops import cond_v2, control_flow_util, while_v2

from graph_masker.masker import Masker, plan_graph
from graph_masker.spec import PruningSpec
from tests.helpers.bits import assert_same_bits, differences, unsigned_zeros
from tests.helpers.graphs import snapshot
from tests.helpers.running import initialize, normal_value, random_mask, single_threaded, variables_by_name

SPEC = PruningSpec(0.5, 1, 10)
Build = Callable[[Any, Any], Any]


def _if(batch: Any, weight: Any) -> Any:
    hidden = cond_v2.cond_v2(tf.reduce_sum(batch) < 1e6, lambda: batch @ weight, lambda: tf.tanh(batch @ weight))
    return tf.tanh(hidden) @ weight


def _while(batch: Any, weight: Any) -> Any:
    def body(step: Any, hidden: Any) -> Any:
        return step + 1, tf.tanh(hidden @ weight)

    return while_v2.while_loop(lambda step, _: step < 3, body, (0, batch), return_same_structure=True)[1]


def _function(batch: Any, weight: Any) -> Any:
    @defun
    def layer(hidden: Any) -> Any:
        return tf.tanh(hidden @ weight)

    return layer(layer(batch))


def _nested(batch: Any, weight: Any) -> Any:
    @defun
    def outer(hidden: Any) -> Any:
        return _while(hidden, weight) + tf.transpose(tf.transpose(weight) @ tf.transpose(hidden))

    return outer(batch)


def _given_value(batch: Any, weight: Any) -> Any:
    @defun
    def layer(hidden: Any, kernel: Any) -> Any:
        return tf.tanh(hidden @ tf.cast(tf.cast(kernel, tf.float64), tf.float32))

    return layer(batch, tf.convert_to_tensor(weight))


def _defun(batch: Any, weight: Any) -> Any:
    @function.Defun(tf.float32, tf.float32)
    def layer(hidden: Any, kernel: Any) -> Any:
        return tf.tanh(tf.matmul(tf.reshape(hidden, [2, 3]), tf.reshape(kernel, [3, 3])))

    output = layer(batch, weight)
    output.set_shape([2, 3])
    return output


def _identity_like(batch: Any, weight: Any) -> Any:
    @function.Defun(tf.float32, python_grad_func=lambda op, dy: tf.convert_to_tensor(dy))
    def convert_gradient(value: Any) -> Any:
        return value

    kernel = convert_gradient(weight)
    kernel.set_shape([3, 3])
    return batch @ kernel


CASES: Dict[str, Build] = {
    "if": _if,
    "while": _while,
    "function": _function,
    "nested": _nested,
    "given value": _given_value,
    "defun": _defun,
    "identity-like": _identity_like,
}
KINDS = pytest.mark.parametrize("kind", ["ref", "resource"])
ROWS = pytest.mark.parametrize("case", CASES)


def _built(case: str, kind: str, masked: bool, by_hand: bool = False) -> Any:
    with tf.Graph().as_default() as graph, tf.variable_scope(tf.get_variable_scope(), use_resource=kind == "resource"):
        masker = Masker(graph, SPEC)
        batch = tf.placeholder(tf.float32, [2, 3], name="batch")
        if masked:
            with masker.watching_gradients():
                weight = tf.get_variable("layer/kernel", [3, 3])
                output = CASES[case](batch, weight)
                gradient = tf.gradients(tf.reduce_sum(tf.square(output)), [weight, batch])
            masker.mask([output], strict=True)
        else:
            weight = tf.get_variable("layer/kernel", [3, 3])
            output = CASES[case](batch, weight)
            gradient = tf.gradients(tf.reduce_sum(tf.square(output)), [weight, batch])
        return graph, masker, {"output": output, "gradient": gradient[0], "to data": gradient[1]}


def _run(graph: Any, fetched: Dict[str, Any], values: Dict[str, Any]) -> Dict[str, Any]:
    with single_threaded(graph) as session:
        initialize(session)
        for name, value in values.items():
            variables_by_name(graph)[name].load(value, session)
        return session.run(fetched, {"batch:0": normal_value("batch", [2, 3])})


@KINDS
@ROWS
def test_masked_equals_dense_with_weights_masked_by_hand(case: str, kind: str):
    graph, masker, fetched = _built(case, kind, masked=True)
    weight, mask = normal_value("w", [3, 3]), random_mask("m", [3, 3])
    assert list(masker.masks) == ["layer/kernel"]
    found = _run(graph, fetched, {"layer/kernel": weight, masker.masks["layer/kernel"].op.name: mask})
    graph, _, fetched = _built(case, kind, masked=False)
    expected = _run(graph, fetched, {"layer/kernel": mask * weight})
    assert expected["gradient"][mask == 0].any(), "the dense gradient shows nothing: all zero"
    expected["gradient"] = expected["gradient"] * mask
    for side in (found, expected):
        side["gradient"] = unsigned_zeros(side["gradient"])
    assert_same_bits(found, expected)


@KINDS
@ROWS
def test_masks_of_ones_change_no_bit(case: str, kind: str):
    weight = {"layer/kernel": normal_value("w", [3, 3])}
    graph, _, fetched = _built(case, kind, masked=True)
    found = _run(graph, fetched, weight)
    graph, _, fetched = _built(case, kind, masked=False)
    expected = _run(graph, fetched, weight)
    assert_same_bits(found, expected)
    assert differences(found, {**expected, "output": expected["output"] * np.float32(1.5)})


@KINDS
@ROWS
def test_masking_again_changes_nothing(case: str, kind: str):
    graph, masker, fetched = _built(case, kind, masked=True)
    before = snapshot(graph)
    masker.mask([fetched["output"]], strict=True)
    assert snapshot(graph) == before
    assert [site.op_types for site in masker.plan.sites] == [("MatMul",)]


@KINDS
def test_masks_are_updated_where_control_flow_v2_is_enabled(kind: str, monkeypatch: Any):
    monkeypatch.setattr(control_flow_util, "ENABLE_CONTROL_FLOW_V2", True)
    with tf.Graph().as_default() as graph, tf.variable_scope(tf.get_variable_scope(), use_resource=kind == "resource"):
        masker = Masker(graph, PruningSpec(0.5, 0, 4, 2))
        with masker.watching_gradients():
            hidden = tf.layers.dense(tf.ones([2, 4]), 4, name="first")
            output = tf.cond(tf.reduce_sum(hidden) > 0, lambda: tf.layers.dense(hidden, 4), lambda: hidden)
            step = tf.train.get_or_create_global_step()
            train_op = tf.train.MomentumOptimizer(0.1, 0.9).minimize(tf.reduce_mean(output**2), step)
        masker.mask([output])
        update = masker.attach_update(train_op)
        assert control_flow_util.ENABLE_CONTROL_FLOW_V2
    with single_threaded(graph) as session:
        initialize(session)
        for _ in range(4):
            session.run(update)
        assert [int(session.run(mask).sum()) for mask in masker.masks.values()] == [8, 8]


@pytest.mark.parametrize("case", ["if", "while", "function", "nested"])
def test_bodies_that_were_built_before_are_left_dense_with_a_reason(case: str):
    graph, _, fetched = _built(case, "resource", masked=False)
    with graph.as_default():
        head = tf.layers.dense(fetched["output"], 2, name="head")
        plan = plan_graph(graph, SPEC, [head], gradient_ops=())
    assert [site.variable for site in plan.sites] == ["head/kernel"]
    reasons = {skip.variable: skip.reason for skip in plan.skips}
    assert "the function body that" in reasons["layer/kernel"]
    assert "reads it through its handle" in reasons["layer/kernel"]
