"""Real models, each in a process of its own: through the whole road, and as docs/models.md says."""

from pathlib import Path

import pytest

from tests.cli.running import ROOT
from tests.models.matrix.models import MODELS, UNBUILDABLE, model_named
from tests.models.matrix.page import row, unrun_row
from tests.models.matrix.running import RESULTS, ModelError, run_model

PAGE = Path(ROOT, "docs", "models.md")
BRIEF = ("ssd_resnet50_fpn", "mask_rcnn_inception_v2", "mobilenet_v1")


def _check(model, result):
    """The road has checked itself; the page says the same of the model, unless it says that it was not run for it."""
    found, lines = row(model, result), PAGE.read_text(encoding="utf-8").splitlines()
    assert found in lines or unrun_row(model) in lines, f"docs/models.md lacks {found}"


@pytest.mark.parametrize("name", BRIEF)
def test_the_road_without_going_on(name, tmp_path):
    model = model_named(name)
    result = run_model(model, tmp_path, brief=True)
    assert "resumed" not in result.checks
    _check(model, result._replace(checks=(*result.checks, "resumed")))


@pytest.mark.slow
@pytest.mark.parametrize("name", [model.name for model in MODELS])
def test_the_whole_road(name):
    """Their results stay: the page is written of them."""
    _check(model_named(name), run_model(model_named(name), RESULTS))


@pytest.mark.slow
def test_the_one_that_does_not_build(tmp_path):
    """A result of an earlier run goes: it would be taken for one of this run."""
    earlier = tmp_path / f"{UNBUILDABLE.name}.json"
    earlier.write_text("{}")
    with pytest.raises(ModelError, match="'dict_keys' object is not subscriptable"):
        run_model(UNBUILDABLE, tmp_path)
    assert not earlier.exists()
