"""Savers made inside masking(), at any time, hold the pruning state, and restore what lacks it."""

import os
import resource

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from graph_masker import DestinationError, PruningSpec, masking
from graph_masker.steps import OWN_STEP
from tests.helpers.bits import assert_same_bits, differences
from tests.session.nets import CONFIG, SPEC, STATE, STEPS, all_values, images, logits, loss, optimizer

HALF = STEPS // 2


def build(counted, early):
    """Returns a train op and a saver, made before the gradients or after."""
    value = loss()
    step = tf.train.get_or_create_global_step() if counted else None
    optimizer_ = optimizer() if not early else tf.train.GradientDescentOptimizer(0.1)
    saver = tf.train.Saver() if early else None
    train_op = optimizer_.minimize(value, step)
    return train_op, saver or tf.train.Saver()


def part(directory, steps, counted, early, restore, spec=SPEC):
    with tf.Graph().as_default(), masking(spec):
        train_op, saver = build(counted, early)
        with tf.Session(config=CONFIG) as session:
            session.run(tf.global_variables_initializer())
            if restore:
                saver.restore(session, restore)
            for _ in range(steps):
                session.run(train_op)
            saver.save(session, str(directory / "model.ckpt"))
            return all_values(session)


@pytest.mark.parametrize("early", [False, True], ids=["saver_after", "saver_before_gradients"])
@pytest.mark.parametrize("counted", [False, True], ids=["own_step", "global_step"])
def test_resuming_equals_training_on(tmp_path, counted, early):
    straight = part(tmp_path / "a", STEPS, counted, early, None)
    part(tmp_path / "b", HALF, counted, early, None)
    resumed = part(tmp_path / "c", STEPS - HALF, counted, early, str(tmp_path / "b" / "model.ckpt"))
    assert_same_bits(resumed, straight)
    held = tf.train.load_checkpoint(str(tmp_path / "b" / "model.ckpt")).get_variable_to_shape_map()
    assert set(held) >= {*STATE, "model_pruning/last_mask_update_step", "global_step" if counted else OWN_STEP}
    assert np.mean(straight["dense/mask"]) == 0.25


def test_a_lost_update_is_seen(tmp_path):
    """What the equality above rests on: without the state, resuming differs."""
    straight = part(tmp_path / "a", STEPS, False, False, None)
    part(tmp_path / "b", HALF, False, False, None)
    reader = tf.train.load_checkpoint(str(tmp_path / "b" / "model.ckpt"))
    with tf.Graph().as_default(), tf.Session() as session:
        kept = [n for n in reader.get_variable_to_shape_map() if n not in (*STATE, OWN_STEP) and "pruning" not in n]
        variables = [tf.Variable(reader.get_tensor(name), name=name) for name in kept]
        session.run(tf.global_variables_initializer())
        dense = tf.train.Saver(variables).save(session, str(tmp_path / "dense.ckpt"))
    resumed = part(tmp_path / "c", STEPS - HALF, False, False, dense)
    lines = differences(resumed, straight)
    assert any(line.startswith("dense/kernel:") for line in lines)
    assert resumed[OWN_STEP] == STEPS - HALF


@pytest.mark.parametrize("early", [False, True], ids=["saver_after", "saver_before_gradients"])
def test_a_dense_checkpoint_restores(tmp_path, early):
    with tf.Graph().as_default():
        train_op, saver = build(True, early)
        with tf.Session(config=CONFIG) as session:
            session.run(tf.global_variables_initializer())
            session.run(train_op)
            dense = saver.save(session, str(tmp_path / "dense.ckpt"))
    with tf.Graph().as_default(), masking(SPEC) as masker:
        _, saver = build(True, early)
        with tf.Session(config=CONFIG) as session:
            saver.restore(session, dense)
            assert_same_bits({name: session.run(f"{name}:0") for name in saved(dense)}, saved(dense))
            assert all(np.all(value == 1) for value in session.run(masker.masks).values())


def saved(prefix):
    reader = tf.train.load_checkpoint(prefix)
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


@pytest.mark.parametrize("inside", [True, False], ids=["restored_inside", "restored_after"])
def test_an_inference_graph_restores_masks(tmp_path, inside):
    part(tmp_path, STEPS, True, False, None)
    prefix, values = str(tmp_path / "model.ckpt"), saved(str(tmp_path / "model.ckpt"))
    with tf.Graph().as_default(), tf.Session(config=CONFIG) as session:
        net = logits(images())
        for variable in tf.global_variables():
            value = values[variable.op.name]
            if variable.op.name.endswith("kernel"):
                value = value * values[variable.op.name.replace("kernel", "mask")]
            variable.load(value, session)
        expected = session.run(net)

    def restored(net, saver):
        with tf.Session(config=CONFIG) as session:
            saver.restore(session, prefix)
            return session.run(net)

    with tf.Graph().as_default():
        with masking(SPEC) as masker:
            net, saver = logits(images()), tf.train.Saver()
            found = restored(net, saver) if inside else None
        found = found if inside else restored(net, saver)
        assert set(masker.masks) == {"conv/kernel", "dense/kernel"} and masker.update_op is None
    assert np.array_equal(found, expected) and found.tobytes() == expected.tobytes()


def test_a_saver_given_to_a_scaffold(tmp_path):
    """A MonitoredTrainingSession that stops and goes on equals one that does not stop."""

    def train(directory, *ends):
        for end in ends:
            with tf.Graph().as_default(), masking(SPEC):
                value, step = loss(), tf.train.get_or_create_global_step()
                train_op = optimizer().minimize(value, step)
                scaffold = tf.train.Scaffold(saver=tf.train.Saver(max_to_keep=1))
                hooks = [tf.train.StopAtStepHook(last_step=end)]
                with tf.train.MonitoredTrainingSession(
                    checkpoint_dir=str(directory), hooks=hooks, config=CONFIG, scaffold=scaffold
                ) as session:
                    while not session.should_stop():
                        session.run(train_op)
        return saved(tf.train.latest_checkpoint(str(directory)))

    once, twice = train(tmp_path / "once", STEPS), train(tmp_path / "twice", 5, STEPS)
    assert_same_bits(twice, once)
    assert np.mean(once["conv/mask"]) == 0.25


def test_a_session_initializes_masks_that_its_saver_does_not_know(tmp_path):
    """A saver of some variables, and no init op for the rest."""
    spec = PruningSpec(target_sparsity=0.5, begin_step=0, end_step=2)
    with tf.Graph().as_default(), masking(spec) as masker:
        value = loss()
        train_op = tf.train.GradientDescentOptimizer(0.1).minimize(value)
        model = tf.trainable_variables()
        with tf.Session(config=CONFIG) as session:
            for variable in model:
                session.run(variable.initializer)
            for _ in range(3):
                session.run(train_op)
            assert {np.mean(mask) for mask in session.run(masker.masks).values()} == {0.5}


@pytest.mark.parametrize("path", ["model.ckpt", "./model.ckpt", "folder/model.ckpt"])
def test_saving_to_one_path_again_and_again(tmp_path, monkeypatch, path):
    """As scripts do that give no step: relative, too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with tf.Graph().as_default(), masking(SPEC):
        train_op, saver = build(True, False)
        with tf.Session(config=CONFIG) as session:
            session.run(tf.global_variables_initializer())
            for _ in range(3):
                session.run(train_op)
                assert saver.save(session, path) == path
            values = all_values(session)
    folder = tmp_path / os.path.dirname(path)
    assert_same_bits(saved(tf.train.latest_checkpoint(str(folder))), values)
    names = ["checkpoint", "model.ckpt.data-00000-of-00001", "model.ckpt.index", "model.ckpt.meta"]
    assert sorted(name.name for name in folder.iterdir() if name.is_file()) == names


def test_a_checkpoint_that_cannot_be_written_is_one_line(tmp_path):
    """It does not end training as the end of its input does, which is an OutOfRangeError, too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with tf.Graph().as_default(), masking(SPEC):
        train_op, saver = build(True, False)
        with tf.Session(config=CONFIG) as session:
            session.run(tf.global_variables_initializer())
            saver.save(session, str(tmp_path / "model.ckpt"), 0)
            session.run(train_op)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
            try:
                with pytest.raises(DestinationError, match=r"model\.ckpt-1: cannot be written: File too large; free"):
                    saver.save(session, str(tmp_path / "model.ckpt"), 1)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert saved(tf.train.latest_checkpoint(str(tmp_path)))["global_step"] == 0


def test_a_warm_start(tmp_path):
    """Of a model that asks for its weights by name, with an init op made before its gradients."""
    part(tmp_path, STEPS, True, False, None)
    prefix = str(tmp_path / "model.ckpt")
    with tf.Graph().as_default(), masking(SPEC), tf.Session(config=CONFIG) as session:
        value = loss()
        tf.train.init_from_checkpoint(prefix, {name: name for name in ("conv/kernel", "dense/kernel")})
        init = tf.global_variables_initializer()
        optimizer().minimize(value)
        session.run([item.initializer for item in tf.global_variables() if "Momentum" in item.name])
        session.run(init)
        values = all_values(session)
    names = ("conv/kernel", "dense/kernel", "conv/mask", "dense/mask", "dense/threshold")
    assert_same_bits({name: values[name] for name in names}, {name: saved(prefix)[name] for name in names})
    assert np.mean(values["dense/mask"]) == 0.25
