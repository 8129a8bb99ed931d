"""The pip-installed API's Mask R-CNN Inception V2, untouched, on the demo's whole road: a few steps of each stage."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from examples.digit_scenes import layout, models, road
from fixtures.estimators import read_all
from graph_masker import inspect_model
from graph_masker.schedule import kept_entries

SIZES = {"backbone_steps": 2, "dense_steps": 2, "prune_steps": 5, "scenes": 16, "held_out": 4}


@pytest.mark.slow
def test_the_whole_road(tmp_path):
    places = layout.prepare(tmp_path / "demo")
    settings = road.Settings(models.MODELS["mask_rcnn"]._replace(**SIZES), 0.8, 1)
    summary = road.run(places, settings, io.StringIO())
    assert json.loads(places.summary.read_text()) == summary
    assert summary["max_abs_difference"] == 0.0
    assert {"detection_boxes", "detection_masks", "raw_detection_scores"} <= set(summary["differences"])
    assert summary["sparsity_exact"] and len(summary["layers"]) == 77
    assert all(0.0 <= summary[f"masks_map50_{way}"] <= 1.0 for way in ("dense", "pruned"))
    assert Image.open(str(places.picture)).size[0] > 100
    # The detector began with the classifier's backbone, in both of its stages.
    classifier = read_all(str(places.backbone))
    dense = read_all(str(places.dense / "model"))
    name = "Mixed_4e/Branch_0/Conv2d_0a_1x1/BatchNorm/moving_mean"
    assert np.array_equal(classifier[f"InceptionV2/{name}"], dense[f"FirstStageFeatureExtractor/InceptionV2/{name}"])
    masked = read_all(str(places.pruned / "model"))
    for site in inspect_model(str(places.pruned / "model")).sites:
        assert int(masked[site.mask].sum()) == kept_entries(site.entries, 0.8), site.variable
