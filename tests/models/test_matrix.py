"""Real models, each in a process of its own: through the whole road, and as docs/models.md says."""

from pathlib import Path

import pytest

from tests.cli.running import ROOT
from tests.models.matrix.models import MODELS, UNBUILDABLE, model_named
from tests.models.matrix.page import row
from tests.models.matrix.running import RESULTS, ModelError, run_model

PAGE = Path(ROOT, "docs", "models.md")
SHORT = ("mask_rcnn_inception_v2", "mobilenet_v1")
LONG = tuple(model.name for model in MODELS if model.name not in SHORT)


def _check(name, results, measure):
    model = model_named(name)
    found = row(model, run_model(model, results, measure))
    assert found in PAGE.read_text(encoding="utf-8").splitlines(), f"docs/models.md lacks {found}"


@pytest.mark.parametrize("name", SHORT)
def test_the_whole_road(name, tmp_path):
    _check(name, tmp_path, measure=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_the_whole_road_of_every_other_model(name):
    """Their results stay, for `python -m tests.models.matrix --keep`."""
    _check(name, RESULTS, measure=True)


@pytest.mark.slow
def test_the_one_that_does_not_build(tmp_path):
    with pytest.raises(ModelError, match="'dict_keys' object is not subscriptable"):
        run_model(UNBUILDABLE, tmp_path, measure=False)
