"""A full disk: training and folding say so in one line, and what was complete before stays so.

A limit on the size of files stands for the disk where none can be mounted; tests of the real thing need root.
"""

import contextlib
import itertools
import os
import re
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import Any, Iterator, List

import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import read_all
from graph_masker import DestinationError, SourceError, fold_checkpoint
from graph_masker.files import writing
from graph_masker.plan import PLAN_FILE
from tests.helpers.bits import assert_same_bits
from tests.kill.harness import ROOT, Kill, check_directory, environment, hashes
from tests.kill.models import MODELS
from tests.kill.trainee import Request, fill_disk

# Less than the data of a checkpoint here, more than its index.
_LIMIT = 8192
_REMEDY = "free some space and train again, which resumes from the latest checkpoint that is complete"
_ERROR = r"graph_masker\.errors\.DestinationError: \S+: cannot be written: No space left on device"


@contextlib.contextmanager
def _limited(size: int) -> Iterator[None]:
    """Limits the size of the files that this process writes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path: Any) -> Iterator[str]:
    """A file system of sixteen megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], stderr=subprocess.PIPE, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a file system needs root; the limit on the size of files is tested in its place")
    try:
        yield str(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def trained(trainee: Any, tmp_path_factory: Any) -> str:
    """The directory of a finished run; only read."""
    folder = str(tmp_path_factory.mktemp("trained") / "model")
    assert trainee.run(Request(folder)).status == 0
    return folder


def _command(arguments: List[str], limit: int) -> Any:
    """Runs the command line with a limit on the size of files."""
    return subprocess.run(
        [sys.executable, "-c", "from graph_masker.cli import main; main()", *arguments],
        capture_output=True,
        env=environment(),
        cwd=ROOT,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def _full(trainee: Any, request: Request, message: str, at: int, model_step: int, scratch: str) -> None:
    """Runs into a full disk at the checkpoint of step `at` and checks what is said and what is left."""
    ended = trainee.run(replace(request, at=at))
    assert ended.status == 1 << 8, ended.lines[-3:]
    line = _last_line(ended.errors)
    assert line.startswith(
        f"graph_masker.errors.DestinationError: {request.model_dir}/model.ckpt-{at}: cannot be written"
    )
    assert message in line
    assert line.endswith(_REMEDY)
    assert check_directory(request.model_dir, request.model, scratch) == model_step


def test_training_ends_with_one_line_and_resumes(trainee: Any, uninterrupted: Any, tmp_path: Any):
    request, scratch = Request(str(tmp_path / "model")), str(tmp_path / "folded")
    limited = replace(request, file_limit=_LIMIT)
    _full(trainee, limited, "File too large", 12, 9, scratch)
    # And when the run that resumes writes the checkpoint again that it has resumed from.
    _full(trainee, limited, "File too large", 9, 9, scratch)
    assert trainee.run(request).status == 0
    assert_same_bits(read_all(request.model_dir), uninterrupted("plain"))


@pytest.mark.slow
@pytest.mark.parametrize("model", [name for name in MODELS if name != "forgetting"])
def test_training_on_a_disk_that_is_full(trainee: Any, uninterrupted: Any, tmp_path: Any, small_disk: str, model: str):
    request, scratch = Request(os.path.join(small_disk, "model"), model), str(tmp_path / "folded")
    request.log = str(tmp_path / "log")
    filler = os.path.join(small_disk, "filler")
    for at in (12, 9):
        _full(trainee, replace(request, filler=filler), "No space left on device", at, 9, scratch)
        os.unlink(filler)
    assert trainee.run(request).status == 0
    assert_same_bits(read_all(request.model_dir), uninterrupted(model))


@pytest.mark.slow
def test_training_on_a_disk_with_ever_more_space(trainee: Any, uninterrupted: Any, tmp_path: Any, small_disk: str):
    """Whatever it is of a checkpoint that no longer fits: data, index, state file or graph."""
    filler, page = os.path.join(small_disk, "filler"), os.sysconf("SC_PAGE_SIZE")
    request = Request(os.path.join(small_disk, "model"), log=str(tmp_path / "log"))
    begun = str(tmp_path / "begun")
    assert trainee.run(replace(request, model_dir=begun), Kill("after_save", 9)).killed
    latest = {}
    for at, pages in itertools.product((9, 12), (0, 1, 12, *range(22, 28), 60)):
        shutil.copytree(begun, request.model_dir)
        ended = trainee.run(replace(request, at=at, filler=filler, free=pages * page))
        if ended.status:
            assert re.match(_ERROR, _last_line(ended.errors)), (at, pages)
            assert check_directory(request.model_dir, request.model, str(tmp_path / "folded")) >= 9
            latest[at, pages] = os.path.basename(tf.train.latest_checkpoint(request.model_dir))
        os.unlink(filler)
        assert trainee.run(request).status == 0
        assert_same_bits(read_all(request.model_dir), uninterrupted("plain"))
        shutil.rmtree(request.model_dir)
    # That of step 9, replaced: before its index is kept, before it is complete, and all but the graph.
    assert [latest[9, pages] for pages in (0, 12, 60)] == ["model.ckpt-9", "kept-model.ckpt-9", "model.ckpt-9"]
    assert [latest[12, pages] for pages in (0, 1, 12, 22)] == ["model.ckpt-9"] * 4


def test_folding_within_a_limit(trained: str, tmp_path: Any):
    before = hashes(trained)
    for limit in (0, 100, _LIMIT):
        for source, destination in ((trained, "folded"), (os.path.join(trained, "model.ckpt-24"), "ckpt")):
            with _limited(limit), pytest.raises(
                DestinationError, match=f"^{tmp_path}/{destination}: cannot be written: File too large$"
            ):
                fold_checkpoint(source, str(tmp_path / destination))
            assert os.listdir(str(tmp_path)) == []
    assert hashes(trained) == before
    fold_checkpoint(trained, str(tmp_path / "folded"))


def test_what_was_to_be_replaced_stays_within_a_limit(trained: str, tmp_path: Any):
    fold_checkpoint(trained, str(tmp_path / "folded"))
    before = hashes(str(tmp_path))
    for limit in (0, 100, _LIMIT):
        with _limited(limit), pytest.raises(DestinationError, match=r"folded: cannot be written: File too large$"):
            fold_checkpoint(trained, str(tmp_path / "folded"), overwrite=True)
        assert hashes(str(tmp_path)) == before


def test_a_damaged_source_is_still_the_sources_fault(trained: str, tmp_path: Any):
    """The control of the test above: TensorFlow's error is of the same type."""
    for name in os.listdir(trained):
        if name.startswith("model.ckpt-24."):
            with open(os.path.join(trained, name), "rb") as stream:
                content = stream.read()
            (tmp_path / name).write_bytes(bytes(len(content)) if ".data-" in name else content)
    with pytest.raises(SourceError, match="expected a complete checkpoint"):
        fold_checkpoint(str(tmp_path / "model.ckpt-24"), str(tmp_path / "folded"))


def test_folding_on_a_disk_with_ever_more_space(trained: str, small_disk: str):
    """Whatever it is that no longer fits (the directory, data, index, state file), nothing is left of it."""
    before, filler = hashes(trained), os.path.join(small_disk, "filler")
    page, failed = os.sysconf("SC_PAGE_SIZE"), 0
    for pages in range(100):
        fill_disk(filler, pages * page)
        destination = os.path.join(small_disk, "folded")
        try:
            result = fold_checkpoint(trained, destination)
        except DestinationError as error:
            assert re.fullmatch(f"{small_disk}(/folded)?: cannot be written: No space left on device", str(error))
            assert os.listdir(small_disk) == ["filler"]
            failed += 1
        else:
            assert sorted(os.listdir(small_disk)) == ["filler", "folded"]
            assert result.prefix == os.path.join(destination, "model.ckpt-24")
            break
        finally:
            os.unlink(filler)
    assert failed > 3
    assert hashes(trained) == before
    assert "hidden/mask" not in read_all(destination)


def test_the_command_to_fold_says_it_in_one_line(trained: str, tmp_path: Any):
    before = hashes(trained)
    found = _command(["fold", trained, str(tmp_path / "folded")], _LIMIT)
    assert (found.returncode, found.stdout) == (2, "")
    assert len(found.stderr.splitlines()) == 1, found.stderr
    assert found.stderr.startswith(f"graph-masker: {tmp_path}/folded: cannot be written:")
    assert os.listdir(str(tmp_path)) == []
    assert hashes(trained) == before


def test_a_text_file_stays_as_it_was(tmp_path: Any):
    path = tmp_path / "plan.json"
    for content in (None, "before"):
        if content is not None:
            path.write_text(content)
        with _limited(3), pytest.raises(DestinationError, match=r"plan\.json: cannot be written: File too large"):
            writing.write_text(str(path), "longer than that")
        assert os.listdir(str(tmp_path)) == ([] if content is None else ["plan.json"])
    assert path.read_text() == "before"


def test_a_run_that_cannot_write_its_plan_says_it_in_one_line(tmp_path: Any):
    model_dir = str(tmp_path / "model")
    options = ["--target-sparsity", "0.8", "--begin-step", "2", "--end-step", "21"]
    found = _command(["run", *options, "--", os.path.join(ROOT, "tests", "kill", "script.py"), model_dir], 100)
    assert found.returncode == 2, found.stderr
    assert _last_line(found.stderr) == f"graph-masker: {model_dir}/{PLAN_FILE}: cannot be written: File too large"
    assert "Traceback" not in found.stderr
    assert not os.path.exists(model_dir)


@pytest.mark.slow
def test_a_run_that_cannot_write_a_graph_or_events(small_disk: str):
    """Errors of TensorFlow's own, which is not asked to say it otherwise: our line comes below its traceback."""
    model_dir, filler = os.path.join(small_disk, "model"), os.path.join(small_disk, "filler")
    script = os.path.join(ROOT, "tests", "kill", "script.py")
    command = ["run", "--target-sparsity", "0.8", "--begin-step", "2", "--end-step", "21", "--", script, model_dir]
    line = "graph-masker: the disk is full; {}. Free some space and run the same again"
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    # Enough for the plan, and too little for the graph as text.
    fill_disk(filler, 64 * 1024)
    found = _command(command, unlimited)
    assert found.returncode == 1 and "ResourceExhaustedError" in found.stderr, found.stderr
    assert _last_line(found.stderr) == line.format("there is no checkpoint yet")
    os.unlink(filler)
    assert _command(command, unlimited).returncode == 0
    # A later run writes them again; a checkpoint ago, so that there is something to train.
    with open(os.path.join(model_dir, "checkpoint"), "w") as stream:
        stream.write('model_checkpoint_path: "model.ckpt-21"\n')
    fill_disk(filler, 64 * 1024)
    found = _command(command, unlimited)
    assert found.returncode == 1 and "ResourceExhaustedError" in found.stderr, found.stderr
    assert _last_line(found.stderr) == line.format(f"the last complete checkpoint is {model_dir}/model.ckpt-21")
