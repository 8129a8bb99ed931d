"""`graph-masker fold`, killed at any instant: its destination is complete or absent, its source untouched."""

import os
import random
import time
from typing import Any, Dict

import pytest

from fixtures.estimators import read_all
from graph_masker import fold_checkpoint
from tests.helpers.bits import assert_same_bits
from tests.kill.harness import Kill, hashes
from tests.kill.trainee import Request


class _Folding:
    """A trained directory, what it folds to, and how long that takes."""

    def __init__(self, trainee: Any, folder: str) -> None:
        self._trainee = trainee
        self.directory = os.path.join(folder, "model")
        assert trainee.run(Request(self.directory)).status == 0
        self.prefix = os.path.join(self.directory, "model.ckpt-24")
        self.expected: Dict[str, Any] = read_all(
            fold_checkpoint(self.directory, os.path.join(folder, "expected")).prefix
        )
        self._before = hashes(self.directory)
        begin = time.time()
        assert trainee.run(Request(self.directory, fold_to=os.path.join(folder, "timed"))).status == 0
        self.seconds = time.time() - begin

    def kill(self, source: str, destination: str, kill: Kill) -> bool:
        """Folds, kills, and checks; returns whether the kill came before the end."""
        request = Request(source, fold_to=destination, log=destination + ".log")
        ended = self._trainee.run(request, kill)
        assert ended.killed or ended.status == 0, ended.errors
        assert hashes(self.directory) == self._before
        is_directory = source == self.directory
        prefix = os.path.join(destination, "model.ckpt-24") if is_directory else destination
        if os.path.lexists(destination if is_directory else prefix + ".index"):
            assert_same_bits(read_all(prefix), self.expected)
        else:
            assert ended.killed
            assert self._trainee.run(request).status == 0, ended.errors
            assert_same_bits(read_all(prefix), self.expected)
        if is_directory:
            names = ["checkpoint", *(f"model.ckpt-24.{end}" for end in ("data-00000-of-00001", "index", "meta"))]
            assert sorted(os.listdir(destination)) == names
        assert hashes(self.directory) == self._before
        return ended.killed


@pytest.fixture(scope="module")
def folding(trainee: Any, tmp_path_factory: Any) -> _Folding:
    return _Folding(trainee, str(tmp_path_factory.mktemp("folding")))


def _every_name(folding: _Folding, source: str, folder: Any) -> int:
    """Kills before each change of a name in turn, until there is none left; returns how many there were."""
    for number in range(100):
        if not folding.kill(source, str(folder / f"folded{number}" / "result"), Kill("naming", number)):
            return number
    raise AssertionError("no end of names")


def test_killed_twice(folding: _Folding, tmp_path: Any):
    assert folding.kill(folding.directory, str(tmp_path / "one"), Kill("naming", 3))
    assert folding.kill(folding.prefix, str(tmp_path / "two"), Kill(line="folding", delay=0.01))


@pytest.mark.slow
def test_killed_before_every_change_of_a_name(folding: _Folding, tmp_path: Any):
    # The staging directory, its files, what holds them when they are complete, and its final name.
    assert _every_name(folding, folding.directory, tmp_path / "directory") >= 6
    assert _every_name(folding, folding.prefix, tmp_path / "prefix") >= 4


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_killed_at_random(folding: _Folding, tmp_path: Any, seed: int):
    draw = random.Random(seed)
    for source in (folding.directory, folding.prefix):
        kill = Kill(line="folding", delay=draw.uniform(0, folding.seconds))
        folding.kill(source, str(tmp_path / os.path.basename(source)), kill)
