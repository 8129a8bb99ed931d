"""Damaged files: no traceback, no hang, no gigabyte too much, no wrong success; one line that names the file, and 2."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.kinds import write_every_kind
from graph_masker import fold_checkpoint
from tests.fuzz import server
from tests.fuzz.corruption import WAYS, damaged

ROOT = Path(__file__).parents[2]
MOST_BYTES = 2 * 2**30
# Inputs of each case: in `make test`, and in all of `make test-all`.
FEW, MANY = 6, 170

PRUNING = "--target-sparsity 0.5"
SCHEDULE = "--target-sparsity 0.5 --begin-step 0 --end-step 9"


class Case(NamedTuple):
    """A file of a model that is damaged, and a command that reads it; {} is the model's folder."""

    file: str
    command: str


CASES = [
    Case("ckpt/checkpoint", "inspect {}/ckpt"),
    Case("ckpt/model.ckpt-0.meta", "inspect {}/ckpt"),
    Case("ckpt/model.ckpt-0.index", "inspect {}/ckpt/model.ckpt-0"),
    Case("ckpt/model.ckpt-0.data-00000-of-00001", "inspect {}/ckpt"),
    Case("saved/saved_model.pb", "inspect {}/saved"),
    Case("frozen.pb", "inspect {}/frozen.pb"),
    Case("frozen.pbtxt", "inspect {}/frozen.pbtxt"),
    Case("ckpt/model.ckpt-0.meta", "verify {}/ckpt"),
    Case("saved/saved_model.pb", "verify {}/saved"),
    Case("frozen.pb", "verify {}/frozen.pb"),
    Case("ckpt/checkpoint", "fold {}/ckpt {}/out"),
    Case("ckpt/model.ckpt-0.meta", "fold {}/ckpt {}/out"),
    Case("ckpt/model.ckpt-0.index", "fold {}/ckpt {}/out"),
    Case("ckpt/model.ckpt-0.data-00000-of-00001", "fold {}/ckpt {}/out"),
    Case("frozen.pb", "strip {}/frozen.pb {}/out"),
    Case("frozen.pbtxt", "strip {}/frozen.pbtxt {}/out"),
    Case("saved/saved_model.pb", "strip {}/saved {}/out"),
    Case("saved/variables/variables.index", "strip {}/saved {}/out"),
    Case("saved/variables/variables.data-00000-of-00001", "strip {}/saved {}/out"),
    Case("ckpt/model.ckpt-0.meta", f"prune {{}}/ckpt {{}}/out {PRUNING}"),
    Case("ckpt/model.ckpt-0.data-00000-of-00001", f"prune {{}}/ckpt {{}}/out {PRUNING}"),
    Case("saved/variables/variables.index", f"prune {{}}/saved {{}}/out {PRUNING}"),
    Case("frozen.pb", f"prune {{}}/frozen.pb {{}}/out {PRUNING}"),
    Case("plain/model.ckpt-0.meta", f"rewrite {{}}/plain {{}}/out {SCHEDULE}"),
    Case("plain/model.ckpt-0.index", f"rewrite {{}}/plain {{}}/out {SCHEDULE}"),
    Case("plain/model.ckpt-0.data-00000-of-00001", f"rewrite {{}}/plain {{}}/out {SCHEDULE}"),
    Case("ckpt/model.ckpt-0.meta", "report {}/ckpt --html {}/out.html"),
    Case("ckpt/model.ckpt-0.index", "report {}/ckpt --html {}/out.html"),
    Case("saved/saved_model.pb", "report {}/saved --html {}/out.html"),
    Case("frozen.pb", "report {}/frozen.pb --html {}/out.html"),
    Case("frozen.pb", "inspect {}/frozen.pb --graph {}/out.svg"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: Any) -> Path:
    folder = Path(str(tmp_path_factory.mktemp("model")))
    write_every_kind(folder, True, True)
    fold_checkpoint(str(folder / "ckpt"), str(folder / "plain"))
    return folder


@pytest.fixture(scope="module")
def commands() -> Iterator[Any]:
    """A process that runs one command line after the other."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz.server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        universal_newlines=True,
        env=environment,
        cwd=str(ROOT),
    )

    def run(arguments: List[str]) -> Dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(arguments) + "\n")
        process.stdin.flush()
        found: Dict[str, Any] = json.loads(process.stdout.readline())
        return found

    yield run
    process.stdin.close()
    process.wait()


def _expected(model: Path) -> Dict[str, np.ndarray]:
    """What folding the undamaged model gives, by numpy."""
    reader = tf.train.load_checkpoint(str(model / "ckpt"))
    values = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    masks = {name: value for name, value in values.items() if name.endswith("mask")}
    plain = {name: value for name, value in values.items() if "mask" not in name and "threshold" not in name}
    for name, mask in masks.items():
        weight = name[: -len("_mask")] if name.endswith("_mask") else None
        weight = weight or next(key for key in (name[:-4] + "kernel", name[:-4] + "weights") if key in plain)
        plain[weight] = mask * plain[weight]
    return plain


def _check(found: Dict[str, Any], case: Case, folder: Path, model: Path) -> None:
    assert found["code"] in (0, 2), found
    assert "Traceback" not in found["stderr"], found["stderr"]
    assert found["seconds"] < server.PATIENCE
    assert found["bytes"] < MOST_BYTES
    if found["code"] == 2:
        assert len(found["stderr"].splitlines()) == 1, found["stderr"]
        assert found["stderr"].startswith("graph-masker: "), found["stderr"]
        assert not (folder / "out").exists()
    elif case.command.startswith("fold"):
        reader = tf.train.load_checkpoint(str(folder / "out"))
        expected = _expected(model)
        assert set(reader.get_variable_to_shape_map()) == set(expected)
        for name, value in expected.items():
            assert reader.get_tensor(name).tobytes() == value.tobytes(), name
    assert not [name for name in os.listdir(str(folder)) if name.endswith(".partial")]


def _seeds(case: Case, number: int) -> List[int]:
    return [CASES.index(case) * 10_000 + index for index in range(number)]


def _command(case: Case, folder: Path) -> List[str]:
    return [part.replace("{}", str(folder)) for part in case.command.split()]


def _tensors(folder: Path) -> Dict[str, bytes]:
    """The tensors of the checkpoint or SavedModel in a folder."""
    variables = folder / "variables" / "variables"
    reader = tf.train.load_checkpoint(str(variables if variables.parent.is_dir() else folder))
    return {name: reader.get_tensor(name).tobytes() for name in reader.get_variable_to_shape_map()}


def _run_damaged(case: Case, seeds: List[int], model: Path, commands: Any, tmp_path: Path) -> None:
    codes = []
    # Checksums cover the data: where a command succeeds all the same, it has written what it should.
    is_exact = case.file.endswith((".index", ".data-00000-of-00001")) and "{}/out " in f"{case.command} "
    if is_exact:
        whole = tmp_path / "whole"
        shutil.copytree(str(model), str(whole))
        assert commands(_command(case, whole))["code"] == 0
        expected = _tensors(whole / "out")
    for seed in seeds:
        folder = tmp_path / str(seed)
        shutil.copytree(str(model), str(folder))
        target = folder / case.file
        content = target.read_bytes()
        target.write_bytes(damaged(content, seed))
        found = commands(_command(case, folder))
        try:
            _check(found, case, folder, model)
            if found["code"] == 0 and is_exact:
                assert _tensors(folder / "out") == expected
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        codes.append(found["code"])
        shutil.rmtree(str(folder))
    assert 2 in codes  # Something was damaged beyond use.


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.command.split()[0]}-{case.file}")
def test_a_few_damaged_files(case: Case, model: Path, commands: Any, tmp_path: Path) -> None:
    _run_damaged(case, _seeds(case, FEW), model, commands, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.command.split()[0]}-{case.file}")
def test_many_damaged_files(case: Case, model: Path, commands: Any, tmp_path: Path) -> None:
    _run_damaged(case, _seeds(case, FEW + MANY)[FEW:], model, commands, tmp_path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.command.split()[0]}-{case.file}")
def test_undamaged_files_are_used(case: Case, model: Path, commands: Any, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(str(model), str(folder))
    found = commands(_command(case, folder))
    assert found["code"] == 0, found["stderr"]
    _check(found, case, folder, model)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_damages(way: str) -> None:
    import random

    content = bytes(range(256)) * 4
    changed = 0
    for seed in range(8):
        result = bytearray(content)
        WAYS[way](result, random.Random(seed))
        changed += bytes(result) != content
    assert changed >= 6


BAD = {
    "a traceback": {"code": 2, "stderr": "Traceback (most recent call last):\nx"},
    "a crash": {"code": -11, "stderr": ""},
    "our bug": {"code": 1, "stderr": "x"},
    "two lines": {"code": 2, "stderr": "a: b\nc: d\n"},
    "too slow": {"code": 0, "stderr": "", "seconds": 21.0},
    "too large": {"code": 0, "stderr": "", "bytes": 3 * 2**30},
}


@pytest.mark.parametrize("bad", BAD)
def test_the_checks_see_what_must_not_be(bad: str, model: Path, tmp_path: Path) -> None:
    found = {"stdout": "", "seconds": 0.1, "bytes": 1, **BAD[bad]}
    with pytest.raises(AssertionError):
        _check(found, CASES[0], tmp_path, model)


def test_the_checks_see_a_wrong_success(model: Path, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.command.startswith("fold"))
    shutil.copytree(str(model / "ckpt"), str(tmp_path / "out"))
    with pytest.raises(AssertionError):
        _check({"code": 0, "stdout": "", "stderr": "", "seconds": 0, "bytes": 1}, case, tmp_path, model)
