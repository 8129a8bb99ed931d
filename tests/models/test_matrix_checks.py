"""The matrix's own parts: each check accepts what is right, and nothing else; its page has every model once."""

import io
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from PIL import Image

from fixtures.estimators import batches, plain_model_fn, run_config
from graph_masker import MaskPlan, auto_mask, fold_checkpoint
from graph_masker.plan import LAST_UPDATE_STEP
from tests.cli.running import ROOT
from tests.helpers.bits import flip_last_bit
from tests.helpers.folders import rewritten
from tests.models.matrix import checking, scenes
from tests.models.matrix.checking import SPEC, STAGES
from tests.models.matrix.inference import Masked
from tests.models.matrix.models import MODELS
from tests.models.matrix.page import CHECKS, OF_DETECTORS, REASONS, page, row
from tests.models.matrix.result import Costs, Result, read


@pytest.mark.parametrize(
    "entries, sparsity, zeros",
    [(8, "1/2", 4), (3, "1/2", 1), (5, "1/2", 3), (8, "3/4", 6), (10, "3/4", 8), (1, "3/4", 0), (2, "3/4", 1)],
)
def test_zeros(entries, sparsity, zeros):
    assert checking.zeros_of(entries, Fraction(sparsity)) == zeros


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small model's plan, masked checkpoint and folded one, each a prefix."""
    folder, plans = tmp_path_factory.mktemp("trained"), []
    model_fn = auto_mask(plain_model_fn, SPEC, on_plan=lambda plan, *_: plans.append(plan))
    estimator = tf.estimator.Estimator(model_fn, str(folder / "model"), run_config())
    estimator.train(batches(), max_steps=STAGES[1].steps)
    masked = estimator.latest_checkpoint()
    return plans[-1], masked, fold_checkpoint(masked, str(folder / "folded" / "model.ckpt")).prefix


def _changed(prefix, path, name, change):
    return rewritten(prefix, path, lambda values: values.update({name: change(values[name])}))


def test_masks(trained, tmp_path):
    plan, masked, _ = trained
    checking.check_masks(masked, plan, STAGES[1])
    for wrong in ({"sparsity": STAGES[0].sparsity}, {"steps": STAGES[0].steps}, {"update": STAGES[0].update}):
        with pytest.raises(AssertionError):
            checking.check_masks(masked, plan, STAGES[1]._replace(**wrong))
    # As many zeros as asked, and something that is no one.
    halved = _changed(masked, tmp_path / "halved", plan.sites[0].mask, lambda mask: mask / 2)
    with pytest.raises(AssertionError, match="zeros and ones"):
        checking.check_masks(halved, plan, STAGES[1])


def test_folded(trained, tmp_path):
    plan, masked, folded = trained
    checking.check_folded(masked, folded, plan)
    with pytest.raises(AssertionError):
        checking.check_folded(masked, masked, plan)
    flipped = _changed(folded, tmp_path / "flipped", plan.sites[0].variable, flip_last_bit)
    with pytest.raises(AssertionError, match=plan.sites[0].variable):
        checking.check_folded(masked, flipped, plan)


def test_resumed(trained, tmp_path):
    plan, masked, _ = trained
    other = _changed(masked, tmp_path / "other", LAST_UPDATE_STEP, lambda step: step + 1)
    with tf.Graph().as_default():
        saver = tf.train.import_meta_graph(f"{masked}.meta")
        with tf.Session() as session:
            saver.restore(session, masked)
            checking.check_resumed(session, masked, plan)
            with pytest.raises(AssertionError, match=LAST_UPDATE_STEP):
                checking.check_resumed(session, other, plan)


def test_nothing_silent(trained):
    plan = trained[0]
    with tf.Graph().as_default():
        known = [tf.Variable(0.0, name=item.variable) for item in (*plan.sites, *plan.skips)]
        checking.check_nothing_silent(plan, known)
        with pytest.raises(AssertionError, match="untold"):
            checking.check_nothing_silent(plan, [*known, tf.Variable(0.0, name="untold")])
    with pytest.raises(AssertionError):
        checking.check_nothing_silent(MaskPlan(plan.sites, (), SPEC), known)


def test_outputs():
    outputs, without = {"boxes": np.float32([1, 2])}, {"boxes": np.float32([1, 3])}
    Masked({}, 0, outputs, without).check({"boxes": np.float32([1, 2])})
    for others in ({"boxes": flip_last_bit(outputs["boxes"])}, {}, {**outputs, "more": outputs["boxes"]}):
        with pytest.raises(AssertionError):
            Masked({}, 0, outputs, without).check(others)
    with pytest.raises(AssertionError):
        Masked({}, 0, outputs, outputs).check(outputs)


def test_instance_masks_fill_their_boxes(tmp_path):
    data = scenes.write_data(tmp_path, 128)
    for record in tf.python_io.tf_record_iterator(str(data.train)):
        feature = tf.train.Example.FromString(record).features.feature
        images = [_decoded(png) for png in feature["image/object/mask"].bytes_list.value]
        sides = [feature[f"image/object/bbox/{side}"].float_list.value for side in ("ymin", "xmin", "ymax", "xmax")]
        assert len(images) == len(sides[0]) > 0
        for image, box in zip(images, zip(*sides)):
            rows, columns = np.nonzero(image)
            found = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
            assert set(np.unique(image)) == {0, 1} and found == tuple(round(side * 128) for side in box)


def _decoded(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def _result(name, **values):
    return Result(name, {"Conv2D": 2, "MatMul": 1}, 3, 1, 1000, 2000, {REASONS["a"]: 4}, tuple(CHECKS))._replace(
        **values
    )


def test_results_can_be_read_again(tmp_path):
    for number, costs in enumerate((None, Costs(100, 2.0, 0.1))):
        result = _result("any", costs=costs, seconds=1.5)
        result.write(tmp_path / f"{number}.json")
        assert read(tmp_path / f"{number}.json") == result
    assert json.loads((tmp_path / "0.json").read_text())["costs"] is None


def test_page_has_every_model_and_tells_what_is_missing():
    costs = Costs(100, 2.0, 0.1)
    results = {model.name: _result(model.name, costs=costs) for model in MODELS}
    lines = page(results).splitlines()
    assert all(lines.count(row(model, results[model.name])) >= 1 for model in MODELS)
    assert sum(line.startswith("| ") for line in lines) == 2 * len(MODELS) + 6
    del results[MODELS[0].name]
    assert f"| {MODELS[0].title} | 128 x 128 | not run |" in page(results)
    missing = _result("any", checks=tuple(name for name in CHECKS if name != "same"))
    assert row(MODELS[0], missing).endswith("| without same |")
    assert row(MODELS[-1], _result("any", checks=tuple(set(CHECKS) - OF_DETECTORS))).endswith(
        f"| all {len(CHECKS) - 2} |"
    )
    with pytest.raises(KeyError, match="unheard of"):
        row(MODELS[0], _result("any", skips={"unheard of": 1}))


def test_the_committed_page_has_every_model():
    text = Path(ROOT, "docs", "models.md").read_text(encoding="utf-8")
    assert all(f"| {model.title} |" in text for model in MODELS)
