"""Commands that write a frozen graph or a SavedModel, killed at any instant: the new one is complete or absent."""

import os
import random
import shutil
import time
from pathlib import Path
from typing import Any, List, Tuple

import pytest

from fixtures.kinds import write_every_kind
from tests.kill.harness import Kill, hashes
from tests.kill.trainee import Request

# Each is killed this often.
_KILLS = 9
CASES = [
    (command, options, kind)
    for command, options in (("strip", []), ("prune", ["--target-sparsity", "0.9"]))
    for kind in ("frozen.pb", "saved")
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: Any) -> Path:
    folder = Path(str(tmp_path_factory.mktemp("kinds")))
    write_every_kind(folder, False, True)
    return folder


def _content(path: Path) -> Any:
    return path.read_bytes() if path.is_file() else hashes(str(path))


def _write(trainee: Any, arguments: List[str], destination: Path, kill: Any = None) -> Any:
    return trainee.run(Request(str(destination), command=arguments, log=str(destination) + ".log"), kill)


@pytest.mark.slow
@pytest.mark.parametrize("is_overwriting", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[2]}")
def test_killed_at_random(
    case: Tuple[str, List[str], str], is_overwriting: bool, model: Path, trainee: Any, tmp_path: Path
) -> None:
    command, options, kind = case
    source, ending = model / kind, os.path.splitext(kind)[1]
    before, seconds, kills = _content(source), 0.0, 0
    made = tmp_path / f"made{ending}"
    begin = time.time()
    assert _write(trainee, [command, str(source), str(made), *options], made).status == 0
    seconds, expected = time.time() - begin, _content(made)
    assert expected != before
    draw = random.Random(f"{case}{is_overwriting}")
    for number in range(4 * _KILLS):
        folder = tmp_path / str(number)
        folder.mkdir()
        destination = folder / f"result{ending}"
        arguments = [command, str(source), str(destination), *options]
        if is_overwriting:
            arguments.append("--overwrite")
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(str(source), str(destination))
        ended = _write(trainee, arguments, destination, Kill(line="writing", delay=draw.uniform(0, seconds)))
        assert ended.killed or ended.status == 0, ended.errors
        kills += bool(ended.killed)
        if destination.exists():
            found = _content(destination)
            assert found == expected or (is_overwriting and ended.killed and found == before)
        else:
            assert ended.killed and not is_overwriting
            assert _write(trainee, arguments, destination).status == 0
            assert _content(destination) == expected
        assert _content(source) == before
        if kills == _KILLS:
            break
    assert kills == _KILLS
