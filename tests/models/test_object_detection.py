"""The Object Detection API's own training life, its code untouched: fine-tuning, moving averages, ready Estimators."""

import logging

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from google.protobuf import text_format

from examples.digit_scenes import config, training
from fixtures.estimators import read_all
from graph_masker import PruningSpec, auto_mask_estimator, fold_checkpoint
from graph_masker.plan import LAST_UPDATE_STEP
from graph_masker.schedule import kept_entries
from tests.helpers.bits import assert_same_bits, differences
from tests.models.scenes import write_scenes

SPEC = PruningSpec(target_sparsity=0.8, begin_step=1, end_step=5, frequency=2)
MASKS = 18


class _Look(tf.train.SessionRunHook):
    """Notes all variables before the first step."""

    def begin(self):
        self._variables = {variable.op.name: variable for variable in tf.global_variables()}

    def after_create_session(self, session, coord):
        self.values = session.run(self._variables)


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("api") / "demo")[0]


def _parts(layout, folder, steps, start_from=None, masked=True, averaged_evaluation=True):
    """What create_estimator_and_inputs returns, its Estimator masked; it trains with moving averages."""
    phase = config.Phase(folder, steps, 1e-2, start_from)
    folder.mkdir(exist_ok=True)
    config.write_config(phase, layout)
    pipeline = config.read_config(phase.config)
    pipeline.train_config.optimizer.use_moving_average = True
    pipeline.train_config.optimizer.moving_average_decay = 0.5
    pipeline.eval_config.use_moving_averages = averaged_evaluation
    phase.config.write_text(text_format.MessageToString(pipeline))
    parts = training.make_estimator(phase, 1)
    return {**parts, "estimator": auto_mask_estimator(parts["estimator"], SPEC)} if masked else parts


def _train(parts):
    look = _Look()
    parts["estimator"].train(parts["train_input_fn"], max_steps=parts["train_steps"], hooks=[look])
    return look.values, parts["estimator"].latest_checkpoint()


@pytest.fixture(scope="module")
def masked(layout, tmp_path_factory):
    """Prefix of a masked checkpoint, of step 6."""
    return _train(_parts(layout, tmp_path_factory.mktemp("masked") / "run", 6))[1]


@pytest.fixture(scope="module")
def dense(layout, tmp_path_factory):
    """Prefix of a dense checkpoint, of step 2."""
    return _train(_parts(layout, tmp_path_factory.mktemp("dense") / "run", 2, masked=False))[1]


def _masks(values):
    found = {name: value for name, value in values.items() if name.endswith("/mask")}
    assert len(found) == MASKS
    return found


def _check_start(start, source):
    """Asserts that all of the model, and nothing of its training, comes from a checkpoint."""
    names = [name for name in start if name in source and name.endswith(("weights", "biases", "gamma", "moving_mean"))]
    assert len(names) > 60
    assert_same_bits({name: start[name] for name in names}, {name: source[name] for name in names})
    assert start["global_step"] == 0 and start[LAST_UPDATE_STEP] == -1


@pytest.mark.slow
def test_fine_tuning_from_a_dense_checkpoint(layout, dense, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="tensorflow"):
        start, prefix = _train(_parts(layout, tmp_path / "run", 2, dense))
    _check_start(start, read_all(dense))
    assert all(mask.min() == 1 for mask in _masks(start).values())
    # Nothing was asked for that a dense checkpoint lacks.
    assert "graph_masker" not in caplog.text
    assert read_all(prefix)[LAST_UPDATE_STEP] == 1


@pytest.mark.slow
def test_fine_tuning_from_a_masked_checkpoint(layout, masked, tmp_path):
    start, prefix = _train(_parts(layout, tmp_path / "run", 2, masked))
    source, after = read_all(masked), read_all(prefix)
    _check_start(start, source)
    assert_same_bits(_masks(start), _masks(source))
    thresholds = [name for name in start if name.endswith("/threshold")]
    assert len(thresholds) == MASKS
    assert_same_bits({name: start[name] for name in thresholds}, {name: source[name] for name in thresholds})
    # As sparse as they were, though the schedule begins anew.
    assert after[LAST_UPDATE_STEP] == 1
    for name, mask in _masks(after).items():
        assert int(mask.sum()) == kept_entries(mask.size, SPEC.target_sparsity), name


def test_moving_averages_are_evaluated_with_the_masks(layout, masked, tmp_path):
    """Evaluated by the API's own saver of averages: as the folded averages are by the API alone."""

    def evaluated(checkpoint, **options):
        parts = _parts(layout, tmp_path / "run", 6, **options)
        scores = parts["estimator"].evaluate(parts["eval_input_fns"][0], checkpoint_path=checkpoint)
        # What weight decay adds differs: it sees the raw weights, or the pruned ones.
        summed = ("loss", "Loss/total_loss", "Loss/regularization_loss")
        return {name: value for name, value in scores.items() if name not in summed}

    values = read_all(masked)
    averages = [name for name in values if name.endswith("/ExponentialMovingAverage")]
    assert any(not np.array_equal(values[name], values[name.rpartition("/")[0]]) for name in averages)
    folded = fold_checkpoint(masked, str(tmp_path / "folded" / "model.ckpt"))
    assert len(folded.copies) == MASKS
    found = evaluated(masked)
    assert {"Loss/classification_loss", "Loss/localization_loss", "DetectionBoxes_Precision/mAP"} <= set(found)
    assert_same_bits(found, evaluated(folded.prefix, masked=False))
    # The averages without masks, and the weights with them, give other losses.
    assert differences(found, evaluated(masked, masked=False))
    assert differences(found, evaluated(masked, averaged_evaluation=False))
