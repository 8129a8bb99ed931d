"""Commands that write a checkpoint, killed at any instant: the new one is complete or absent, the old one untouched."""

import glob
import os
import random
import shutil
import time
from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, List, Optional

import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import read_all
from tests.helpers.bits import assert_same_bits, differences
from tests.kill.harness import Kill, hashes
from tests.kill.trainee import Request

# Each is killed this often at random, for each way of naming what it writes.
_KILLS = 13


@dataclass(frozen=True)
class Command:
    """A command that makes one checkpoint of another.

    Attributes:
        name: of the command.
        options: what stands behind source and destination.
        takes_plain: whether its source is a folded checkpoint, in place of a masked one.
    """

    name: str
    options: Callable[[], List[str]] = list
    takes_plain: bool = False

    def arguments(self, source: str, destination: str, overwrite: bool) -> List[str]:
        """Returns the command line."""
        return [self.name, source, destination, *self.options(), *(["--overwrite"] if overwrite else [])]


COMMANDS = [
    Command("fold"),
    Command("prune", lambda: ["--target-sparsity", "0.9"]),
    Command("rewrite", lambda: ["--target-sparsity", "0.8", "--begin-step", "24", "--end-step", "40"], True),
]
WAYS = ("directory", "prefix", "replaced directory", "replaced prefix")


class _Writing:
    """A trained directory, what a command makes of it, and how long that takes."""

    def __init__(self, trainee: Any, command: Command, trained: str, folder: str) -> None:
        self._trainee, self._command = trainee, command
        self.directory = os.path.join(folder, "model")
        if command.takes_plain:
            folding = Request(trained, command=["fold", trained, self.directory], log=self.directory + ".log")
            assert trainee.run(folding).status == 0
        else:
            shutil.copytree(trained, self.directory)
        self.prefix = os.path.join(self.directory, "model.ckpt-24")
        self._before = hashes(self.directory)
        self._old = read_all(self.prefix)
        made = os.path.join(folder, "made")
        assert self.run(self.directory, made).status == 0
        self.expected: Dict[str, Any] = read_all(made)
        assert differences(self.expected, self._old)
        self._names = sorted(os.listdir(made))
        begin = time.time()
        assert self.run(self.directory, os.path.join(folder, "timed")).status == 0
        self.seconds = time.time() - begin

    def run(self, source: str, destination: str, overwrite: bool = False, kill: Optional[Kill] = None) -> Any:
        request = Request(source, command=self._command.arguments(source, destination, overwrite))
        return self._trainee.run(replace(request, log=destination + ".log"), kill)

    def kill(self, way: str, destination: str, kill: Kill) -> bool:
        """Writes, kills, and checks; returns whether the kill came before the end."""
        is_directory, overwrite = way.endswith("directory"), way.startswith("replaced")
        parent = os.path.dirname(destination)
        os.makedirs(parent)
        if overwrite:
            self._put_old(destination, is_directory)
        source = self.directory if is_directory else self.prefix
        ended = self.run(source, destination, overwrite, kill)
        assert ended.killed or ended.status == 0, ended.errors
        assert hashes(self.directory) == self._before
        prefix = os.path.join(destination, "model.ckpt-24") if is_directory else destination
        found = read_all(prefix) if os.path.lexists(prefix + ".index") else None
        if found is None:
            assert ended.killed
            assert not (is_directory and os.path.lexists(destination))
            if overwrite:
                self._check_old_is_kept(parent, destination)
        elif overwrite and ended.killed and not differences(found, self._old):
            pass  # Nothing has happened to it.
        else:
            assert_same_bits(found, self.expected)
        # The next run is not disturbed, and removes what that one has left.
        repeated = found is None or overwrite
        if repeated:
            again = self.run(source, destination, overwrite)
            assert again.status == 0, again.errors
        assert_same_bits(read_all(prefix), self.expected)
        if repeated or is_directory or not ended.killed:
            # The state file comes last: a kill just before leaves all but it.
            assert tf.train.latest_checkpoint(os.path.dirname(prefix)) == prefix
        if is_directory:
            assert sorted(os.listdir(destination)) == self._names
        for left in glob.glob(os.path.join(glob.escape(parent), ".*.partial")):
            assert not repeated or os.path.lexists(os.path.join(left, "old")), left
        assert hashes(self.directory) == self._before
        return bool(ended.killed)

    def _put_old(self, destination: str, is_directory: bool) -> None:
        if is_directory:
            os.mkdir(destination)
            for name in self._names:
                shutil.copy(os.path.join(self.directory, name), destination)
            return
        for name in os.listdir(self.directory):
            if name.startswith("model.ckpt-24"):
                shutil.copy(os.path.join(self.directory, name), destination + name[len("model.ckpt-24") :])

    def _check_old_is_kept(self, parent: str, destination: str) -> None:
        """What was to be replaced by a prefix is in the folder of the killed run, and can be put back from there."""
        (kept,) = glob.glob(os.path.join(glob.escape(parent), ".*.partial", "old"))
        name = os.path.basename(destination)
        rest = [item for item in os.listdir(parent) if item.startswith(name + ".data") or item == name + ".meta"]
        together = os.path.join(kept, "together")
        os.mkdir(together)
        for folder, items in ((parent, rest), (kept, os.listdir(kept))):
            for item in items:
                if item != "together":
                    shutil.copy(os.path.join(folder, item), together)
        assert_same_bits(read_all(os.path.join(together, name)), self._old)
        shutil.rmtree(together)


@pytest.fixture(scope="module")
def trained(trainee: Any, tmp_path_factory: Any) -> str:
    directory = str(tmp_path_factory.mktemp("trained") / "model")
    assert trainee.run(Request(directory)).status == 0
    return directory


@pytest.fixture(scope="module", params=COMMANDS, ids=lambda command: command.name)
def writing(request: Any, trainee: Any, trained: str, tmp_path_factory: Any) -> _Writing:
    return _Writing(trainee, request.param, trained, str(tmp_path_factory.mktemp("writing")))


def test_killed_twice(writing: _Writing, tmp_path: Any):
    assert writing.kill("directory", str(tmp_path / "one" / "result"), Kill("naming", 1))
    assert writing.kill("prefix", str(tmp_path / "two" / "result"), Kill(line="writing", delay=0.01))


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_killed_before_every_change_of_a_name(writing: _Writing, tmp_path: Any, way: str):
    for number in range(100):
        if not writing.kill(way, str(tmp_path / str(number) / "result"), Kill("naming", number)):
            break
    # The staging directory, the folder in it, and what is moved: the old files and the new.
    assert number >= {"directory": 3, "prefix": 4, "replaced directory": 3, "replaced prefix": 8}[way]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_killed_at_random(writing: _Writing, tmp_path: Any, way: str):
    draw, kills = random.Random(way), 0
    for number in range(4 * _KILLS):
        kill = Kill(line="writing", delay=draw.uniform(0, writing.seconds))
        kills += writing.kill(way, str(tmp_path / str(number) / "result"), kill)
        if kills == _KILLS:
            break
    assert kills == _KILLS
