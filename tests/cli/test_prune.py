"""`graph-masker prune` as a user runs it."""

import os
import re
from typing import Any

import numpy as np
import pytest

from graph_masker.files.graphs import ConstantsReader, read_graph_def
from graph_masker.schedule import kept_entries
from tests.cli.running import run
from tests.oneshot.nets import write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Any:
    path = tmp_path_factory.mktemp("models")
    write_model(str(path), False)
    return path


@pytest.mark.parametrize("kind", ["ckpt", "ckpt/model.ckpt-2", "ckpt/model.ckpt-2.meta", "saved", "frozen.pb"])
def test_every_kind_is_pruned_and_told(folder: Any, kind: str, tmp_path: Any):
    result = run("prune", folder / kind, tmp_path / "out", "--target-sparsity", "0.75", "--exclude", "^conv/kernel")
    assert (result.returncode, result.stderr) == (0, "")
    count = 7 if kind == "frozen.pb" else 5  # One weight has three parts, which a frozen graph does not tell.
    assert re.search(rf"^{count} weights pruned, sparsity 0\.7(49|50)\d", result.stdout), result.stdout
    assert "excluded by '^conv/kernel'" in result.stdout
    assert "a bias or scale" in result.stdout
    last = result.stdout.splitlines()[-1]
    assert last.startswith(f"wrote {tmp_path}/out") and last.endswith("by gzip")
    assert ("moving averages with them" in last) == (kind != "frozen.pb")
    data = [path for path in tmp_path.rglob("*") if ".data-" in path.name] or [tmp_path / "out"]
    assert f"; {sum(path.stat().st_size for path in data):,} bytes, " in last


def test_a_file_may_hold_a_spec_with_or_without_a_schedule(folder: Any, tmp_path: Any):
    (tmp_path / "short.yaml").write_text("target_sparsity: 0.9\nallocation: global\n")
    (tmp_path / "long.yaml").write_text(
        "target_sparsity: 0.9\nallocation: global\nbegin_step: 100\nend_step: 900\ninitial_sparsity: 0.2\n"
    )
    found = []
    for name in ("short", "long"):
        result = run("prune", folder / "frozen.pb", tmp_path / name, "--spec", tmp_path / f"{name}.yaml")
        assert result.returncode == 0, result.stderr
        unused = "not used in one shot: begin_step, end_step, initial_sparsity, schedule\n"
        assert (unused in result.stdout) == (name == "long")
        found.append((tmp_path / name).read_bytes())
    assert found[0] == found[1]
    hparams = run("prune", folder / "frozen.pb", tmp_path / "h", "--hparams", "target_sparsity=0.9")
    assert hparams.returncode == 0, hparams.stderr
    reader = ConstantsReader("h", read_graph_def(str(tmp_path / "h")))
    kernel = reader.tensor("up/kernel")
    assert np.count_nonzero(kernel) == kept_entries(kernel.size, 0.9)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "--target-sparsity: expected a fraction of zeros, or --spec FILE, found neither"),
        (["--target-sparsity", "1"], "target_sparsity: expected a fraction of zeros with 0 <= s < 1, found 1"),
        (["--sparsity", "0.5", "--include", "nothing"], "include: 'nothing' matches none of the"),
        (["--sparsity", "0.5", "--criterion", "movement"], "criterion movement needs what a masked training adds up"),
        (["--sparsity", "0.5", "--meta", "x.meta"], "is a frozen graph, which has its graph; leave --meta out"),
        (["--sparsity", "0.5", "--tags", "serve"], "expected a SavedModel, of which tags choose a graph"),
        (["--spec", "s.yaml", "--sparsity", "0.5"], "--target-sparsity: cannot be given together with --spec"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(folder: Any, arguments: Any, message: str, tmp_path: Any):
    result = run("prune", folder / "frozen.pb", "out.pb", *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert message in result.stderr
    assert os.listdir(str(tmp_path)) == []


def test_schedules_are_not_offered(folder: Any, tmp_path: Any):
    result = run("prune", folder / "frozen.pb", tmp_path / "out.pb", "--sparsity", "0.5", "--begin-step", "3")
    assert result.returncode == 2
    assert "no such option: --begin-step" in result.stderr


@pytest.mark.parametrize("kind", ["ckpt", "saved", "frozen.pb"])
def test_an_existing_destination_is_replaced_only_on_request(folder: Any, kind: str, tmp_path: Any):
    out, sparsity = tmp_path / "out", ["--target-sparsity", "0.5"]
    assert run("prune", folder / kind, out, *sparsity).returncode == 0
    again = run("prune", folder / kind, out, *sparsity)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert run("prune", folder / kind, out, *sparsity, "--overwrite").returncode == 0
    assert os.listdir(str(tmp_path)) == ["out"]
    source = run("prune", folder / kind, folder / kind, *sparsity, "--overwrite")
    assert source.returncode == 2
    assert "found the source itself" in source.stderr


def test_weights_that_are_not_finite_are_named(folder: Any, tmp_path: Any):
    graph_def = read_graph_def(str(folder / "frozen.pb"))
    node = next(node for node in graph_def.node if node.name == "up/kernel")
    tensor = node.attr["value"].tensor
    tensor.tensor_content = np.full(len(tensor.tensor_content) // 4, np.nan, np.float32).tobytes()
    (tmp_path / "bad.pb").write_bytes(graph_def.SerializeToString())
    result = run("prune", tmp_path / "bad.pb", tmp_path / "out.pb", "--target-sparsity", "0.5")
    assert result.returncode == 2
    assert result.stderr.startswith("graph-masker: up/kernel: the values by which it is pruned are not finite")
    assert os.listdir(str(tmp_path)) == ["bad.pb"]
