"""auto_mask in the three modes of an Estimator."""

import functools
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


def test_signatures_and_kinds_of_train_op(tmp_path):
    seen = {}

    def with_params(features, labels, mode, params, config):
        seen.update(params=params, config=config)
        return plain_model_fn(features, labels, mode)

    def tensor_train_op(features, labels, mode):
        spec = estimator_spec(features, labels, mode)
        if mode == "train":
            with tf.control_dependencies([spec.train_op]):
                return spec._replace(train_op=tf.identity(spec.loss))
        return spec

    class Model:
        def __call__(self, features, labels, mode):
            return plain_model_fn(features, labels, mode)

    def with_rate(features, labels, mode, rate):
        return estimator_spec(features, labels, mode, tf.train.GradientDescentOptimizer(rate))

    def train_only(features, labels):
        return plain_model_fn(features, labels, "train")

    model_fns = {
        "params": with_params,
        "tensor": tensor_train_op,
        "object": Model(),
        "partial": functools.partial(with_rate, rate=0.1),
        "no_mode": train_only,
    }
    for name, model_fn in model_fns.items():
        estimator = tf.estimator.Estimator(
            auto_mask(model_fn, SPEC), str(tmp_path / name), run_config(), params={"a": 1} if name == "params" else None
        )
        estimator.train(batches(), steps=8)
        mask, raw = mask_and_weight(read_all(str(tmp_path / name)), DENSE)
        assert int(mask.sum()) == kept_entries(raw.size, SPEC.target_sparsity), name
    assert seen["params"] == {"a": 1}
    assert seen["config"].tf_random_seed == 7


def test_a_wrapped_ready_estimator_keeps_its_settings(tmp_path):
    dense = tf.estimator.Estimator(plain_model_fn, str(tmp_path), run_config())
    masked = auto_mask_estimator(dense, SPEC)
    masked.train(batches(), steps=8)
    assert masked.model_dir == dense.model_dir
    assert "conv/mask" in read_all(str(tmp_path))


def test_export_saved_model_predicts_like_the_masked_model(tmp_path):
    estimator = _estimator(plain_model_fn, tmp_path / "model")
    estimator.train(batches(), steps=10)

    def receiver():
        images = tf.placeholder(tf.float32, [None, 6, 6, 2])
        return tf.estimator.export.TensorServingInputReceiver(images, images)

    def with_outputs(features, labels, mode):
        spec = plain_model_fn(features, labels, mode)
        outputs = {"serving_default": tf.estimator.export.PredictOutput(spec.predictions)}
        return spec._replace(export_outputs=outputs) if mode == "infer" else spec

    exported = _estimator(with_outputs, tmp_path / "model").export_saved_model(str(tmp_path / "saved"), receiver)
    with tf.Graph().as_default(), tf.Session() as session:
        meta_graph = tf.saved_model.load(session, ["serve"], exported.decode())
        signature = meta_graph.signature_def["serving_default"]
        images = session.run(tf.data.make_one_shot_iterator(batches()()).get_next()[0])
        feed = {next(iter(signature.inputs.values())).name: images}
        found = session.run(signature.outputs["logits"].name, feed)
    assert np.array_equal(found, _logits(estimator, count=1))


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
