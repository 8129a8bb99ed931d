"""The pip-installed Object Detection API's SSD MobileNet V1, untouched: pruned, resumed, folded and exported."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from examples.digit_scenes import comparing, config, exporting, pruning, training
from examples.digit_scenes.layout import Layout
from fixtures.estimators import read_all
from graph_masker import PruningSpec, fold_checkpoint, inspect_model
from graph_masker.schedule import kept_entries
from tests.models.scenes import HELD_OUT, write_scenes

SPEC = PruningSpec(target_sparsity=0.8, begin_step=1, end_step=5, frequency=2)


def _nothing(_: int) -> None:
    """Takes a training step's number."""


def _estimator(layout: Layout, steps: int, spec=None):
    phase = config.Phase(layout.pruned, steps, 1e-3)
    phase.folder.mkdir(exist_ok=True)
    config.write_config(phase, layout)
    creator = {} if spec is None else {"model_fn_creator": pruning.masked_creator(spec)}
    return phase, training.make_estimator(phase, 1, **creator)


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """Trains 5 steps, resumes for 2, evaluates, folds: everything the tests below look at."""
    layout, images = write_scenes(tmp_path_factory.mktemp("ssd") / "demo")
    with tf.Graph().as_default():
        _, parts = _estimator(layout, 5, SPEC)
        first = read_all(training.train(parts, _nothing))
        phase, parts = _estimator(layout, 7, SPEC)
        masked = training.train(parts, _nothing)
        scores = training.evaluate(parts, masked, _nothing)
        folded = fold_checkpoint(masked, str(layout.folded_checkpoint)).prefix
        _, dense_parts = _estimator(layout, 7)
    return {
        "layout": layout,
        "phase": phase,
        "masked_parts": parts,
        "dense_parts": dense_parts,
        "first": first,
        "masked": masked,
        "folded": folded,
        "scores": scores,
        "images": images,
    }


def test_every_convolution_reaches_the_target_exactly(road):
    plan = inspect_model(road["masked"])
    values = read_all(road["masked"])
    assert len(plan.sites) == 18
    assert {site.op_types for site in plan.sites} == {("Conv2D",)}
    for site in plan.sites:
        assert int(values[site.mask].sum()) == kept_entries(site.entries, SPEC.target_sparsity), site.variable
    depthwise = [skip for skip in plan.skips if skip.variable.endswith("depthwise_weights")]
    # The backbone's separable convolutions; inspect plans every weight, so the reason is the rule's own.
    assert len(depthwise) == 13
    assert {skip.reason for skip in depthwise} == {"depthwise weights are masked only on request (also: depthwise)"}


def test_resuming_keeps_the_masks(road):
    first, last = road["first"], read_all(road["masked"])
    assert first["global_step"] == 5
    assert last["global_step"] == 7
    masks = [name for name in first if name.endswith("/mask")]
    assert len(masks) == 18
    for name in masks:
        assert first[name].tobytes() == last[name].tobytes(), name
    assert last["model_pruning/last_mask_update_step"] == SPEC.end_step


def test_evaluation_runs_on_the_masked_model(road):
    assert 0.0 <= road["scores"].mean <= road["scores"].at_50 <= 1.0


def test_folded_checkpoint_gives_the_masked_outputs_in_the_untouched_model(road):
    masked = comparing.raw_outputs(road["masked_parts"], road["masked"], HELD_OUT)
    folded = comparing.raw_outputs(road["dense_parts"], road["folded"], HELD_OUT)
    assert set(comparing.differences(masked, folded).values()) == {0.0}
    assert masked["box_encodings"].tobytes() == folded["box_encodings"].tobytes()
    # Negative control: the raw weights of the masked checkpoint, unfolded, give other outputs.
    raw = comparing.raw_outputs(road["dense_parts"], road["masked"], HELD_OUT)
    assert comparing.differences(masked, raw)["box_encodings"] > 0.0


def test_the_api_exports_the_folded_checkpoint_and_the_frozen_graph_runs(road):
    phase = road["phase"]
    exporting.export(phase, phase.config, road["folded"])
    definition = tf.GraphDef.FromString(Path(phase.frozen_graph).read_bytes())
    assert not [node.name for node in definition.node if node.name.endswith(("/mask", "/threshold", "masked_weight"))]
    kernels = [node for node in definition.node if node.op == "Const" and node.name.endswith("pointwise/weights")]
    assert len(kernels) == 13
    for node in kernels:
        values = tf.make_ndarray(node.attr["value"].tensor)
        assert np.count_nonzero(values) == kept_entries(values.size, SPEC.target_sparsity), node.name
    found = exporting.detect(phase.frozen_graph, road["images"])
    assert len(found) == HELD_OUT
    assert all(np.all(np.isfinite(item.boxes)) for item in found)
