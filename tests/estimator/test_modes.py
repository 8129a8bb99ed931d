"""auto_mask in the three modes of an Estimator."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import (
    CONV,
    DENSE,
    SPEC,
    batches,
    mask_and_weight,
    plain_model_fn,
    read_all,
    run_config,
)
from graph_masker import PlanError, PruningSpec, UsageError, auto_mask, auto_mask_estimator
from graph_masker.schedule import kept_entries


def _estimator(model_fn, model_dir, **config):
    return tf.estimator.Estimator(auto_mask(model_fn, SPEC), str(model_dir), config=run_config(**config))


def _logits(estimator, count=4):
    predictions = estimator.predict(batches(), yield_single_examples=False)
    return np.concatenate([next(predictions)["logits"] for _ in range(count)])


def test_training_reaches_the_target_exactly(tmp_path):
    _estimator(plain_model_fn, tmp_path).train(batches(), steps=10)
    values = read_all(str(tmp_path))
    for weight in (CONV, DENSE):
        mask, raw = mask_and_weight(values, weight)
        assert int(mask.sum()) == kept_entries(raw.size, SPEC.target_sparsity)
        assert set(np.unique(mask)) == {0.0, 1.0}
    assert values["model_pruning/last_mask_update_step"] == SPEC.end_step


def test_update_needs_no_extra_session_run(tmp_path):
    class Count(tf.train.SessionRunHook):
        runs = 0

        def after_run(self, run_context, run_values):
            Count.runs += 1

    _estimator(plain_model_fn, tmp_path).train(batches(), steps=9, hooks=[Count()])
    assert Count.runs == 9


def test_evaluation_and_prediction_see_the_trained_masks(tmp_path):
    estimator = _estimator(plain_model_fn, tmp_path / "masked")
    estimator.train(batches(), steps=10)
    values = read_all(str(tmp_path / "masked"))

    def with_weights(change):
        """Predicts with the plain model, its weights set from the masked checkpoint by `change`."""
        with tf.Graph().as_default(), tf.Session() as session:
            images, _ = tf.data.make_one_shot_iterator(batches()()).get_next()
            spec = plain_model_fn(images, None, "infer")
            for variable in tf.global_variables():
                name = variable.op.name
                is_weight = name in (CONV, DENSE)
                variable.load(change(*mask_and_weight(values, name)) if is_weight else values[name], session)
            return np.concatenate([session.run(spec.predictions["logits"]) for _ in range(4)])

    found = _logits(estimator)
    assert np.array_equal(found, with_weights(lambda mask, raw: mask * raw))
    # Negative control: the raw weights give something else.
    assert not np.array_equal(found, with_weights(lambda mask, raw: raw))
    first = estimator.evaluate(batches(), steps=2)
    assert first["global_step"] == 10
    assert first["loss"] != estimator.evaluate(batches(seed=1), steps=2)["loss"]


def test_resumed_training_equals_uninterrupted_training(tmp_path):
    whole = _estimator(plain_model_fn, tmp_path / "whole")
    whole.train(batches(), steps=12)
    # 32 images in batches of 8 repeat every 4 steps, so that a run resumed after 4 sees the same batches.
    for _ in range(3):
        _estimator(plain_model_fn, tmp_path / "parts").train(batches(), steps=4)
    left, right = read_all(str(tmp_path / "whole")), read_all(str(tmp_path / "parts"))
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert value.tobytes() == right[name].tobytes(), name


def test_a_wrapped_ready_estimator_keeps_its_settings(tmp_path):
    dense = tf.estimator.Estimator(plain_model_fn, str(tmp_path), run_config())
    masked = auto_mask_estimator(dense, SPEC)
    masked.train(batches(), steps=8)
    assert masked.model_dir == dense.model_dir
    assert "conv/mask" in read_all(str(tmp_path))


def test_training_without_gradients_is_refused(tmp_path):
    def no_gradients(features, labels, mode):
        step = tf.assign_add(tf.train.get_global_step(), 1)
        return tf.estimator.EstimatorSpec(mode, loss=tf.reduce_mean(logits_of_constant(features)), train_op=step)

    def logits_of_constant(features):
        return tf.layers.dense(tf.layers.flatten(features), 3)

    with pytest.raises(PlanError, match="no gradients in TRAIN"):
        _estimator(no_gradients, tmp_path).train(batches(), steps=1)


def test_a_pattern_without_a_match_is_refused(tmp_path):
    spec = PruningSpec(0.5, 0, 10, exclude="no_such_layer")
    estimator = tf.estimator.Estimator(auto_mask(plain_model_fn, spec), str(tmp_path), run_config())
    with pytest.raises(PlanError, match=r"exclude: 'no_such_layer' matches none of the 2 weights.*conv/kernel"):
        estimator.train(batches(), steps=1)
    assert not any(name.startswith("model.ckpt") for name in os.listdir(str(tmp_path)))


def test_a_graph_without_weights_is_refused(tmp_path):
    def no_weights(features, labels, mode):
        bias = tf.get_variable("bias", [2])
        loss = tf.reduce_mean(features + bias)
        step = tf.train.get_global_step()
        train_op = tf.train.GradientDescentOptimizer(0.1).minimize(loss, step)
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)

    with pytest.raises(PlanError, match="no weight to mask: 1 x a bias or scale"):
        _estimator(no_weights, tmp_path).train(batches(), steps=1)


def test_wrong_use_is_refused():
    with pytest.raises(UsageError, match="expected a PruningSpec, found dict"):
        auto_mask(plain_model_fn, {"target_sparsity": 0.5})
    with pytest.raises(UsageError, match="masked already"):
        auto_mask(auto_mask(plain_model_fn, SPEC), SPEC)
    with pytest.raises(UsageError, match="expected a model_fn, found str"):
        auto_mask("model", SPEC)
    with pytest.raises(UsageError, match="expected an Estimator, found str"):
        auto_mask_estimator("model", SPEC)


def test_strategies_that_are_not_supported_are_refused(tmp_path):
    strategy = tf.distribute.experimental.CentralStorageStrategy(["/cpu:0", "/cpu:1"], "/cpu:0")
    config = run_config(train_distribute=strategy, session_config=tf.ConfigProto(device_count={"CPU": 2}))
    estimator = tf.estimator.Estimator(auto_mask(plain_model_fn, SPEC), str(tmp_path), config)
    expected = "auto_mask: expected MirroredStrategy, .* found CentralStorageStrategy.* of 2 replicas; use one of those"
    with pytest.raises(UsageError, match=expected):
        estimator.train(batches(), steps=1)


def test_eager_execution_is_refused():
    code = (
        "import tensorflow.compat.v1 as tf; tf.enable_eager_execution()\n"
        "from fixtures.estimators import SPEC, plain_model_fn; from graph_masker import UsageError, auto_mask\n"
        "try: auto_mask(plain_model_fn, SPEC)(tf.zeros([1, 6, 6, 2]), tf.zeros([1], tf.int32), 'train')\n"
        "except UsageError as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert "TensorFlow executes eagerly here" in result.stdout


def test_the_plan_of_every_graph_is_told_of_a_ready_estimator(tmp_path):
    told = []
    estimator = tf.estimator.Estimator(plain_model_fn, str(tmp_path), config=run_config())
    masked = auto_mask_estimator(estimator, SPEC, on_plan=lambda plan, mode, config: told.append((plan, mode, config)))
    masked.train(batches(), steps=1)
    masked.evaluate(batches(), steps=1)
    assert [mode for _, mode, _ in told] == [tf.estimator.ModeKeys.TRAIN, tf.estimator.ModeKeys.EVAL]
    for plan, _, config in told:
        assert {site.variable for site in plan.sites} == {CONV, DENSE}
        assert config.model_dir == str(tmp_path)
