"""Masking a graph that is masked already: in the same process, or after it has been exported and imported."""

import logging
from dataclasses import replace
from typing import Any

import pytest
import tensorflow.compat.v1 as tf

from graph_masker import mask_graph
from graph_masker.errors import PlanError
from graph_masker.schedule import kept_entries
from graph_masker.spec import PruningSpec
from tests.engine.nets import BATCH, CONV, DENSE, Net, after_gradients, batch_of, mask_of, training
from tests.helpers.bits import assert_same_bits, differences

STEPS = 14
SPEC = PruningSpec(0.8, 2, 12, frequency=2)
CRITERIA = ["magnitude", "movement", "taylor"]


def _train(spec: PruningSpec, way: Any) -> Any:
    with training(Net(clipped=True), spec, way) as run:
        return run.steps(STEPS)


def _twice(net: Net, spec: PruningSpec) -> Any:
    """The second masker's update, which is the first's."""
    tf.train.get_or_create_global_step()
    loss = tf.add_n(net.loss(tf.placeholder(tf.float32, BATCH, name="batch")))
    train_op = net.minimize(loss)
    first = mask_graph(tf.get_default_graph(), spec, losses=[loss])
    before = [op.name for op in tf.get_default_graph().get_operations()]
    second = mask_graph(tf.get_default_graph(), spec, losses=[loss])
    assert set(second.masks) == set(first.masks) == {CONV, DENSE}
    assert second.update_op is first.update_op
    assert [op.name for op in tf.get_default_graph().get_operations()] == before
    return tf.group(train_op, second.update_op)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_second_time_changes_no_training(criterion: str, caplog: Any):
    spec = replace(SPEC, criterion=criterion)
    once = _train(spec, after_gradients)
    with caplog.at_level(logging.WARNING, logger="tensorflow"):
        twice = _train(spec, _twice)
    assert "has a mask update already" not in caplog.text
    for one, other in zip(twice, once):
        assert_same_bits(one, other)
    assert once[-1][mask_of(DENSE)].sum() == kept_entries(64 * 3, 0.8)
    assert differences(once[-1], _train(replace(spec, frequency=3), after_gradients)[-1])


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
def test_an_imported_masked_graph_is_masked_anew_with_another_schedule(criterion: str, use_resource: bool):
    net = Net(use_resource=use_resource)
    with tf.Graph().as_default() as graph:
        loss = tf.add_n(net.loss(tf.placeholder(tf.float32, BATCH, name="batch")))
        train_op = net.minimize(loss).name
        mask_graph(graph, replace(SPEC, criterion=criterion), losses=[loss])
        meta_graph = tf.train.export_meta_graph()
    with tf.Graph().as_default() as graph, tf.Session() as session:
        tf.train.import_meta_graph(meta_graph)
        masker = mask_graph(graph, replace(SPEC, criterion=criterion, target_sparsity=0.5))
        assert all(site.masked for site in masker.plan.sites)
        session.run(tf.global_variables_initializer())
        for step in range(STEPS):
            session.run([train_op, masker.update_op], {"batch:0": batch_of(step)})
        masks = session.run([masker.masks[name] for name in (CONV, DENSE)])
    assert [mask.mean() for mask in masks] == [0.5, 0.5]


def test_another_criterion_than_the_graph_has_added_up_is_refused():
    with tf.Graph().as_default() as graph:
        after_gradients(Net(), SPEC)
        with pytest.raises(PlanError, match="conv/kernel: criterion taylor needs its gradient, found none"):
            mask_graph(graph, replace(SPEC, criterion="taylor"))


def test_a_second_call_for_other_weights_updates_both(caplog: Any):
    """The later masker knows the weights of the earlier one, and its update is the one to run."""
    with tf.Graph().as_default() as graph, tf.Session() as session:
        loss = tf.add_n(Net().loss(tf.placeholder(tf.float32, BATCH, name="batch")))
        train_op = Net().minimize(loss)
        first = mask_graph(graph, replace(SPEC, include=("conv",)), losses=[loss])
        assert set(first.masks) == {CONV}
        with caplog.at_level(logging.WARNING, logger="tensorflow"):
            second = mask_graph(graph, replace(SPEC, include=("dense",)), losses=[loss])
        assert "the graph has a mask update already, 'model_pruning/update_masks'" in caplog.text
        assert set(second.masks) == {CONV, DENSE} and second.update_op is not first.update_op
        session.run(tf.global_variables_initializer())
        for step in range(STEPS):
            session.run([train_op, second.update_op], {"batch:0": batch_of(step)})
        masks = session.run([second.masks[name] for name in (CONV, DENSE)])
    assert [round(float(mask.mean()), 2) for mask in masks] == [0.19, 0.2]


def test_a_second_call_with_another_schedule_is_told_of(caplog: Any):
    with tf.Graph().as_default() as graph:
        after_gradients(Net(), SPEC)
        with caplog.at_level(logging.WARNING, logger="tensorflow"):
            mask_graph(graph, replace(SPEC, frequency=3))
    assert "another schedule" in caplog.text
