"""What masking() cannot do is an error that says what to do instead, and nothing that it has wrapped stays wrapped."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tensorflow.python.client import session as session_lib
from tensorflow.python.framework import ops
from tensorflow.python.keras.engine import training
from tensorflow.python.ops import gradients_util

from graph_masker import PlanError, PruningSpec, UsageError, auto_mask, mask_graph, masking
from graph_masker.session import masking as opened
from tests.helpers.graphs import snapshot
from tests.session.nets import SPEC, loss, optimizer


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as graph:
        yield graph


def wrapped():
    return (
        session_lib.BaseSession._extend_graph,
        ops.Graph.finalize,
        gradients_util._GradientsHelper,
        training.Model.compile,
        tf.train.Saver.__init__,
    )


def test_all_is_unwrapped():
    with masking(SPEC):
        loss()  # From the first graph on, what watches savers stays, as does what Keras saves by.
    before = wrapped()
    with tf.Graph().as_default(), masking(SPEC):
        loss()
        assert all(now is not then for now, then in zip(wrapped(), before))
    assert wrapped() == before


def test_errors_pass_and_leave_nothing_open(graph):
    before = None
    with pytest.raises(ZeroDivisionError), masking(SPEC):
        before = snapshot(graph)
        raise ZeroDivisionError
    assert before == snapshot(graph)
    with masking(SPEC) as masker:
        loss()
    assert set(masker.masks) == {"conv/kernel", "dense/kernel"}


def test_a_spec_is_asked_for():
    with pytest.raises(UsageError, match="expected a PruningSpec, found float"), masking(0.5):
        pass


def test_nested():
    with masking(SPEC) as masker:
        with pytest.raises(UsageError, match="on already"), opened(SPEC):
            pass
        loss()
    assert masker.masks


def test_a_finalized_graph(graph):
    graph.finalize()
    with pytest.raises(UsageError, match="finalized"), masking(SPEC):
        pass


def test_eager():
    with tf.init_scope(), pytest.raises(UsageError, match="eagerly"):
        from tensorflow.python.eager import context

        with context.eager_mode(), masking(SPEC):
            pass


def test_a_graph_that_trains_already():
    optimizer().minimize(loss())
    with pytest.raises(UsageError, match=r"has a train op already.*mask_graph"), masking(SPEC):
        pass


def test_a_graph_that_is_masked_already(graph):
    value = loss()
    optimizer().minimize(value, tf.train.get_or_create_global_step())
    mask_graph(graph, SPEC, losses=[value])
    with pytest.raises(UsageError, match="masked already"), masking(SPEC):
        pass


def test_nothing_to_mask():
    with pytest.raises(PlanError, match="no graph that was built or run inside has a weight to mask"), masking(SPEC):
        tf.get_variable("v", [3])
    with tf.Graph().as_default(), masking(SPEC, required=False) as masker:
        tf.get_variable("v", [3])
    assert masker.masks == {} and masker.update_op is None and masker.plan.sites == ()


def test_training_with_nothing_to_mask_fails_before_it_begins():
    with pytest.raises(PlanError), masking(SPEC):
        variable = tf.get_variable("v", [3])
        train_op = optimizer().minimize(tf.reduce_sum(variable))
        with tf.Session() as session:
            session.run(train_op)
            raise AssertionError("it has trained")


def test_training_with_nothing_to_mask_where_that_is_allowed():
    """The graph is told of, and trains; a pattern need not match where there is nothing that it could match."""
    plans = []
    spec = PruningSpec(target_sparsity=0.5, begin_step=0, end_step=4, exclude=["head"])
    with masking(spec, on_plan=lambda plan, mode, _: plans.append((mode, len(plan.sites))), required=False) as masker:
        variable = tf.get_variable("v", [3])
        train_op = optimizer().minimize(tf.reduce_sum(variable))
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            before = session.run(variable)
            for _ in range(2):
                session.run(train_op)
            assert not np.array_equal(session.run(variable), before)
    assert plans == [("train", 0)] and masker.masks == {}


def test_a_pattern_that_matches_nothing_is_an_error_where_others_are_allowed():
    spec = PruningSpec(target_sparsity=0.5, begin_step=0, end_step=4, exclude=["head"])
    with pytest.raises(PlanError, match="head"), masking(spec, required=False):
        optimizer().minimize(loss(), tf.train.get_or_create_global_step())


def test_a_pattern_that_matches_nothing_fails_before_training():
    spec = PruningSpec(target_sparsity=0.5, begin_step=0, end_step=4, exclude=["head"])
    with pytest.raises(PlanError, match="head"), masking(spec):
        optimizer().minimize(loss(), tf.train.get_or_create_global_step())
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            raise AssertionError("it could have trained")


def test_weights_written_by_ops_that_nothing_waits_for():
    with pytest.raises(UsageError, match=r"nothing waits for it.*tf\.group"), masking(SPEC):
        value = loss()
        for variable, gradient in zip(tf.trainable_variables(), tf.gradients(value, tf.trainable_variables())):
            variable.assign_sub(0.1 * gradient)


def test_a_weight_built_after_training_has_begun():
    with pytest.raises(UsageError, match=r"late/kernel.*after the train op had run"), masking(SPEC):
        late = tf.get_variable("late/kernel", [8, 8])
        train_op = optimizer().minimize(loss() + tf.reduce_sum(late), tf.train.get_or_create_global_step())
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            session.run(train_op)
            tf.matmul(tf.ones([2, 8]), late)
            session.run(tf.no_op())


def test_a_weight_that_nothing_trains_may_be_built_after_training_has_begun():
    with masking(SPEC) as masker, tf.Session() as session:
        train_op = optimizer().minimize(loss(), tf.train.get_or_create_global_step())
        session.run(tf.global_variables_initializer())
        session.run(train_op)
        late = tf.layers.dense(tf.ones([2, 8]), 8, name="late", kernel_initializer=tf.ones_initializer())
        session.run(tf.variables_initializer(tf.global_variables("late")))
        session.run(train_op)
        assert (session.run(late) == 8).all() and session.run(masker.masks["late/kernel"]).all()


def test_a_graph_that_has_run_before():
    value = loss()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(value)
        with pytest.raises(UsageError, match="can have run already"), masking(SPEC):
            optimizer().minimize(value)


def test_a_graph_that_was_built_but_not_run(graph):
    value = loss()
    with masking(SPEC) as masker:
        train_op = optimizer().minimize(value)
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            for _ in range(12):
                session.run(train_op)
            assert {np.mean(mask) for mask in session.run(masker.masks).values()} == {0.25}


def test_an_auto_masked_estimator_is_masked_once(tmp_path):
    def model_fn(features, labels, mode):
        value = loss()
        train_op = optimizer().minimize(value, tf.train.get_global_step())
        return tf.estimator.EstimatorSpec(mode, loss=value, train_op=train_op)

    plans = []
    with masking(SPEC, on_plan=lambda *_: plans.append("masking"), required=False) as masker:
        wrapped_fn = auto_mask(model_fn, SPEC, on_plan=lambda *_: plans.append("auto_mask"))
        estimator = tf.estimator.Estimator(wrapped_fn, str(tmp_path))
        estimator.train(lambda: tf.data.Dataset.from_tensors(({}, 0)).repeat(), steps=12)
    assert plans == ["auto_mask"] and masker.masks == {}
    masks = [name for name in estimator.get_variable_names() if name.endswith("mask")]
    assert sorted(masks) == ["conv/mask", "dense/mask"]
    assert {np.mean(estimator.get_variable_value(name)) for name in masks} == {0.25}


def test_a_graph_that_has_run_before_and_is_not_touched():
    value = loss()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(value)
        with masking(SPEC, required=False) as masker:
            session.run(value)
    assert masker.masks == {}
