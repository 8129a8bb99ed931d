"""Applying plans: what is added, and that a refused plan leaves the graph as it was."""

from dataclasses import replace
from typing import Any, Tuple

import pytest
import tensorflow.compat.v1 as tf

from graph_masker import surgery, tf_compat
from graph_masker.errors import SurgeryError
from graph_masker.masker import Masker, plan_graph
from graph_masker.plan import MaskPlan
from graph_masker.spec import PruningSpec
from graph_masker.surgery import apply_plan
from tests.helpers.graphs import collection_names, snapshot

SPEC = PruningSpec(0.5, 1, 10)
KINDS = pytest.mark.parametrize("kind", ["ref", "resource"])


def two_layers(kind: str = "ref") -> Tuple[Any, Any]:
    graph = tf.Graph()
    with graph.as_default(), tf.variable_scope(tf.get_variable_scope(), use_resource=kind == "resource"):
        hidden = tf.layers.dense(tf.placeholder(tf.float32, [2, 3]), 4, name="first")
        return graph, tf.layers.dense(hidden, 5, name="second")


def planned(kind: str = "ref") -> Tuple[Any, MaskPlan]:
    graph, output = two_layers(kind)
    return graph, plan_graph(graph, SPEC, [output])


def with_first(plan: MaskPlan, **values: Any) -> MaskPlan:
    return replace(plan, sites=(plan.sites[0], replace(plan.sites[1], **values)))


@KINDS
def test_what_is_added(kind: str):
    graph, plan = planned(kind)
    before = snapshot(graph)
    masked = apply_plan(graph, plan)
    after = snapshot(graph)
    changed = {name for name, op in before.items() if after[name] != op}
    assert changed == {consumer.op for site in plan.sites for consumer in site.consumers}
    added = set(after) - set(before)
    places = ("first/mask", "first/threshold", "first/kernel/", "second/", "model_pruning/initial/")
    assert all(name.startswith(places) for name in added)
    for item in masked:
        assert item.mask.shape == item.weight.shape
        assert item.threshold.shape == []
        assert item.mask.dtype.base_dtype == item.weight.dtype.base_dtype
        assert (item.mask.op.type == "VarHandleOp") == (kind == "resource")
        assert item.mask in graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)
        assert item.mask not in graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES)


@KINDS
def test_contribs_collections_are_parallel(kind: str):
    graph, plan = planned(kind)
    apply_plan(graph, plan)
    names = collection_names(graph)
    assert names["kernel"] == ("first/kernel:0", "second/kernel:0")
    assert names["masks"] == ("first/mask:0", "second/mask:0")
    assert names["thresholds"] == ("first/threshold:0", "second/threshold:0")
    assert names["masked_weights"] == ("first/kernel/masked_weight:0", "second/kernel/masked_weight:0")


@KINDS
def test_inside_scopes_and_control_dependencies_nothing_of_them_sticks(kind: str):
    graph, plan = planned(kind)
    with graph.as_default(), tf.device("/cpu:0"), tf.name_scope("outer"), tf.variable_scope("scope"):
        barrier = tf.no_op()
        with tf.control_dependencies([barrier]):
            masked = apply_plan(graph, plan)
    names = [name for name in snapshot(graph) if name.startswith(("outer/", "scope"))]
    assert names == [barrier.name]
    for item in masked:
        assert item.mask.op.name == item.site.mask
        assert barrier not in graph.get_operation_by_name(item.site.masked_weight).control_inputs


BAD_PLANS = {
    "variable": (lambda plan: with_first(plan, variable="second/other"), "second/other: expected a variable"),
    "mask name": (lambda plan: with_first(plan, mask="first/kernel"), "first/kernel: expected a free name for"),
    "threshold name": (lambda plan: with_first(plan, threshold="first/bias"), "first/bias: expected a free name for"),
    "missing mask": (lambda plan: with_first(plan, masked=True), "second/mask: expected a variable"),
    "moved edge": (
        lambda plan: with_first(plan, reads=(replace_tensor(plan, "first/kernel/read:0"),)),
        "second/MatMul: expected input 1 to be 'first/kernel/read:0', found 'second/kernel/read:0'; plan anew",
    ),
}


def replace_tensor(plan: MaskPlan, tensor: str) -> Any:
    return plan.sites[1].reads[0]._replace(tensor=tensor)


@pytest.mark.parametrize("case", BAD_PLANS)
def test_a_refused_plan_leaves_the_graph_as_it_was(case: str):
    spoil, message = BAD_PLANS[case]
    graph, plan = planned()
    before, collections = snapshot(graph), collection_names(graph)
    with pytest.raises(SurgeryError, match=message):
        apply_plan(graph, spoil(plan))
    assert snapshot(graph) == before
    assert collection_names(graph) == collections


def test_a_failure_half_way_takes_everything_back_but_unused_ops(monkeypatch: Any):
    graph, plan = planned()
    before, collections = snapshot(graph), collection_names(graph)
    calls = []

    def fail_at_the_second(op: Any, index: int, tensor: Any) -> None:
        calls.append(op.name)
        if len(calls) == 2:
            raise RuntimeError("as if TensorFlow refused")
        op._update_input(index, tensor)

    monkeypatch.setattr(surgery.tf_compat, "update_input", fail_at_the_second)
    with pytest.raises(RuntimeError, match="as if TensorFlow refused"):
        apply_plan(graph, plan)
    after = snapshot(graph)
    assert calls[:2] == ["first/MatMul", "second/MatMul"]
    assert {name: after[name] for name in before} == before
    assert _filled(collection_names(graph)) == _filled(collections)


def _filled(collections: Any) -> Any:
    return {key: names for key, names in collections.items() if names}


def test_a_finalized_graph_is_refused():
    graph, plan = planned()
    graph.finalize()
    with pytest.raises(SurgeryError, match="the graph is finalized; mask it before a session or a hook finalizes it"):
        apply_plan(graph, plan)


def test_what_a_model_adds_later_is_masked_later():
    graph, output = two_layers()
    masker = Masker(graph, SPEC)
    masker.mask([output])
    with graph.as_default(), tf.variable_scope("", reuse=tf.AUTO_REUSE):
        weight = tf.get_variable("second/kernel")
        again = tf.placeholder(tf.float32, [2, 4]) @ weight
        third = tf.layers.dense(again, 3, name="third")
        masker.mask([output, third])
    assert list(masker.masks) == ["first/kernel", "second/kernel", "third/kernel"]
    assert len(graph.get_collection("masks")) == 3
    products = tf_compat.view_of_graph(graph).masks
    assert products[again.op.inputs[1].op.name].variable == "second/kernel"
