"""The README's spec is a valid one, and its pictures are there. Its programs are run by tests/docs/test_programs.py."""

import re
from pathlib import Path

from graph_masker import PruningSpec

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_spec_file_is_a_valid_spec(tmp_path):
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "pruning.yaml").write_text(text)
    spec = PruningSpec.from_file(tmp_path / "pruning.yaml")
    assert (spec.target_sparsity, spec.exclude, spec.also) == (0.85, ("BoxPredictor",), ("depthwise",))


def test_the_pictures_are_there():
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert len(pictures) >= 2
    for path in pictures:
        assert (ROOT / path).is_file(), path
