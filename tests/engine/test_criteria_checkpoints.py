"""What criteria have added up is in every checkpoint, and nowhere where it does not belong."""

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import batches, estimator_spec, plain_model_fn, read_all, run_config, saver_before_gradients
from graph_masker import auto_mask, fold_checkpoint
from graph_masker.errors import SourceError
from graph_masker.files.source import CheckpointReader
from graph_masker.masks import find_masks
from graph_masker.schedule import kept_entries
from graph_masker.spec import PruningSpec
from tests.helpers.bits import assert_same_bits, differences

SPEC = PruningSpec(0.8, 2, 11, frequency=3, criterion="taylor")
STATE = {"conv/taylor", "dense/taylor", "model_pruning/accumulated_steps"}


def _saver_of_names(features: Any, labels: Any, mode: str) -> Any:
    def scaffold() -> Any:
        return tf.train.Scaffold(saver=tf.train.Saver({v.op.name: v for v in tf.global_variables()}, sharded=True))

    return estimator_spec(features, labels, mode, scaffold=scaffold)


MODELS = {"none": plain_model_fn, "early": saver_before_gradients, "names": _saver_of_names}


class _Stop(tf.train.SessionRunHook):
    """Ends a run in the middle of the schedule as a crash does: nothing is saved at the end."""

    def __init__(self, step: int) -> None:
        self._step = step

    def before_run(self, run_context: Any) -> Any:
        return tf.train.SessionRunArgs(tf.train.get_global_step())

    def after_run(self, run_context: Any, run_values: Any) -> None:
        if run_values.results + 1 >= self._step:
            raise KeyboardInterrupt


def _repeating() -> Any:
    """The same batch in every step, so that a resumed run sees what the uninterrupted one saw."""
    images, labels = np.random.RandomState(0).rand(8, 6, 6, 2).astype(np.float32), np.arange(8) % 3
    return tf.data.Dataset.from_tensors((images, labels)).repeat()


@pytest.mark.parametrize("name, criterion", [("none", "taylor"), ("early", "movement"), ("names", "taylor")])
def test_a_killed_run_resumes_as_if_nothing_had_been(tmp_path: Any, name: str, criterion: str):
    model_fn = auto_mask(MODELS[name], replace(SPEC, criterion=criterion))

    def estimator(folder: str, **config: Any) -> Any:
        return tf.estimator.Estimator(model_fn, str(tmp_path / folder), run_config(save_summary_steps=None, **config))

    estimator("whole").train(_repeating, max_steps=12)
    with pytest.raises(KeyboardInterrupt):
        estimator("killed", save_checkpoints_steps=4).train(_repeating, max_steps=12, hooks=[_Stop(7)])
    # Between two updates, where sums and count are under way.
    middle = read_all(str(tmp_path / "killed"))
    assert middle["global_step"] == 4
    assert {"conv/" + criterion, "dense/" + criterion} <= set(middle)
    assert all(np.any(middle[f"{scope}/{criterion}"]) for scope in ("conv", "dense"))
    estimator("killed").train(_repeating, max_steps=12)
    whole, killed = read_all(str(tmp_path / "whole")), read_all(str(tmp_path / "killed"))
    assert_same_bits(killed, whole)
    assert ("model_pruning/accumulated_steps" in whole) == (criterion == "taylor")
    assert whole["dense/mask"].sum() == kept_entries(64 * 3, 0.8)


def test_lost_sums_would_be_seen(tmp_path: Any):
    """The control of the test above: a run that resumes without its sums ends elsewhere."""
    model_fn = auto_mask(plain_model_fn, SPEC)

    class Forget(tf.train.SessionRunHook):
        def after_create_session(self, session: Any, coord: Any) -> None:
            for variable in tf.global_variables():
                if variable.op.name in STATE:
                    session.run(variable.initializer)

    found = []
    for hooks in ([], [Forget()]):
        estimator = tf.estimator.Estimator(model_fn, str(tmp_path / f"{len(hooks)}"), run_config())
        estimator.train(_repeating, max_steps=4)
        estimator.train(_repeating, steps=1, hooks=hooks)
        found.append(read_all(str(tmp_path / f"{len(hooks)}")))
    # The update at step 5 comes of the sums since step 2.
    assert {line.partition(":")[0] for line in differences(*found)} >= {"conv/mask", "dense/threshold"}


def test_a_dense_checkpoint_restores_and_sums_start_at_zero(tmp_path: Any):
    tf.estimator.Estimator(plain_model_fn, str(tmp_path), run_config()).train(batches(), max_steps=3)
    dense = read_all(str(tmp_path))
    assert not STATE & set(dense)
    seen = []

    class Look(tf.train.SessionRunHook):
        def after_create_session(self, session: Any, coord: Any) -> None:
            seen.append(session.run({v.op.name: v for v in tf.global_variables()}))

    masked = tf.estimator.Estimator(auto_mask(plain_model_fn, SPEC), str(tmp_path), run_config())
    masked.train(batches(), steps=1, hooks=[Look()])
    assert_same_bits({name: seen[0][name] for name in dense}, dense)
    assert all(not np.any(seen[0][name]) for name in STATE)
    assert seen[0]["conv/mask"].all()
    masked.train(batches(), steps=10)
    assert read_all(str(tmp_path))["dense/mask"].sum() == kept_entries(64 * 3, 0.8)


def test_a_checkpoint_of_another_criterion_continues(tmp_path: Any):
    """What is held for the old criterion is left behind, masks are kept, the new one's sums start at zero."""
    old = tf.estimator.Estimator(auto_mask(plain_model_fn, SPEC), str(tmp_path), run_config())
    old.train(batches(), max_steps=6)
    before = read_all(str(tmp_path))
    movement = replace(SPEC, criterion="movement")
    tf.estimator.Estimator(auto_mask(plain_model_fn, movement), str(tmp_path), run_config()).train(batches(), steps=1)
    after = read_all(str(tmp_path))
    assert "dense/taylor" not in after and np.any(after["dense/movement"])
    assert_same_bits({"mask": after["dense/mask"]}, {"mask": before["dense/mask"]})


@pytest.mark.parametrize("mode", ["evaluate", "predict"])
def test_evaluation_neither_needs_nor_changes_sums(tmp_path: Any, mode: str):
    estimator = tf.estimator.Estimator(auto_mask(plain_model_fn, SPEC), str(tmp_path), run_config())
    estimator.train(batches(), max_steps=4)
    before = read_all(str(tmp_path))
    if mode == "evaluate":
        assert estimator.evaluate(batches(), steps=1)["global_step"] == 4
    else:
        assert next(iter(estimator.predict(batches())))["logits"].shape == (3,)
    assert_same_bits(read_all(str(tmp_path)), before)


@pytest.mark.parametrize("criterion, with_meta", [("taylor", False), ("movement", True)])
def test_folding_drops_all_of_it(tmp_path: Any, criterion: str, with_meta: bool):
    source, folded = str(tmp_path / "masked"), str(tmp_path / "folded")
    spec = replace(SPEC, criterion=criterion)
    tf.estimator.Estimator(auto_mask(plain_model_fn, spec), source, run_config()).train(batches(), max_steps=12)
    prefix = os.path.join(source, "model.ckpt-12")
    if not with_meta:
        os.remove(prefix + ".meta")
    # Sums are of the shape of mask and weight, and stand beside both.
    names = find_masks(CheckpointReader(prefix), {})
    assert dict(names.masks) == {"conv/mask": "conv/kernel", "dense/mask": "dense/kernel"}
    fold_checkpoint(source, folded)
    masked, plain = read_all(source), read_all(folded)
    state = {f"{scope}/{leaf}" for scope in ("conv", "dense") for leaf in ("mask", "threshold", criterion)}
    state |= {"model_pruning/last_mask_update_step", "model_pruning/skipped_gradients"} | (
        STATE & {"model_pruning/accumulated_steps"} & set(masked)
    )
    assert set(masked) - set(plain) == state
    for name in ("conv", "dense"):
        expected = masked[f"{name}/mask"] * masked[f"{name}/kernel"]
        assert_same_bits({"weight": plain[f"{name}/kernel"]}, {"weight": expected})


def test_a_tensor_of_the_models_own_beside_the_weight_is_an_error_still(tmp_path: Any):
    """Only what is named as a sum is taken for one."""
    with tf.Graph().as_default(), tf.Session() as session:
        for name in ("kernel", "mask", "taylor", "other"):
            tf.get_variable(f"dense/{name}", [2, 3])
        tf.get_variable("dense/threshold", [])
        session.run(tf.global_variables_initializer())
        prefix = tf.train.Saver().save(session, str(tmp_path / "model"), write_meta_graph=False)
    with pytest.raises(SourceError, match="found dense/kernel, dense/other"):
        find_masks(CheckpointReader(prefix), {})
