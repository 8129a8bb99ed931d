"""The README's example runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import tensorflow.compat.v1 as tf

from fixtures.estimators import read_all
from graph_masker import PruningSpec
from graph_masker.schedule import kept_entries

README = (Path(__file__).parent.parent / "README.md").read_text()


def _blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_example_trains_prunes_and_folds(tmp_path):
    code = _blocks("python")[0]
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=str(tmp_path), check=True, capture_output=True)
    folded = read_all(str(tmp_path / "build" / "example-folded"))
    kernels = {name: value for name, value in folded.items() if name.endswith("/kernel")}
    assert len(kernels) == 2
    for name, value in kernels.items():
        assert int((value != 0).sum()) == kept_entries(value.size, 0.9), name
    assert not [name for name in folded if name.endswith("/mask")]


def _kept_by(code, indent, folder):
    """Runs an example and returns how many entries each of its masks keeps at the end."""
    code += f"{indent}for mask in masker.masks.values():\n{indent}    print(int(session.run(mask).sum()))\n"
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=str(folder), check=True, capture_output=True, text=True
    )
    return [int(line) for line in result.stdout.split()]


def test_the_example_of_a_session_prunes_it(tmp_path):
    (_, code, _) = _blocks("python")
    assert _kept_by(code, " " * 8, tmp_path) == [kept_entries(64 * 10, 0.9)]


def test_the_example_of_a_graph_that_is_built_already_prunes_it(tmp_path):
    (*_, code) = _blocks("python")
    assert _kept_by(code, " " * 4, tmp_path) == [kept_entries(n, 0.9) for n in (64 * 300, 300 * 10)]


def test_the_spec_file_is_a_valid_spec(tmp_path):
    (text,) = _blocks("yaml")
    (tmp_path / "pruning.yaml").write_text(text)
    spec = PruningSpec.from_file(tmp_path / "pruning.yaml")
    assert (spec.target_sparsity, spec.exclude, spec.also) == (0.85, ("BoxPredictor",), ("depthwise",))


def test_the_pictures_are_there():
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert tf.io.gfile.exists(str(Path(__file__).parent.parent / path)), path
