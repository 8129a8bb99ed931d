"""The pictures of real graphs in docs/how-it-works.md are what the project draws today."""

import re
import subprocess
import sys

from tests.docs.pages import ROOT

IMAGES = ROOT / "docs" / "images"
SCRIPT = IMAGES / "graphs.py"


def _drawing(path):
    # The name of a function of the mask update holds a hash of its body.
    return re.sub(r"graph_masker_\w+", "graph_masker_function", path.read_text())


def test_pictures_are_up_to_date(tmp_path):
    subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT), str(tmp_path)], check=True, cwd=str(ROOT), capture_output=True
    )
    drawn = sorted(tmp_path.iterdir())
    assert len(drawn) == 6
    text = (ROOT / "docs" / "how-it-works.md").read_text()
    for path in drawn:
        assert _drawing(path) == _drawing(IMAGES / path.name), f"{path.name}: run `python {SCRIPT.relative_to(ROOT)}`"
        assert f"(images/{path.name})" in text
    assert len({_drawing(path) for path in drawn}) == 6
