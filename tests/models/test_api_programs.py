"""The training programs of the pip-installed Object Detection API, untouched, under `graph-masker run`."""

import json

import pytest

from fixtures.estimators import read_all
from graph_masker.plan import PLAN_FILE, MaskPlan
from graph_masker.schedule import kept_entries
from tests.cli.running import run
from tests.models.scenes import phase_of, write_scenes

# As in published scripts that prune with contrib.
OPTIONS = ["--sparsity=0.8", "--pruning_start_step=1", "--pruning_end_step=5", "--frequency=2"]

# What each calls the directory of its checkpoints. The second trains with slim.learning.train.
PROGRAMS = {"object_detection.model_main": "model_dir", "object_detection.legacy.train": "train_dir"}


@pytest.fixture(
    scope="module",
    params=[pytest.param("object_detection.model_main", marks=pytest.mark.slow), "object_detection.legacy.train"],
)
def road(request, tmp_path_factory):
    """Trains 5 steps, goes on for 2, folds."""
    folder = tmp_path_factory.mktemp("api")
    layout, _ = write_scenes(folder / "data")
    model, flag, results, values = folder / "model", PROGRAMS[request.param], [], []
    for steps in (5, 7):
        config = phase_of(layout, steps).config
        arguments = [f"--pipeline_config_path={config}", f"--{flag}={model}"]
        results.append(run("run", *OPTIONS, "--", "-m", request.param, *arguments))
        assert results[-1].returncode == 0, results[-1].stderr
        values.append(read_all(str(model)))
    fold = run("fold", model, folder / "folded")
    assert (fold.returncode, fold.stderr) == (0, "")
    return {"model": model, "folded": folder / "folded", "results": results, "values": values}


def test_every_convolution_reaches_the_target_exactly_and_keeps_it(road):
    plan = MaskPlan.from_json((road["model"] / PLAN_FILE).read_text())
    assert len(plan.sites) == 18
    for steps, values in zip((5, 7), road["values"]):
        assert values["global_step"] == steps
        assert values["model_pruning/last_mask_update_step"] == 5
        for site in plan.sites:
            assert int(values[site.mask].sum()) == kept_entries(site.entries, 0.8), site.variable
    first, last = road["values"]
    for site in plan.sites:
        assert first[site.mask].tobytes() == last[site.mask].tobytes(), site.variable
        assert first[site.variable].tobytes() != last[site.variable].tobytes(), site.variable


def test_it_says_what_is_masked_once(road):
    for result in road["results"]:
        assert result.stderr.count("18 sites, 1,200,048 entries") == 1
        assert "depthwise weights are masked only on request" in result.stderr
        assert "graph-masker:" not in result.stderr
        # One of them evaluates, and prints scores.
        assert "mask" not in result.stdout and "sites" not in result.stdout


def test_inspect_and_fold(road):
    shown = json.loads(run("inspect", "--json", road["model"]).stdout)
    assert len(shown["sites"]) == 18
    masked, folded = road["values"][1], read_all(str(road["folded"]))
    for site in shown["sites"]:
        assert site["zeros"] == site["entries"] - kept_entries(site["entries"], 0.8)
        product = masked[site["variable"]] * masked[site["mask"]]
        assert folded[site["variable"]].tobytes() == product.tobytes()
    assert not [name for name in folded if name.endswith(("mask", "threshold"))]
