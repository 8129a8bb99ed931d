"""The ops that train, where nobody says which they are."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from graph_masker import mask_graph
from graph_masker.trainers import train_ops_of
from tests.helpers.bits import assert_same_bits, differences
from tests.helpers.running import initialize, single_threaded, variables_by_name
from tests.session.nets import KERNELS, SPEC, STEPS, loss, optimizer, oracle, trained

KINDS = pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])


def _scope(use_resource):
    return tf.variable_scope(tf.get_variable_scope(), use_resource=use_resource)


@KINDS
def test_a_graph_that_names_no_train_op_is_trained_the_same(use_resource):
    """With ops in it that also write weights, and are for other occasions."""
    with tf.Graph().as_default() as graph, _scope(use_resource):
        value = loss()
        train_op = optimizer().minimize(value, tf.train.get_or_create_global_step())
        graph.get_collection_ref(tf.GraphKeys.TRAIN_OP).clear()
        for variable in tf.trainable_variables():
            variable.assign_add(tf.ones_like(variable))
            variable.assign(tf.zeros_like(variable))
        masker = mask_graph(graph, SPEC, losses=[value])
        with single_threaded(graph) as session:
            initialize(session)
            for _ in range(STEPS):
                session.run([train_op, masker.update_op])
            found = session.run(variables_by_name(graph))
    expected = trained(oracle())
    assert_same_bits({name: found[name] for name in expected}, expected)
    assert np.mean(found["dense/mask"]) == 0.25
    # The update that is run alone runs the train op.
    assert found["global_step"] == STEPS
    assert differences(trained(oracle(steps=STEPS - 1)), expected)


@KINDS
def test_what_counts_as_a_train_op(use_resource):
    with tf.Graph().as_default() as graph, _scope(use_resource):
        pairs = optimizer().compute_gradients(loss())
        weights = [v for v in tf.trainable_variables() if v.op.name in KERNELS]
        assert train_ops_of(graph, weights) == []
        step = tf.train.get_or_create_global_step()
        tf.cond(tf.constant(True), lambda: optimizer().apply_gradients(pairs, step), tf.no_op)
        assert train_ops_of(graph, weights) == []
        optimizer().apply_gradients(pairs, step, name="train")
        names = {op.name for op in train_ops_of(graph, weights)}
    slots = {f"train/update_{name}/" for name in KERNELS}
    assert len(names) == 3 and "train" in {name.partition("/")[0] for name in names}
    assert all(any(name.startswith(slot) for name in names) for slot in slots), names
