"""Kills training where a test says, and checks what is left behind."""

import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Dict, List, Optional

import numpy as np
import tensorflow.compat.v1 as tf

from fixtures.estimators import read_all
from graph_masker import fold_checkpoint, inspect_model
from graph_masker.schedule import kept_entries, weight_sparsity_at
from tests.kill.models import LAST_UPDATE, MODELS, UPDATES
from tests.kill.trainee import Request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATIENCE = 120
# Entries and target sparsity.
WEIGHTS = {"conv": (144, 0.5), "hidden": (5120, 0.8), "logits": (400, 0.8)}
# Where the state file names the new checkpoint already.
ADVANCED = ("delete", "deleting", "meta", "rename_meta", "after_save")


def environment() -> Dict[str, str]:
    """What child processes get: this checkout, and a quiet TensorFlow."""
    return {**os.environ, "PYTHONPATH": ROOT, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}


@dataclass(frozen=True)
class Kill:
    """When a run is killed: at a point where it waits, or a moment after it has written a line.

    Attributes:
        point: one of the trainee's, where it waits; if empty, `line` is awaited.
        at: the step of that point.
        line: the line to await, such as ``step 7`` or ``saving 9``; empty for the start of the process.
        delay: seconds to wait after it.
    """

    point: str = ""
    at: int = -1
    line: str = ""
    delay: float = 0.0


@dataclass
class Ended:
    """How a run ended.

    Attributes:
        status: of `os.waitpid`.
        lines: everything it wrote.
        log: the file that holds what went to its standard error.
    """

    status: int
    lines: List[str] = field(default_factory=list)
    log: str = ""

    @property
    def killed(self) -> bool:
        """Whether a signal ended it, and not the end of training."""
        return os.WIFSIGNALED(self.status)

    @property
    def errors(self) -> str:
        """What the child wrote to standard error, the runs before in the same directory included."""
        with open(self.log) as stream:
            return stream.read()

    @property
    def saved(self) -> int:
        """The last step that it reported as saved, or -1."""
        return max([-1, *(int(line.split()[1]) for line in self.lines if line.startswith("saved "))])


class Trainee:
    """The process of `tests.kill.trainee`."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.kill.trainee"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(), cwd=ROOT, bufsize=0
        )
        self._buffer = b""
        assert self._line() == "ready"

    def close(self) -> None:
        """Ends it."""
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()

    def run(self, request: Request, kill: Optional[Kill] = None) -> Ended:
        """Trains until the end, or until it is killed."""
        kill_line = None
        if kill is not None:
            request = replace(request, point=kill.point, at=kill.at if kill.point else request.at)
            kill_line = f"stopped {kill.point}" if kill.point else kill.line
        request = replace(request, log=request.log or request.model_dir + ".log")
        index = _Index(request)
        self._process.stdin.write((json.dumps(asdict(request)) + "\n").encode())
        pid, ended = 0, Ended(0, log=request.log)
        while True:
            line = self._line()
            ended.lines.append(line)
            if line.startswith("ended "):
                ended.status = int(line.split()[1])
                index.cut()
                return ended
            if line == "ending":
                self._process.stdin.write(b"reap\n")
            if line.startswith("pid "):
                pid = int(line.split()[1])
            held = line.startswith("held ")
            if held:
                index.await_data()
            if held or (kill_line is not None and (line == kill_line or (not kill_line and line.startswith("pid ")))):
                time.sleep(kill.delay)
                # It may have ended by itself. The id is still its own.
                assert pid > 0
                os.kill(pid, signal.SIGKILL)
                kill_line = None

    def _line(self) -> str:
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
            assert ready, "the trainee says nothing any more"
            read = os.read(self._process.stdout.fileno(), 65536)
            assert read, "the trainee has died"
            self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()


class _Index:
    """The index of a checkpoint whose writing is held: a pipe in its place, and afterwards what a kill leaves of it.

    TensorFlow opens it by its own name, which empties it, and writes. So half of it, or nothing, is what is there if a
    process is killed on the way.
    """

    def __init__(self, request: Request) -> None:
        self._prefix = os.path.join(request.model_dir, f"model.ckpt-{request.at}")
        self._data = self._prefix + ".data-00000-of-00001"
        self._before = self._identity()
        self._content = b""
        if os.path.exists(self._prefix + ".index"):
            with open(self._prefix + ".index", "rb") as stream:
                self._content = stream.read()

    def _identity(self) -> Any:
        return os.stat(self._data).st_ino if os.path.exists(self._data) else None

    def await_data(self) -> None:
        """Waits until new data has its name: the index comes next."""
        deadline = time.time() + PATIENCE
        while self._identity() == self._before:
            assert time.time() < deadline, "no data"
            time.sleep(0.001)

    def cut(self) -> None:
        """Puts a truncated file in the place of the pipe."""
        path = self._prefix + ".index"
        if os.path.exists(path) and not os.path.isfile(path):
            os.unlink(path)
            with open(path, "wb") as stream:
                stream.write(self._content[: len(self._content) // 2])


def latest_step(model_dir: str) -> int:
    """Returns the step of the latest checkpoint, or -1."""
    prefix = tf.train.latest_checkpoint(model_dir)
    return -1 if prefix is None else int(prefix.rpartition("-")[2])


def zeros_expected(model: str, weight: str, step: int) -> int:
    """Returns how many zeros a mask has after the update of a step; none before any update."""
    entries, target = WEIGHTS[weight]
    if step < 0:
        return 0
    return entries - kept_entries(entries, weight_sparsity_at(MODELS[model].spec, target, step))


def check_checkpoint(prefix: str, model: str) -> None:
    """Asserts that every tensor of a checkpoint loads and that its masks are as sparse as its step says, exactly."""
    values = read_all(prefix)
    step = int(values["global_step"])
    assert prefix.endswith(f"model.ckpt-{step}")
    last = max([-1, *(update for update in UPDATES if update <= step)])
    found = int(values[LAST_UPDATE])
    assert found == last, f"{prefix}: {LAST_UPDATE}: {found}, expected {last}"
    for weight in WEIGHTS:
        mask = values[f"{weight}/mask"]
        zeros, expected = int(np.sum(mask == 0)), zeros_expected(model, weight, last)
        assert zeros == expected, f"{prefix}: {weight}/mask: {zeros} zeros, expected {expected}"
        assert np.all((mask == 0) | (mask == 1)), f"{prefix}: {weight}/mask"


def check_directory(model_dir: str, model: str, scratch: str) -> int:
    """Checks all checkpoints that a killed run left, and that the directory folds and can be inspected.

    Returns:
        The step of the latest checkpoint, or -1 if there is none.
    """
    state = tf.train.get_checkpoint_state(model_dir)
    if state is None:
        return -1
    latest = state.model_checkpoint_path
    check_checkpoint(latest, model)
    for prefix in state.all_model_checkpoint_paths:
        # Killed while it deletes the oldest, a run has taken it off the list already.
        check_checkpoint(prefix, model)
    before, values = hashes(model_dir), read_all(latest)
    folded = fold_checkpoint(model_dir, scratch)
    plain = read_all(folded.prefix)
    shutil.rmtree(scratch)
    for weight in WEIGHTS:
        product = values[f"{weight}/kernel"] * values[f"{weight}/mask"]
        assert plain[f"{weight}/kernel"].tobytes() == product.tobytes(), weight
    # A run killed before its first .meta file has left no graph.
    if any(name.endswith(".meta") for name in before):
        assert {site.variable for site in inspect_model(model_dir).sites} == {f"{weight}/kernel" for weight in WEIGHTS}
    assert hashes(model_dir) == before
    return int(latest.rpartition("-")[2])


def hashes(folder: str) -> Dict[str, str]:
    """Returns a digest of every file below a folder."""
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            with open(path, "rb") as stream:
                found[os.path.relpath(path, folder)] = hashlib.sha256(stream.read()).hexdigest()
    return found
