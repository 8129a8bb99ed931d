"""Pruning state is in every checkpoint, whichever Saver or Scaffold the model built, and dense ones restore."""

import logging
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import (
    CONV,
    DENSE,
    SPEC,
    batches,
    estimator_spec,
    plain_model_fn,
    read_all,
    run_config,
    saver_before_gradients,
)
from graph_masker import SourceError, auto_mask

STATE = {"conv/mask", "conv/threshold", "dense/mask", "dense/threshold", "model_pruning/last_mask_update_step"}


def _own_saver(**options):
    def scaffold():
        saver = tf.train.Saver(**options)
        tf.add_to_collection(tf.GraphKeys.SAVERS, saver)
        return tf.train.Scaffold(saver=saver)

    return lambda features, labels, mode: estimator_spec(features, labels, mode, scaffold=scaffold)


def _dictionary(features, labels, mode):
    def scaffold():
        names = {variable.op.name: variable for variable in tf.global_variables()}
        return tf.train.Scaffold(saver=tf.train.Saver(names))

    return estimator_spec(features, labels, mode, scaffold=scaffold)


def _averaged(features, labels, mode):
    """Trains with moving averages and evaluates them, as the Object Detection API does."""

    def scaffold():
        if mode == "train":
            return None
        names = tf.train.ExponentialMovingAverage(0.0).variables_to_restore()
        return tf.train.Scaffold(saver=tf.train.Saver(names))

    spec = estimator_spec(features, labels, mode, tf.train.GradientDescentOptimizer(0.1), scaffold=scaffold)
    if mode != "train":
        return spec
    average = tf.train.ExponentialMovingAverage(0.5)
    with tf.control_dependencies([spec.train_op]):
        return spec._replace(train_op=average.apply(tf.trainable_variables()))


@pytest.mark.parametrize(
    "model_fn",
    [
        plain_model_fn,
        _own_saver(),
        _own_saver(sharded=True, save_relative_paths=True),
        _own_saver(defer_build=True),
        saver_before_gradients,
        _dictionary,
        _averaged,
    ],
    ids=["none", "own", "sharded", "deferred", "before_gradients", "dictionary", "averages"],
)
def test_state_is_saved_resumed_and_evaluated(tmp_path, model_fn):
    estimator = tf.estimator.Estimator(auto_mask(model_fn, SPEC), str(tmp_path), run_config())
    estimator.train(batches(), steps=8)
    first = read_all(str(tmp_path))
    assert first.keys() >= STATE
    assert np.mean(first["dense/mask"]) == pytest.approx(0.25)
    assert estimator.evaluate(batches(), steps=1)["global_step"] == 8
    estimator.train(batches(), steps=2)
    second = read_all(str(tmp_path))
    # No update is scheduled after end_step: the masks are those that were restored.
    assert first["dense/mask"].tobytes() == second["dense/mask"].tobytes()
    assert first[DENSE].tobytes() != second[DENSE].tobytes()


def test_moving_averages_are_what_is_evaluated_masked(tmp_path):
    estimator = tf.estimator.Estimator(auto_mask(_averaged, SPEC), str(tmp_path), run_config())
    estimator.train(batches(), steps=10)
    values = read_all(str(tmp_path))
    assert f"{DENSE}/ExponentialMovingAverage" in values
    found = next(iter(estimator.predict(batches(), yield_single_examples=False)))["logits"]

    def expected(masked):
        with tf.Graph().as_default(), tf.Session() as session:
            images, _ = tf.data.make_one_shot_iterator(batches()()).get_next()
            spec = plain_model_fn(images, None, "infer")
            for variable in tf.global_variables():
                name = variable.op.name
                value = values[f"{name}/ExponentialMovingAverage"]
                if masked and name in (CONV, DENSE):
                    value = values[name.replace("kernel", "mask")] * value
                variable.load(value, session)
            return session.run(spec.predictions["logits"])

    assert np.array_equal(found, expected(masked=True))
    assert not np.array_equal(found, expected(masked=False))


@pytest.mark.parametrize("model_fn", [plain_model_fn, _own_saver(), _dictionary], ids=["none", "own", "dictionary"])
def test_a_dense_checkpoint_continues_masked_in_the_same_directory(tmp_path, model_fn, caplog):
    tf.estimator.Estimator(model_fn, str(tmp_path), run_config()).train(batches(), steps=4)
    dense = read_all(str(tmp_path))
    masked = tf.estimator.Estimator(auto_mask(model_fn, SPEC), str(tmp_path), run_config())
    with caplog.at_level(logging.WARNING, logger="tensorflow"):
        scores = masked.evaluate(batches(), steps=1)
    assert "masks start at one" in caplog.text
    # All-ones masks change nothing.
    assert scores == tf.estimator.Estimator(model_fn, str(tmp_path), run_config()).evaluate(batches(), steps=1)
    masked.train(batches(), steps=1)
    values = read_all(str(tmp_path))
    # Step 2 was scheduled and lies behind: the first step mends that.
    assert values["model_pruning/last_mask_update_step"] == 5
    assert not STATE & set(dense)


def test_warm_start_from_a_dense_checkpoint(tmp_path):
    dense = tf.estimator.Estimator(plain_model_fn, str(tmp_path / "dense"), run_config())
    dense.train(batches(), steps=4)
    masked = tf.estimator.Estimator(
        auto_mask(plain_model_fn, SPEC), str(tmp_path / "masked"), run_config(), warm_start_from=str(tmp_path / "dense")
    )
    kernels = []

    class Look(tf.train.SessionRunHook):
        def after_create_session(self, session, coord):
            kernels.append(session.run("conv/kernel:0"))

    masked.train(batches(), steps=1, hooks=[Look()])
    assert kernels[0].tobytes() == read_all(str(tmp_path / "dense"))[CONV].tobytes()


def test_partly_missing_state_is_restored_as_far_as_it_goes(tmp_path, caplog):
    spec = SPEC.to_dict()
    narrow = type(SPEC).from_dict({**spec, "exclude": ["dense"]})
    tf.estimator.Estimator(auto_mask(plain_model_fn, narrow), str(tmp_path), run_config()).train(batches(), steps=8)
    before = read_all(str(tmp_path))
    assert "dense/mask" not in before
    wide = tf.estimator.Estimator(auto_mask(plain_model_fn, SPEC), str(tmp_path), run_config())
    with caplog.at_level(logging.WARNING, logger="tensorflow"):
        wide.train(batches(), steps=1)
    after = read_all(str(tmp_path))
    assert "dense/mask" in caplog.text
    assert before["conv/mask"].tobytes() == after["conv/mask"].tobytes()
    assert float(after["dense/mask"].min()) == 1.0


def test_masks_that_a_graph_does_not_apply_are_named(tmp_path, caplog):
    tf.estimator.Estimator(auto_mask(plain_model_fn, SPEC), str(tmp_path), run_config()).train(batches(), steps=8)
    narrow = type(SPEC).from_dict({**SPEC.to_dict(), "exclude": ["dense"]})
    with caplog.at_level(logging.WARNING, logger="tensorflow"):
        tf.estimator.Estimator(auto_mask(plain_model_fn, narrow), str(tmp_path), run_config()).evaluate(batches(), 1)
    assert "holds dense/mask, which this graph does not apply" in caplog.text


def test_a_damaged_checkpoint_is_one_clear_error(tmp_path):
    estimator = tf.estimator.Estimator(auto_mask(plain_model_fn, SPEC), str(tmp_path), run_config())
    estimator.train(batches(), steps=1)
    with open(str(tmp_path / "model.ckpt-1.index"), "r+b") as stream:
        stream.truncate(20)
    with pytest.raises(SourceError, match=r"model\.ckpt-1: expected a complete checkpoint"):
        estimator.evaluate(batches(), steps=1)


def test_a_saver_of_other_variables_is_left_alone(tmp_path, caplog):
    with tf.Graph().as_default(), tf.Session() as session:
        bias = tf.get_variable("conv/bias", initializer=np.full([4], 5, np.float32))
        session.run(tf.global_variables_initializer())
        prefix = tf.train.Saver([bias]).save(session, str(tmp_path / "bias"))
    with tf.Graph().as_default(), tf.Session() as session:
        tf.train.create_global_step()
        partial = []

        def scaffold():
            partial.append(tf.train.Saver([v for v in tf.global_variables() if v.op.name == "conv/bias"]))
            tf.add_to_collection(tf.GraphKeys.SAVERS, partial[0])
            return tf.train.Scaffold(saver=tf.train.Saver())

        images, labels = tf.data.make_one_shot_iterator(batches()()).get_next()
        auto_mask(lambda features, labels, mode: estimator_spec(features, labels, mode, scaffold=scaffold), SPEC)(
            images, labels, "train"
        )
        mask = next(v for v in tf.global_variables() if v.op.name == "dense/mask")
        session.run(tf.global_variables_initializer())
        mask.load(np.zeros(mask.shape, np.float32), session)
        with caplog.at_level(logging.WARNING, logger="tensorflow"):
            partial[0].restore(session, prefix)
        assert "graph_masker" not in caplog.text
        assert session.run("conv/bias:0").tolist() == [5.0] * 4
        assert not session.run(mask).any()


def test_a_missing_weight_is_still_an_error(tmp_path):
    tf.estimator.Estimator(auto_mask(plain_model_fn, SPEC), str(tmp_path), run_config()).train(batches(), steps=2)

    def larger(features, labels, mode):
        tf.get_variable("one_more", [2])
        return plain_model_fn(features, labels, mode)

    with pytest.raises(tf.errors.NotFoundError, match="one_more"):
        tf.estimator.Estimator(auto_mask(larger, SPEC), str(tmp_path), run_config()).evaluate(batches(), steps=1)


def test_the_settings_of_run_config_hold_for_the_saver(tmp_path):
    config = run_config(save_checkpoints_steps=1, keep_checkpoint_max=2)
    estimator = tf.estimator.Estimator(auto_mask(plain_model_fn, SPEC), str(tmp_path), config)
    estimator.train(batches(), steps=5)
    assert sorted(name for name in os.listdir(str(tmp_path)) if name.endswith(".index")) == [
        "model.ckpt-4.index",
        "model.ckpt-5.index",
    ]
