"""A saver made inside model_fn, as the Object Detection API does it: contrib's pruning cannot resume, ours does."""

import pytest
import tensorflow.compat.v1 as tf
from tensorflow.contrib.model_pruning.python.layers import core_layers

from fixtures.estimators import batches, read_all, run_config
from graph_masker import auto_mask
from graph_masker.plan import LAST_UPDATE_STEP
from tests.helpers.bits import assert_same_bits, differences
from tests.oracle.training import SPEC, contribs_pruning


class _ContribsHook(tf.train.SessionRunHook):
    """Pruning that is added from outside of the model_fn: its ops are made when the graph stands."""

    def begin(self):
        self._update = contribs_pruning(SPEC).conditional_mask_update_op()

    def after_run(self, run_context, run_values):
        run_context.session.run(self._update)


def _model_fn(dense, saver=True):
    def model_fn(features, labels, mode):
        logits = dense(tf.layers.flatten(features))
        loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
        train_op = tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss, tf.train.get_global_step())
        # What object_detection/model_lib.py does with it.
        scaffold = tf.train.Scaffold(saver=tf.train.Saver(sharded=True, save_relative_paths=True)) if saver else None
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op, scaffold=scaffold)

    return model_fn


def _by_hand(inputs):
    return core_layers.MaskedFullyConnected(3, name="dense").apply(inputs)


def _plain(inputs):
    return tf.layers.dense(inputs, 3, name="dense")


def _train(model_fn, directory, *parts, hooks=()):
    for steps in parts:
        estimator = tf.estimator.Estimator(model_fn, str(directory), run_config())
        estimator.train(batches(), steps=steps, hooks=list(hooks))
    return read_all(str(directory))


def test_contribs_run_does_not_resume(tmp_path):
    saved = _train(_model_fn(_by_hand), tmp_path, 12, hooks=[_ContribsHook()])
    assert "dense/mask" in saved and LAST_UPDATE_STEP not in saved
    with pytest.raises(RuntimeError, match=f"Variables not initialized: {LAST_UPDATE_STEP}"):
        _train(_model_fn(_by_hand), tmp_path, 4, hooks=[_ContribsHook()])


def test_contribs_run_resumes_without_that_saver(tmp_path):
    """The control: it is the saver, and nothing else, that the test above fails by."""
    assert LAST_UPDATE_STEP in _train(_model_fn(_by_hand, saver=False), tmp_path, 12, 4, hooks=[_ContribsHook()])


def test_ours_resumes(tmp_path):
    # 32 images in batches of 8: after every 4 steps the batches begin anew.
    whole = _train(auto_mask(_model_fn(_plain), SPEC), tmp_path / "whole", 36)
    first = _train(auto_mask(_model_fn(_plain), SPEC), tmp_path / "parts", 12)
    assert first[LAST_UPDATE_STEP] == 10
    assert_same_bits(_train(auto_mask(_model_fn(_plain), SPEC), tmp_path / "parts", 24), whole)
    assert whole[LAST_UPDATE_STEP] == 30
    assert differences(first, whole)


def test_ours_goes_on_with_what_contribs_run_has_left(tmp_path, caplog):
    """A checkpoint that lacks the last update's step, and nothing else."""
    saved = _train(_model_fn(_by_hand), tmp_path, 12, hooks=[_ContribsHook()])
    found = _train(auto_mask(_model_fn(_plain), SPEC), tmp_path, 1)
    assert f"holds no {LAST_UPDATE_STEP}; that starts as in a new run" in caplog.text
    # An update is due at once: its step is all that is not known.
    assert found[LAST_UPDATE_STEP] == 13
    assert found.keys() == {*saved, LAST_UPDATE_STEP}
