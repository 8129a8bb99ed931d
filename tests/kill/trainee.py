"""A process that trains and is killed. It forks one child per request, so that TensorFlow is imported once.

    python -m tests.kill.trainee

Requests come as lines of JSON (`Request`) on standard input. Answers are lines on standard output: the child's `pid`,
`step`, `saving`, `saved`, `stopped POINT` (it waits there to be killed), `ending`, which asks for the line `reap`, and
last `ended`, the status that `os.waitpid` gave.
"""

import contextlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from typing import Any, Callable, List

import tensorflow.compat.v1 as tf
from tensorflow.python.lib.io import file_io
from tensorflow.python.training import checkpoint_management

from graph_masker.cli import commands
from graph_masker.files import writing
from graph_masker.saving import guarding
from tests.kill.models import STEPS, Reset, train

# Places where a child can be made to wait. In the order in which a step and a checkpoint pass them.
UPDATE_POINTS = ("before_step", "in_update", "after_step")
SAVE_POINTS = (
    "before_save",
    "in_data",  # A part of the data is written, under a temporary name. The kernel kills here: see `_die_writing`.
    "shards",  # The data is complete, in its temporary directory.
    "index",  # The data has its name, the index is about to be opened: see `_hold_index`.
    "state",  # The checkpoint is complete, but the state file names the one before.
    "rename_state",  # The new state file is complete, under a temporary name.
    "delete",  # The state file names it; the oldest is not deleted yet.
    "deleting",  # Of the oldest, the index is gone and the data is not.
    "meta",  # All but the .meta file.
    "rename_meta",
    "after_save",
)
SHARDED_ONLY = ("shards", "index")
# Less than the data of any model here.
_WRITTEN = 4096


@dataclass
class Request:
    """One run.

    Attributes:
        model_dir: where it trains.
        model: a key of `MODELS`.
        steps: the step to train to.
        point: where to wait, or nowhere.
        at: the step of the update or checkpoint to wait at, or the number of the name.
        reset: variables that lose their restored values.
        file_limit: bytes that a file may have from the time that `at` is saved, as if the disk were full.
        filler: a file to fill the disk with at that time, but for `free` bytes.
        unsafe: whether checkpoints are replaced as TensorFlow does it.
        command: instead of training, the arguments of `graph-masker` to run.
        log: the file that takes standard error.
    """

    model_dir: str
    model: str = "plain"
    steps: int = STEPS
    point: str = ""
    at: int = -1
    reset: List[str] = field(default_factory=list)
    file_limit: int = 0
    filler: str = ""
    free: int = 0
    unsafe: bool = False
    command: List[str] = field(default_factory=list)
    log: str = ""


def _say(*words: Any) -> None:
    os.write(1, (" ".join(str(word) for word in words) + "\n").encode())


class _Points:
    """Where a run is, and where it waits."""

    def __init__(self, request: Request) -> None:
        self._request = request
        # The step whose checkpoint is being written.
        self.saving = -1

    def wanted(self, point: str, step: int) -> bool:
        return bool(point) and (point, step) == (self._request.point, self._request.at)

    def reach(self, point: str, step: int) -> None:
        """Waits to be killed if this is the place."""
        if self.wanted(point, step):
            _say("stopped", point)
            while True:
                time.sleep(60)

    def around(self, owner: Any, name: str, before: Callable[..., str], after: Callable[..., str]) -> None:
        """Makes a function of TensorFlow's a place to wait at, while a checkpoint is written."""
        original = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.reach(before(*args, **kwargs), self.saving)
            result = original(*args, **kwargs)
            self.reach(after(*args, **kwargs), self.saving)
            return result

        setattr(owner, name, wrapped)


class _Listener(tf.train.CheckpointSaverListener):
    def __init__(self, points: _Points, request: Request) -> None:
        self._points = points
        self._request = request

    def before_save(self, session: Any, global_step_value: int) -> None:
        _say("saving", global_step_value)
        self._points.saving = int(global_step_value)
        self._points.reach("before_save", global_step_value)
        if global_step_value != self._request.at:
            return
        if self._request.file_limit:
            # Python ignores SIGXFSZ: writing more than this is an error, as it is on a full disk.
            resource.setrlimit(resource.RLIMIT_FSIZE, (self._request.file_limit, resource.RLIM_INFINITY))
        if self._request.filler:
            fill_disk(self._request.filler, self._request.free)

    def after_save(self, session: Any, global_step_value: int) -> None:
        self._points.saving = -1
        self._points.reach("after_save", global_step_value)
        _say("saved", global_step_value)


class _Hook(tf.train.SessionRunHook):
    def __init__(self, points: _Points) -> None:
        self._points = points
        self._step = -1

    def after_create_session(self, session: Any, coord: Any) -> None:
        self._step = int(session.run(tf.train.get_global_step()))
        _say("step", self._step)

    def before_run(self, run_context: Any) -> None:
        self._step += 1
        self._points.reach("before_step", self._step)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        self._points.reach("after_step", self._step)
        _say("step", self._step)


def _wait_in_update(points: _Points) -> None:
    """Makes the line that an update of masks writes, from inside `session.run`, a place to wait at."""
    original = tf.print

    def printing(*words: Any, **kwargs: Any) -> Any:
        def wait(step: Any) -> Any:
            points.reach("in_update", int(step))
            return step

        assert words[0] == "graph_masker: step"
        waited = tf.py_func(wait, [words[1]], tf.int32)
        with tf.control_dependencies([waited]):
            return original(*words, **kwargs)

    tf.print = printing


def _ops_before(op: Any, kind: str) -> List[Any]:
    """Returns the ops of a type that an op waits for."""
    seen, stack, found = set(), [op], []
    while stack:
        current = stack.pop()
        if current in seen:
            continue
        seen.add(current)
        if current.type == kind:
            found.append(current)
        stack.extend([*current.control_inputs, *(tensor.op for tensor in current.inputs)])
    return found


def _write_shards(saver: Any, session: Any, prefix: str) -> None:
    """Does the first half of what a sharded saver does: writes the data into a temporary directory."""
    saver_def = saver.saver_def
    done = session.graph.get_tensor_by_name(saver_def.save_tensor_name).op
    (merge,) = _ops_before(done, "MergeV2Checkpoints")
    session.run(merge.inputs[0], {saver_def.filename_tensor_name: prefix})


def _hold_index(prefix: str) -> None:
    """Makes TensorFlow wait when it opens the index to write it: nobody reads this pipe."""
    if os.path.exists(prefix + ".index"):
        os.unlink(prefix + ".index")
    os.mkfifo(prefix + ".index")
    _say("held", prefix)


def _die_writing() -> None:
    """From now on the kernel kills the process at the first write that makes a file longer than a few pages."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_WRITTEN, _WRITTEN))


def fill_disk(path: str, free: int = 0) -> None:
    """Writes a file that leaves `free` bytes of its file system."""
    with open(path, "wb", buffering=0) as stream, contextlib.suppress(OSError):
        # One page at a time, up to the very last.
        while True:
            stream.write(bytes(4096))
    os.truncate(path, max(0, os.path.getsize(path) - free))


def _patch(points: _Points) -> None:
    nowhere = lambda *_, **__: ""  # noqa: E731
    management = checkpoint_management
    points.around(management, "update_checkpoint_state_internal", lambda *_, **__: "state", lambda *_, **__: "delete")
    points.around(
        management, "_delete_file_if_exists", nowhere, lambda path: "deleting" if path.endswith(".index") else ""
    )
    points.around(tf.train.Saver, "export_meta_graph", lambda *_, **__: "meta", nowhere)

    def renaming(_: str, new: str, *__: Any) -> str:
        return "rename_state" if os.path.basename(new) == "checkpoint" else "rename_meta"

    points.around(file_io, "rename", renaming, nowhere)
    original = tf.train.Saver.save

    def save(self: Any, session: Any, path: str, global_step: Any = None, **kwargs: Any) -> Any:
        prefix = f"{path}-{global_step}"
        if points.wanted("in_data", points.saving):
            _die_writing()
        if points.wanted("shards", points.saving):
            _write_shards(self, session, prefix)
            points.reach("shards", points.saving)
        if points.wanted("index", points.saving):
            _hold_index(prefix)
        return original(self, session, path, global_step, **kwargs)

    tf.train.Saver.save = save


def _train(request: Request) -> None:
    points = _Points(request)
    _patch(points)
    _wait_in_update(points)
    if request.unsafe:
        guarding._keep_latest = lambda *_: None
    tf.logging.set_verbosity(tf.logging.ERROR)
    hooks = [_Hook(points), *([Reset(request.reset)] if request.reset else [])]
    listeners = [_Listener(points, request)]
    train(request.model, request.model_dir, request.steps, hooks, listeners)


def _write(request: Request) -> None:
    """Does what `graph-masker` does; every change of a name is a place to wait at, by its number."""
    points = _Points(request)

    def naming(*_: Any, **__: Any) -> str:
        points.saving += 1
        return "naming"

    for owner, name in ((os, "rename"), (os, "mkdir"), (writing, "_exchange")):
        points.around(owner, name, naming, lambda *_, **__: "")
    sys.stdout = sys.stderr
    _say("writing")
    commands.main(request.command, standalone_mode=False)


def _child(request: Request) -> None:
    """Trains, and leaves without Python's own way out, which belongs to the process that was forked."""
    # Nobody waits forever for whoever was to kill it.
    signal.alarm(300)
    os.makedirs(os.path.dirname(request.log), exist_ok=True)
    log = os.open(request.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 2)
    try:
        _write(request) if request.command else _train(request)
    except BaseException:
        # The log may be longer than the test allows files to be.
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.getrlimit(resource.RLIMIT_FSIZE)[1],) * 2)
        os.write(2, traceback.format_exc().encode())
        os._exit(1)
    os._exit(0)


def main() -> None:
    """Serves requests until standard input ends."""
    _say("ready")
    for line in iter(sys.stdin.readline, ""):
        pid = os.fork()
        if pid == 0:
            _say("pid", os.getpid())
            _child(Request(**json.loads(line)))
        # Its id is nobody else's before the one who may kill it has agreed.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        _say("ending")
        assert sys.stdin.readline() == "reap\n"
        _, status = os.waitpid(pid, 0)
        _say("ended", status)


if __name__ == "__main__":
    main()
