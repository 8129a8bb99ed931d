"""`graph-masker run` on an unmodified script, killed and run again, ends as if nothing had been."""

import json
import os
import random
import subprocess
import sys
import time
from typing import Any

import pytest

from fixtures.estimators import read_all
from graph_masker.plan import PLAN_FILE, MaskPlan
from tests.cli.running import run
from tests.helpers.bits import assert_same_bits
from tests.kill.harness import PATIENCE, ROOT, check_directory, environment, latest_step
from tests.kill.models import SAVE_STEPS, SPEC, STEPS

_SCRIPT = os.path.join(ROOT, "tests", "kill", "script.py")


def _start(folder: Any, model_dir: str) -> Any:
    spec = folder / "spec.json"
    spec.write_text(json.dumps(SPEC.to_dict()))
    code = "from graph_masker.cli import main; main()"
    command = [sys.executable, "-c", code, "run", "--spec", str(spec), "--", _SCRIPT, model_dir]
    return subprocess.Popen(command, env=environment(), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _await(process: Any, path: str) -> None:
    deadline = time.time() + PATIENCE
    while not os.path.exists(path) and process.poll() is None:
        assert time.time() < deadline, f"no {path}"
        time.sleep(0.0005)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_killed_and_run_again(tmp_path: Any, seed: int):
    whole, killed = str(tmp_path / "whole"), str(tmp_path / "killed")
    assert _start(tmp_path, whole).wait(PATIENCE) == 0
    draw = random.Random(seed)
    for _ in range(4):
        latest = latest_step(killed)
        process = _start(tmp_path, killed)
        _await(process, os.path.join(killed, f"model.ckpt-{max(0, latest) + SAVE_STEPS}.index"))
        time.sleep(draw.uniform(0, 0.02))
        process.kill()
        process.wait(PATIENCE)
        assert check_directory(killed, "plain", str(tmp_path / "folded")) >= latest
        with open(os.path.join(killed, PLAN_FILE)) as stream:
            assert len(MaskPlan.from_json(stream.read()).sites) == 3
    assert _start(tmp_path, killed).wait(PATIENCE) == 0
    assert latest_step(killed) == STEPS
    assert_same_bits(read_all(killed), read_all(whole))


def test_run_again_when_it_has_trained_to_its_end(tmp_path: Any):
    """As after a kill between the last checkpoint and the end: there is nothing left to do, and that is no failure."""
    model_dir = str(tmp_path / "model")
    command = ["run", "--target-sparsity", "0.8", "--begin-step", "2", "--end-step", "21", "--", _SCRIPT, model_dir]
    first = run(*command, cwd=ROOT)
    assert first.returncode == 0, first.stderr
    values = read_all(model_dir)
    again = run(*command, cwd=ROOT)
    assert again.returncode == 0
    told = f"graph-masker: {_SCRIPT} trained nothing: what is masked in {model_dir} an earlier run has trained"
    assert again.stderr.splitlines()[-1] == told
    assert_same_bits(read_all(model_dir), values)
    # The control: without the plan of that run, nothing tells of masks.
    os.unlink(os.path.join(model_dir, PLAN_FILE))
    assert run(*command, cwd=ROOT).returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_while_it_starts(tmp_path: Any, seed: int):
    """The plan is there and complete, or it is absent."""
    model_dir = str(tmp_path / "model")
    process = _start(tmp_path, model_dir)
    _await(process, model_dir)
    time.sleep(random.Random(seed).uniform(0, 0.01))
    process.kill()
    process.wait(PATIENCE)
    path = os.path.join(model_dir, PLAN_FILE)
    if os.path.exists(path):
        with open(path) as stream:
            assert len(MaskPlan.from_json(stream.read()).sites) == 3
    assert _start(tmp_path, model_dir).wait(PATIENCE) == 0
    assert check_directory(model_dir, "plain", str(tmp_path / "folded")) == STEPS
