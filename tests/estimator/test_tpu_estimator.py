"""TPUEstimator on a CPU: specs with functions that make the Scaffold, metrics and host calls later."""

import os
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import SPEC, batches, estimator_spec, plain_model_fn, read_all
from graph_masker import auto_mask, auto_mask_estimator
from tests.helpers.bits import assert_same_bits, differences

Spec = tf.estimator.tpu.TPUEstimatorSpec


def _config(**values):
    session = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    return tf.estimator.tpu.RunConfig(tf_random_seed=7, session_config=session, log_step_count_steps=None, **values)


def _estimator(model_fn, directory, masked="model_fn", **options):
    """Makes a TPUEstimator, whose model_fn is masked before or after it wraps it."""
    given = auto_mask(model_fn, SPEC) if masked == "model_fn" else model_fn
    sizes = {"train_batch_size": 8, "eval_batch_size": 8, "predict_batch_size": 8}
    estimator = tf.estimator.tpu.TPUEstimator(given, str(directory), _config(), use_tpu=False, **sizes, **options)
    return auto_mask_estimator(estimator, SPEC) if masked == "estimator" else estimator


def _input_fn(params):
    assert params["batch_size"] == 8
    return batches()()


def _model(scaffold_fn=None, host_call=False, folder=None):
    def model_fn(features, labels, mode, params):
        spec = estimator_spec(features, labels, mode)
        if mode == "infer":
            return Spec(mode, predictions=spec.predictions, scaffold_fn=scaffold_fn)

        def metrics(labels, logits):
            return {"accuracy": tf.metrics.accuracy(labels, tf.argmax(logits, 1))}

        def write(loss):
            return tf.io.write_file(os.path.join(folder, "loss"), tf.strings.as_string(loss[0]))

        return Spec(
            mode,
            loss=spec.loss,
            train_op=spec.train_op,
            predictions=spec.predictions,
            eval_metrics=(metrics, [labels, spec.predictions["logits"]]) if mode == "eval" else None,
            host_call=(write, [tf.reshape(spec.loss, [1])]) if host_call and mode == "train" else None,
            scaffold_fn=scaffold_fn,
        )

    return model_fn


def _own_scaffold():
    variables = [variable for variable in tf.global_variables() if "mask" not in variable.op.name]
    saver = tf.train.Saver(variables, sharded=True)
    init_op = tf.group(*(variable.initializer for variable in variables))
    return tf.train.Scaffold(saver=saver, init_op=init_op)


@pytest.mark.parametrize("masked", ["model_fn", "estimator"])
@pytest.mark.parametrize("scaffold_fn", [None, _own_scaffold], ids=["no scaffold_fn", "scaffold_fn"])
def test_training_equals_that_of_an_estimator(tmp_path, masked, scaffold_fn):
    config = tf.estimator.RunConfig(tf_random_seed=7, session_config=_config().session_config)
    # Both begin from one dense checkpoint: the two kinds of Estimator draw different initial values.
    tf.estimator.Estimator(plain_model_fn, str(tmp_path / "plain"), config).train(batches(), steps=4)
    shutil.copytree(str(tmp_path / "plain"), str(tmp_path / "tpu"))
    model_fn = _model(scaffold_fn, True, str(tmp_path))
    for steps in (4, 5):
        _estimator(model_fn, tmp_path / "tpu", masked).train(_input_fn, steps=steps)
    plain = tf.estimator.Estimator(auto_mask(plain_model_fn, SPEC), str(tmp_path / "plain"), config)
    plain.train(batches(), steps=9)
    expected = read_all(str(tmp_path / "plain"))
    assert_same_bits(read_all(str(tmp_path / "tpu")), expected)
    assert expected["dense/mask"].mean() == 0.25
    assert float((tmp_path / "loss").read_text()) > 0
    estimator = _estimator(model_fn, tmp_path / "tpu", masked)
    scores = estimator.evaluate(_input_fn, steps=2)
    expected = plain.evaluate(batches(), steps=2)
    assert (scores["global_step"], scores["loss"]) == (13, expected["loss"])
    logits = [
        np.stack([item["logits"] for item, _ in zip(each.predict(inputs), range(8))])
        for each, inputs in ((estimator, _input_fn), (plain, batches()))
    ]
    assert logits[0].tobytes() == logits[1].tobytes()


def _without_masks(prefix, values):
    """Writes a checkpoint of values, and without all pruning state."""
    with tf.Graph().as_default(), tf.Session() as session:
        state = ("mask", "threshold", "last_mask_update_step")
        kept = [tf.Variable(value, name=name) for name, value in values.items() if not name.endswith(state)]
        session.run(tf.global_variables_initializer())
        return tf.train.Saver(kept).save(session, prefix, global_step=0)


@pytest.mark.parametrize("source", ["dense", "masked"])
def test_a_scaffold_fn_that_initializes_from_a_checkpoint(tmp_path, source):
    """As the Object Detection API does for TPUs: after model_fn has returned."""
    _estimator(_model(), tmp_path / "masked").train(_input_fn, steps=8)
    values = read_all(str(tmp_path / "masked"))
    _without_masks(str(tmp_path / "dense" / "model.ckpt"), values)

    def scaffold_fn():
        weights = {variable.op.name: variable for variable in tf.trainable_variables()}
        tf.train.init_from_checkpoint(str(tmp_path / source), weights)
        return tf.train.Scaffold()

    seen = {}

    class Look(tf.train.SessionRunHook):
        def after_create_session(self, session, coord):
            seen.update({name: session.run(f"{name}:0") for name in ("conv/mask", "dense/mask", "dense/kernel")})

    _estimator(_model(scaffold_fn), tmp_path / "model").train(_input_fn, steps=1, hooks=[Look()])
    expected = {name: values[name] if source == "masked" else np.ones_like(values[name]) for name in seen}
    expected["dense/kernel"] = values["dense/kernel"]
    assert_same_bits(seen, expected)
    assert differences(seen, {**expected, "conv/mask": 1 - expected["conv/mask"]})


def test_a_dense_checkpoint_continues_masked(tmp_path):
    _estimator(_model(), tmp_path, masked="").train(_input_fn, steps=2)
    dense = read_all(str(tmp_path))
    assert "dense/mask" not in dense
    _estimator(_model(), tmp_path).train(_input_fn, steps=6)
    masked = read_all(str(tmp_path))
    assert masked["global_step"] == 8
    assert masked["dense/mask"].mean() == 0.25
