"""Several graphs and several train ops in one masking()."""

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker import masking
from graph_masker.verify import verify_masked
from tests.helpers.bits import assert_same_bits
from tests.session.nets import CONFIG, SPEC, STEPS, all_values, images, logits, loss, optimizer, oracle, trained


def test_a_training_and_an_evaluation_graph_that_the_script_makes(tmp_path):
    """As a script does it that knows nothing of masks; the default graph stays empty."""
    plans, losses = [], []
    with tf.Graph().as_default(), masking(SPEC, on_plan=lambda plan, mode, _: plans.append(mode)) as masker:
        with tf.Graph().as_default():
            value = loss()
            train_op, saver = optimizer().minimize(value, tf.train.get_or_create_global_step()), tf.train.Saver()
            with tf.Session(config=CONFIG) as session:
                session.run(tf.global_variables_initializer())
                for _ in range(STEPS):
                    session.run(train_op)
                values = all_values(session)
                prefix = saver.save(session, str(tmp_path / "model.ckpt"))
                losses.append(session.run(value))
        with tf.Graph().as_default():
            value, saver = loss(), tf.train.Saver()
            with tf.Session(config=CONFIG) as session:
                saver.restore(session, prefix)
                losses.append(session.run(value))
    assert_same_bits(trained(values), trained(oracle()))
    assert losses[0].tobytes() == losses[1].tobytes()
    assert plans == ["train", "infer"]
    assert [set(item.masks) for item in masker.maskers] == [{"conv/kernel", "dense/kernel"}] * 2
    for item in masker.maskers:
        verify_masked(item.graph, item.plan, [])


def test_one_graph_after_another_of_the_same_names():
    """A search over settings: each model starts dense."""
    found = []
    with masking(SPEC):
        for _ in range(2):
            with tf.Graph().as_default(), tf.Session(config=CONFIG) as session:
                train_op = optimizer().minimize(loss())
                session.run(tf.global_variables_initializer())
                for _ in range(STEPS):
                    session.run(train_op)
                found.append(all_values(session))
    assert_same_bits(found[0], found[1])


def gan():
    """A generator and a discriminator, each with its own train op; only the generator's counts."""
    noise = tf.constant(np.random.RandomState(0).normal(size=[8, 6]).astype(np.float32))
    with tf.variable_scope("g"):
        fake = tf.reshape(tf.layers.dense(noise, 108), [8, 6, 6, 3])
    with tf.variable_scope("d"):
        real_logits = logits(images())
    with tf.variable_scope("d", reuse=True):
        fake_logits = logits(fake)
    d_loss = tf.reduce_mean(tf.nn.softplus(-real_logits)) + tf.reduce_mean(tf.nn.softplus(fake_logits))
    g_loss = tf.reduce_mean(tf.nn.softplus(-fake_logits))
    return d_loss, g_loss, tf.trainable_variables("d/"), tf.trainable_variables("g/")


def test_train_ops_of_a_gan_that_run_in_turn():
    """Masks of both nets follow the step that one of them counts; neither optimizer needs the other."""
    with tf.Graph().as_default(), masking(SPEC) as masker:
        d_loss, g_loss, d_variables, g_variables = gan()
        step = tf.train.get_or_create_global_step()
        d_op = tf.train.GradientDescentOptimizer(0.1).minimize(d_loss, var_list=d_variables)
        g_op = tf.train.GradientDescentOptimizer(0.1).minimize(g_loss, step, var_list=g_variables)
        with tf.Session(config=CONFIG) as session:
            session.run(tf.global_variables_initializer())
            before = session.run(g_variables)
            session.run(d_op)
            assert all(np.array_equal(one, other) for one, other in zip(before, session.run(g_variables)))
            assert session.run(step) == 0
            for _ in range(STEPS):
                session.run(d_op)
                session.run(g_op)
            sparsity = {name: 1 - np.mean(mask) for name, mask in session.run(masker.masks).items()}
    assert sparsity == {"g/dense/kernel": 0.75, "d/conv/kernel": 0.75, "d/dense/kernel": 0.75}


def test_train_ops_of_a_gan_in_one_group():
    with tf.Graph().as_default(), masking(SPEC) as masker:
        d_loss, g_loss, d_variables, g_variables = gan()
        step = tf.train.get_or_create_global_step()
        d_op = tf.train.GradientDescentOptimizer(0.1).minimize(d_loss, var_list=d_variables)
        g_op = tf.train.GradientDescentOptimizer(0.1).minimize(g_loss, step, var_list=g_variables)
        both = tf.group(d_op, g_op)
        with tf.Session(config=CONFIG) as session:
            session.run(tf.global_variables_initializer())
            for _ in range(STEPS):
                session.run(both)
            weights, masks = session.run([{name: f"{name}:0" for name in masker.masks}, masker.masks])
            assert masker.update_op in both.control_inputs
            assert d_op in masker_waits_for(masker.update_op) and g_op in masker_waits_for(masker.update_op)
    assert {1 - np.mean(mask) for mask in masks.values()} == {0.75}
    assert set(weights) == set(masks)


def masker_waits_for(op):
    """All ops that an op comes after."""
    found, waiting = set(), [op]
    while waiting:
        current = waiting.pop()
        for other in (*current.control_inputs, *(tensor.op for tensor in current.inputs)):
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found


def test_train_ops_without_any_step_count_by_the_last_one():
    with tf.Graph().as_default(), masking(SPEC) as masker:
        d_loss, g_loss, d_variables, g_variables = gan()
        d_op = tf.train.GradientDescentOptimizer(0.1).minimize(d_loss, var_list=d_variables)
        g_op = tf.train.GradientDescentOptimizer(0.1).minimize(g_loss, var_list=g_variables)
        with tf.Session(config=CONFIG) as session:
            session.run(tf.global_variables_initializer())
            for _ in range(STEPS):
                for op in (d_op, d_op, g_op):
                    session.run(op)
            assert session.run("model_pruning/step:0") == STEPS
            assert {1 - np.mean(mask) for mask in session.run(masker.masks).values()} == {0.75}


def test_gradients_without_training_are_allowed():
    """Saliency: a graph that is differentiated and never trained."""
    with tf.Graph().as_default(), masking(SPEC) as masker:
        data = images()
        gradient = tf.gradients(logits(data), data)
        with tf.Session(config=CONFIG) as session:
            session.run(tf.global_variables_initializer())
            assert np.all(np.isfinite(session.run(gradient)[0]))
    assert masker.update_op is None and len(masker.masks) == 2
