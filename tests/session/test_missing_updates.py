"""Where masking() cannot update masks, it says so: once, and only then."""

import logging

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from graph_masker import PruningSpec, masking
from graph_masker.steps import OWN_STEP
from tests.session.nets import CONFIG, SPEC, all_values, loss, optimizer

STEPS = 20
LATE = "trains masked weights and updates no masks: it was made after masking was left"
GROUP = "the update runs with 'both', and nothing runs that"


@pytest.fixture
def warnings(caplog):
    """Returns the warnings of this package so far."""
    caplog.set_level(logging.WARNING, logger="tensorflow")
    return lambda: [record.getMessage() for record in caplog.records if "graph_masker: " in record.getMessage()]


def _train(*runs, steps=STEPS):
    with tf.Session(config=CONFIG) as session:
        session.run(tf.global_variables_initializer())
        for _ in range(steps):
            for run in runs:
                session.run(run)
        return all_values(session)


def _parts(counted):
    """Two train ops and the op that groups them."""
    value, step = loss(), tf.train.get_or_create_global_step() if counted else None
    conv = [v for v in tf.trainable_variables() if v.name.startswith("conv")]
    dense = [v for v in tf.trainable_variables() if v.name.startswith("dense")]
    first = optimizer().minimize(value, var_list=conv)
    second = optimizer().minimize(value, step, var_list=dense)
    return first, second, tf.group(first, second, name="both")


@pytest.mark.parametrize("counted", [True, False], ids=["global_step", "own_step"])
@pytest.mark.parametrize("inside", [True, False], ids=["inside", "after"])
@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
def test_a_group_that_is_built_and_not_run(warnings, counted, inside, use_resource):
    with tf.Graph().as_default(), tf.variable_scope(tf.get_variable_scope(), use_resource=use_resource):
        with masking(SPEC):
            first, second, _ = _parts(counted)
            values = _train(first, second) if inside else None
        values = values or _train(first, second)
    assert np.mean(values["dense/mask"]) == 1
    assert len(warnings()) == 1 and GROUP in warnings()[0]


@pytest.mark.parametrize("counted", [True, False], ids=["global_step", "own_step"])
def test_a_group_that_is_run(warnings, counted):
    with tf.Graph().as_default(), masking(SPEC):
        both = _parts(counted)[2]
        # Long after the last update, too.
        values = _train(both, steps=300)
        assert np.mean(values["dense/mask"]) == 0.25
        # A checkpoint whose step lies ahead of its last update is none that lacks one.
        with tf.Session(config=CONFIG) as session:
            session.run(tf.global_variables_initializer())
            step = tf.train.get_global_step() if counted else None
            for _ in range(STEPS):
                if counted:
                    step.load(500, session)
                session.run(both)
    assert warnings() == []


def test_before_the_schedule_begins_no_update_is_missing(warnings):
    with tf.Graph().as_default(), masking(PruningSpec(0.5, 1000, 2000)):
        _train(*_parts(True)[:2], steps=300)
    assert warnings() == []


def test_weights_that_are_loaded_are_not_trained(warnings):
    """Between two looks, with a step that only the update counts."""
    with tf.Graph().as_default(), masking(SPEC):
        both, (value,) = _parts(False)[2], tf.losses.get_losses()
        with tf.Session(config=CONFIG) as session:
            session.run(tf.global_variables_initializer())
            session.run(value)
            for variable in tf.trainable_variables():
                variable.load(0.5 * session.run(variable), session)
            for _ in range(STEPS):
                session.run(value)
            for _ in range(STEPS):
                session.run(both)
            assert np.mean(session.run("dense/mask:0")) == 0.25
    assert warnings() == []


@pytest.mark.parametrize("counted", [True, False], ids=["global_step", "own_step"])
def test_only_looking_at_a_model_is_no_training(warnings, counted):
    with tf.Graph().as_default(), masking(SPEC):
        _parts(counted)
        with tf.Session(config=CONFIG) as session:
            session.run(tf.global_variables_initializer())
            if counted:
                # As from a dense checkpoint: an update is due, and no step is made.
                tf.train.get_global_step().load(500, session)
            for _ in range(300):
                session.run(tf.losses.get_losses()[0])
    assert warnings() == []


def test_minimize_after_masking_was_left(warnings):
    with tf.Graph().as_default():
        with masking(SPEC):
            value = loss()
        train_op = optimizer().minimize(value, tf.train.get_or_create_global_step())
        assert np.mean(_train(train_op)["dense/mask"]) == 1
    assert len(warnings()) == 1 and LATE in warnings()[0] and "'Momentum'" in warnings()[0]


def test_another_minimize_after_masking_was_left(warnings):
    with tf.Graph().as_default():
        with masking(SPEC):
            value, step = loss(), tf.train.get_or_create_global_step()
            dense = [v for v in tf.trainable_variables() if v.name.startswith("dense")]
            train_op = optimizer().minimize(value, step, var_list=dense)
        assert warnings() == []
        other = tf.train.GradientDescentOptimizer(0.1).minimize(value, step, name="other")
        _train(train_op, other)
    assert len(warnings()) == 1 and LATE in warnings()[0] and "'other'" in warnings()[0]


def test_ops_that_nothing_waits_for_after_masking_was_left(warnings):
    with tf.Graph().as_default():
        with masking(SPEC):
            value = loss()
        variables = tf.trainable_variables()
        for variable, gradient in zip(variables, tf.gradients(value, variables)):
            last = tf.assign_sub(variable, 0.1 * gradient)
        _train(last)
    assert len(warnings()) == 1 and "put all ops that train into one tf.group" in warnings()[0]


def test_nothing_is_said_of_what_is_built_on_a_train_op_afterwards(warnings):
    with tf.Graph().as_default():
        with masking(SPEC):
            train_op = optimizer().minimize(loss(), tf.train.get_or_create_global_step())
        with tf.control_dependencies([train_op]):
            averaged = tf.train.ExponentialMovingAverage(0.5).apply(tf.trainable_variables())
        values = _train(tf.group(averaged, tf.no_op()))
    assert np.mean(values["dense/mask"]) == 0.25
    assert warnings() == []


def test_a_graph_that_nobody_has_masked_is_left_alone(warnings):
    with tf.Graph().as_default():
        values = _train(*_parts(True)[:2])
    assert OWN_STEP not in values and warnings() == []
