"""A graph that tf.contrib.model_pruning's layers masked is recognised, and masking it changes nothing (G5)."""

import pytest
import tensorflow.compat.v1 as tf

from graph_masker.masker import Masker
from graph_masker.plan import LAST_UPDATE_STEP
from tests.helpers.graphs import snapshot
from tests.oracle.nets import NETS


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
@pytest.mark.parametrize("name", NETS)
def test_hand_masked_nets_are_recognised(name: str, use_resource: bool):
    model = NETS[name]
    with tf.Graph().as_default() as graph, tf.variable_scope(tf.get_variable_scope(), use_resource=use_resource):
        loss = model.loss(model.masked, tf.placeholder(tf.float32, model.batch))
        before, masks = snapshot(graph), len({mask.name for mask in graph.get_collection("masks")})
        plan = Masker(graph, model.spec).mask([loss], strict=True)
        after = snapshot(graph)
    assert len(plan.sites) == masks > 0
    assert all(site.masked and graph.get_operation_by_name(site.mask) for site in plan.sites)
    added = [name for name in after if name not in before]
    assert all(name.startswith(LAST_UPDATE_STEP) for name in added)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("name", NETS)
def test_plain_nets_are_not(name: str):
    model = NETS[name]
    with tf.Graph().as_default() as graph:
        loss = model.loss(model.plain, tf.placeholder(tf.float32, model.batch))
        plan = Masker(graph, model.spec).mask([loss], strict=True)
    assert not any(site.masked for site in plan.sites)
