"""Masked checkpoints: their masks get the zeros, too; and what training added up decides where a criterion asks."""

import os
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import CONV, DENSE, SPEC, batches, plain_model_fn, read_all, run_config
from graph_masker import (
    PlanError,
    PruningSpec,
    SourceError,
    auto_mask,
    fold_checkpoint,
    inspect_model,
    prune_model,
    verify_model,
)
from tests.helpers.bits import assert_same_bits
from tests.reference import selection as reference

ONCE = {"begin_step": 0, "schedule": "one_shot"}
SPECS = {
    "sparser": {"target_sparsity": 0.9},
    "denser": {"target_sparsity": 0.3},
    "global": {"target_sparsity": 0.95, "allocation": "global"},
    "blocks": {"target_sparsity": 0.9, "structure": {"block": [4, 1]}},
    "channels": {"target_sparsity": 0.5, "structure": "channel"},
    "erk": {"target_sparsity": 0.85, "allocation": "erk", "max_sparsity": 0.9},
    "one": {"target_sparsity": 0.9, "exclude": "conv"},
    "one by erk": {"target_sparsity": 0.9, "exclude": "conv", "allocation": "erk"},
}
MASKS = {CONV: "conv/mask", DENSE: "dense/mask"}


def train(folder: Any, model_fn: Any, steps: int) -> str:
    with tf.Graph().as_default():
        tf.estimator.Estimator(model_fn, str(folder), run_config()).train(batches(), steps=steps)
    return str(folder)


@pytest.fixture(scope="module")
def masked(tmp_path_factory: Any) -> str:
    """Trained to 0.75, and for some steps beyond: what is masked out has moved on."""
    return train(tmp_path_factory.mktemp("masked"), auto_mask(plain_model_fn, SPEC), 11)


@pytest.fixture(scope="module")
def dense_graph(tmp_path_factory: Any) -> str:
    return os.path.join(train(tmp_path_factory.mktemp("dense"), plain_model_fn, 1), "model.ckpt-1.meta")


@pytest.mark.parametrize("name", list(SPECS))
def test_pruning_and_folding_may_be_done_in_either_order(masked: str, dense_graph: str, name: str, tmp_path: Any):
    spec = PruningSpec(**ONCE, **SPECS[name])
    result = prune_model(masked, str(tmp_path / "pruned"), spec)
    one = read_all(fold_checkpoint(str(tmp_path / "pruned"), str(tmp_path / "one")).prefix)
    folded = fold_checkpoint(masked, str(tmp_path / "folded")).prefix
    dense_result = prune_model(folded, str(tmp_path / "other"), spec, meta=dense_graph)
    assert_same_bits(one, read_all(str(tmp_path / "other")))
    assert one[DENSE].tobytes() != read_all(folded)[DENSE].tobytes() or name == "denser"
    both = [{weight.variable: weight.threshold for weight in item.weights} for item in (result, dense_result)]
    assert_same_bits(*both)


@pytest.mark.parametrize("name", list(SPECS))
def test_masks_and_thresholds_go_with_the_weights(masked: str, name: str, tmp_path: Any):
    result = prune_model(masked, str(tmp_path / "pruned"), PruningSpec(**ONCE, **SPECS[name]))
    old, new = read_all(masked), read_all(str(tmp_path / "pruned"))
    for weight in result.weights:
        mask = MASKS[weight.variable]
        assert mask in result.masks
        assert set(np.unique(new[mask])) <= {0, 1}
        assert (new[mask] <= old[mask]).all()
        assert weight.zeros == int(np.sum(new[mask] == 0))
        assert new[mask.replace("mask", "threshold")].tobytes() == weight.threshold.tobytes()
        assert new[weight.variable].tobytes() == (new[mask] * old[weight.variable]).tobytes()
    changed = {name for name in old if old[name].tobytes() != new[name].tobytes()}
    pruned = {weight.variable for weight in result.weights}
    assert changed <= pruned | {MASKS[key] for key in pruned} | {
        MASKS[key].replace("mask", "threshold") for key in pruned
    }
    verify_model(str(tmp_path / "pruned"))
    # It trains on: names, graph and saver are those that were there.
    train(tmp_path / "pruned", auto_mask(plain_model_fn, SPEC), 1)


def test_excluded_masked_weights_are_listed(masked: str, tmp_path: Any):
    result = prune_model(masked, str(tmp_path / "pruned"), PruningSpec(**ONCE, **SPECS["one"]))
    assert [weight.variable for weight in result.weights] == [DENSE]
    reasons = {skip.variable: skip.reason for skip in result.plan.skips}
    assert reasons[CONV] == "excluded by 'conv'; its mask stays as it is"
    with pytest.raises(PlanError, match="the spec excludes all that can be"):
        prune_model(masked, str(tmp_path / "all"), PruningSpec(0.5, exclude="kernel", **ONCE))


@pytest.mark.parametrize("criterion", ["movement", "taylor"])
def test_what_training_added_up_decides(criterion: str, tmp_path: Any):
    training = replace(SPEC, criterion=criterion)
    folder = train(tmp_path / "masked", auto_mask(plain_model_fn, training), 10)
    result = prune_model(folder, str(tmp_path / "pruned"), PruningSpec(0.85, criterion=criterion, **ONCE))
    old, new = read_all(folder), read_all(str(tmp_path / "pruned"))
    count = max(1, int(old.get("model_pruning/accumulated_steps", 1)))
    assert count == (2 if criterion == "taylor" else 1)
    for weight in result.weights:
        scores = old[weight.variable.replace("kernel", criterion)]
        assert np.any(scores)
        expected = reference.select(scores, 0.85, reference.Elements(), signed=criterion == "movement")
        threshold = np.float32(expected.threshold / np.float32(count))
        assert_same_bits(
            {"mask": new[MASKS[weight.variable]], "threshold": weight.threshold},
            {"mask": expected.mask, "threshold": threshold},
        )
        assert new[weight.variable].tobytes() == (expected.mask * old[weight.variable]).tobytes()
        by_magnitude = reference.select(old[weight.variable], 0.85, reference.Elements())
        assert by_magnitude.mask.tobytes() != expected.mask.tobytes()


def test_criteria_without_their_scores_are_refused(masked: str, dense_graph: str, tmp_path: Any):
    spec = PruningSpec(0.5, criterion="taylor", **ONCE)
    for source in (masked, os.path.dirname(dense_graph)):
        with pytest.raises(PlanError, match="criterion taylor needs what a masked training adds up, 'conv/taylor'"):
            prune_model(source, str(tmp_path / "out"), spec)
    folder = train(tmp_path / "masked", auto_mask(plain_model_fn, replace(SPEC, criterion="taylor")), 8)
    with pytest.raises(SourceError, match="found none since the last mask update; take a checkpoint of a later step"):
        prune_model(folder, str(tmp_path / "out"), spec)
    assert not os.path.lexists(str(tmp_path / "out"))


def test_graphs_that_do_not_fit_the_checkpoint_are_refused(masked: str, dense_graph: str, tmp_path: Any):
    spec = PruningSpec(0.5, **ONCE)
    dense = os.path.dirname(dense_graph)
    with pytest.raises(SourceError, match="holds a mask of 'conv/kernel', 'conv/mask', of which its graph knows"):
        prune_model(masked, str(tmp_path / "out"), spec, meta=dense_graph)
    with pytest.raises(SourceError, match="expected 'conv/mask', found no such tensor; is the graph another model's"):
        prune_model(dense, str(tmp_path / "out"), spec, meta=os.path.join(masked, "model.ckpt-11.meta"))
    with tf.Graph().as_default(), tf.Session() as session:
        tf.layers.dense(tf.placeholder(tf.float32, [1, 5]), 2, name="dense")
        session.run(tf.global_variables_initializer())
        other = tf.train.Saver().save(session, str(tmp_path / "other"))
    with pytest.raises(SourceError, match=r"expected shape \(5, 2\) of 'dense/kernel', found \(64, 3\)"):
        prune_model(dense, str(tmp_path / "out"), spec, meta=other + ".meta")
    copy = str(tmp_path / "copy")
    shutil.copytree(dense, copy)
    for name in ("model.ckpt-0.meta", "model.ckpt-1.meta"):
        os.remove(os.path.join(copy, name))
    with pytest.raises(SourceError, match=r"model.ckpt-1.meta: expected the graph of this checkpoint"):
        prune_model(copy, str(tmp_path / "out"), spec)
    result = prune_model(copy, str(tmp_path / "out"), spec, meta=dense_graph)
    assert len(result.weights) == 2
    assert "model.ckpt-1.meta" not in os.listdir(str(tmp_path / "out"))
    assert len(inspect_model(dense).sites) == 2
