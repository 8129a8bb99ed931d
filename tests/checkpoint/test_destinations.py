"""Where a checkpoint may go: what is refused is refused in one line and before anything is written; nothing is lost."""

import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import read_all
from graph_masker import DestinationError, SourceError, VerificationError, fold_checkpoint
from graph_masker.files import copying, writing
from tests.checkpoint import kinds
from tests.kill.harness import ROOT, environment, hashes

PREFIX = "model.ckpt-9"


@pytest.fixture
def src(tmp_path):
    """A directory with a masked checkpoint and its state file."""
    folder = tmp_path / "src"
    folder.mkdir()
    kinds.sharded(str(folder))
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{PREFIX}"\n')
    return str(folder)


def _tree(folder):
    """Returns every file with its content, every folder and every link."""
    found = {}
    for root, folders, names in os.walk(str(folder)):
        for name in [*folders, *names]:
            path = os.path.join(root, name)
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isdir(path):
                content = None
            else:
                with open(path, "rb") as stream:
                    content = stream.read()
            found[os.path.relpath(path, str(folder))] = content
    return found


def _refused(tmp_path, src, dst, message, overwrite=True):
    before = _tree(tmp_path)
    with pytest.raises(DestinationError, match=message) as error:
        fold_checkpoint(src, dst, overwrite=overwrite)
    assert len(str(error.value).splitlines()) == 1
    assert _tree(tmp_path) == before


def _expected():
    values = kinds.masked_values()
    return (values["layer/mask"] * values["layer/kernel"]).tobytes()


def _check(prefix):
    assert read_all(prefix)["layer/kernel"].tobytes() == _expected()


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_source_itself_under_other_names(src, tmp_path, monkeypatch, overwrite):
    os.symlink(src, str(tmp_path / "link"))
    os.symlink(str(tmp_path), str(tmp_path / "around"))
    monkeypatch.chdir(str(tmp_path))
    for dst in (src, src + "/", "src", "./src/../src", "link", "link/", "around/src", os.path.join(src, ".")):
        _refused(tmp_path, src, dst, "found the source itself", overwrite)
    for dst in ("src/model.ckpt-9", "link/model.ckpt-9", "around/src/model.ckpt-9"):
        _refused(tmp_path, os.path.join(src, PREFIX), dst, "found the source itself", overwrite)


def test_a_prefix_whose_files_are_the_sources_by_another_name(src, tmp_path):
    for name in os.listdir(src):
        if name != "checkpoint":
            os.link(os.path.join(src, name), str(tmp_path / name))
    _refused(tmp_path, os.path.join(src, PREFIX), str(tmp_path / PREFIX), "found the source itself")


def test_inside_the_source_and_around_it(src, tmp_path):
    os.symlink(src, str(tmp_path / "link"))
    for dst in (os.path.join(src, "folded"), str(tmp_path / "link" / "folded"), os.path.join(src, "no", "folder")):
        _refused(tmp_path, src, dst, "is inside the source")
    _refused(tmp_path, src, str(tmp_path), "holds the source")
    os.makedirs(str(tmp_path / "deep" / "er"))
    shutil.copytree(src, str(tmp_path / "deep" / "er" / "src"))
    _refused(tmp_path, str(tmp_path / "deep" / "er" / "src"), str(tmp_path / "deep"), "holds the source")


def test_beside_the_source_with_another_prefix(src):
    before = hashes(src)
    result = fold_checkpoint(os.path.join(src, PREFIX), os.path.join(src, "folded-9"))
    _check(result.prefix)
    # The state file is the source's.
    assert {name: value for name, value in hashes(src).items() if not name.startswith("folded-9")} == before
    assert tf.train.latest_checkpoint(src) == os.path.join(src, PREFIX)


def test_a_source_that_is_a_link(src, tmp_path):
    os.symlink(src, str(tmp_path / "link"))
    _check(fold_checkpoint(str(tmp_path / "link"), str(tmp_path / "one")).prefix)
    _check(fold_checkpoint(str(tmp_path / "link" / PREFIX), str(tmp_path / "two")).prefix)
    os.mkdir(str(tmp_path / "links"))
    for name in os.listdir(src):
        os.symlink(os.path.join(src, name), str(tmp_path / "links" / name))
    _check(fold_checkpoint(str(tmp_path / "links"), str(tmp_path / "three")).prefix)


def test_what_exists_is_kept_or_replaced(src, tmp_path):
    dst, before = str(tmp_path / "dst"), hashes(src)
    fold_checkpoint(src, dst)
    with open(os.path.join(dst, "old-5.index"), "w") as stream:
        stream.write("old")
    _refused(tmp_path, src, dst, "exists already; name a new destination, or replace it with --overwrite", False)
    result = fold_checkpoint(src, dst, overwrite=True)
    _check(result.prefix)
    assert not os.path.exists(os.path.join(dst, "old-5.index"))
    assert tf.train.latest_checkpoint(dst) == result.prefix
    assert hashes(src) == before
    assert sorted(os.listdir(str(tmp_path))) == ["dst", "src"]


def test_a_prefix_that_exists_is_kept_or_replaced(src, tmp_path):
    prefix, dst = os.path.join(src, PREFIX), str(tmp_path / "dst")
    kinds.single(str(tmp_path))
    for name in os.listdir(str(tmp_path)):
        if name.startswith(PREFIX):
            os.rename(str(tmp_path / name), dst + name[len(PREFIX) :])
    kinds.save(str(tmp_path / "dst-2"), {"other": np.ones(3)})
    with open(dst + ".meta", "w") as stream:
        stream.write("of the old one")
    _refused(tmp_path, prefix, dst, "exists already", False)
    other = {name: value for name, value in hashes(str(tmp_path)).items() if name.startswith("dst-2")}
    _check(fold_checkpoint(prefix, dst, overwrite=True).prefix)
    # The old one has one shard and a graph, the new one three and none. Its neighbour's name only begins like its own.
    names = [f"dst.data-0000{shard}-of-00003" for shard in range(3)]
    assert sorted(os.listdir(str(tmp_path))) == ["checkpoint", *sorted(other), *names, "dst.index", "src"]
    assert {name: value for name, value in hashes(str(tmp_path)).items() if name in other} == other


@pytest.mark.parametrize("exchanges", [True, False])
@pytest.mark.parametrize("kind", ["directory", "prefix"])
def test_what_was_to_be_replaced_comes_back(src, tmp_path, monkeypatch, kind, exchanges):
    """Every change of a name fails in turn."""
    source = src if kind == "directory" else os.path.join(src, PREFIX)
    dst = str(tmp_path / "out" / "dst")
    shutil.copytree(src, dst if kind == "directory" else os.path.dirname(dst))
    for name in os.listdir(os.path.dirname(dst)):
        if name.startswith(PREFIX):
            os.rename(os.path.join(os.path.dirname(dst), name), dst + name[len(PREFIX) :])
    if not exchanges:
        monkeypatch.setattr(writing, "_exchange", lambda *_: False)
    before, rename, failed = _tree(tmp_path), os.rename, 0
    for number in range(20):
        count = iter(range(100))

        def fail(old, new, number=number, count=count):
            if next(count) == number:
                raise OSError(5, "Input/output error", old)
            rename(old, new)

        monkeypatch.setattr(os, "rename", fail)
        try:
            fold_checkpoint(source, dst, overwrite=True)
        except DestinationError as error:
            assert str(error) == f"{dst}: cannot be written: Input/output error"
            assert _tree(tmp_path) == before, number
            failed += 1
        else:
            break
        finally:
            monkeypatch.setattr(os, "rename", rename)
    else:
        raise AssertionError("no end of names")
    assert (
        failed
        == {("directory", True): 0, ("directory", False): 2, ("prefix", True): 8, ("prefix", False): 8}[kind, exchanges]
    )
    _check(dst if kind == "prefix" else os.path.join(dst, PREFIX))


def test_names_are_exchanged_in_one_step(tmp_path):
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text(name)
    if not writing._exchange(str(tmp_path / "left"), str(tmp_path / "right")):
        pytest.skip("the file system cannot; the way around is tested above")
    assert os.listdir(str(tmp_path / "left")) == ["right"]
    assert os.listdir(str(tmp_path / "right")) == ["left"]
    with pytest.raises(FileNotFoundError):
        writing._exchange(str(tmp_path / "left"), str(tmp_path / "nothing"))


def test_folders_that_hold_other_things_are_not_replaced(src, tmp_path):
    for name, make in {"notes.txt": lambda path: path.write_text("x"), "eval": lambda path: path.mkdir()}.items():
        dst = tmp_path / f"with-{name}"
        shutil.copytree(src, str(dst))
        make(dst / name)
        _refused(tmp_path, src, str(dst), "holds other than what would replace it")
    (tmp_path / "file").write_text("x")
    _refused(tmp_path, src, str(tmp_path / "file"), "holds other than what would replace it")
    _refused(tmp_path, os.path.join(src, PREFIX), str(tmp_path / "with-eval"), "is a folder; expected the prefix")
    os.mkdir(str(tmp_path / "prefix.index"))
    _refused(tmp_path, os.path.join(src, PREFIX), str(tmp_path / "prefix"), "holds other than")


def test_a_link_is_replaced_and_not_what_it_points_to(src, tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "checkpoint").write_text("x")
    os.symlink(str(tmp_path / "target"), str(tmp_path / "dst"))
    _refused(tmp_path, src, str(tmp_path / "dst"), "exists already", False)
    _check(fold_checkpoint(src, str(tmp_path / "dst"), overwrite=True).prefix)
    assert not os.path.islink(str(tmp_path / "dst"))
    assert os.listdir(str(tmp_path / "target")) == ["checkpoint"]
    # One that points nowhere exists, too.
    os.symlink(str(tmp_path / "nowhere"), str(tmp_path / "dangling"))
    _refused(tmp_path, src, str(tmp_path / "dangling"), "exists already", False)


@pytest.mark.parametrize(
    "name", ["with space", "\u00fcn\u00efcode \u4f60", 'quote"d', "line\nbreak", "tab\there", "-dash", "a" * 200]
)
def test_odd_names(src, tmp_path, name):
    result = fold_checkpoint(src, str(tmp_path / name))
    _check(result.prefix)
    assert tf.train.latest_checkpoint(str(tmp_path / name)) == result.prefix
    again = fold_checkpoint(os.path.join(src, PREFIX), str(tmp_path / "prefix" / name))
    _check(again.prefix)
    # As a name in the state file, and as a source.
    assert tf.train.latest_checkpoint(str(tmp_path / "prefix")) == str(tmp_path / "prefix" / name)
    odd = str(tmp_path / ("source " + name))
    shutil.copytree(src, odd)
    _check(fold_checkpoint(odd, str(tmp_path / "out")).prefix)


@pytest.mark.parametrize("name", ["star*", "what?", "[bracket", "back\\slash", "\udcff", "nul\0"])
def test_names_that_tensorflow_cannot_take(src, tmp_path, name):
    _refused(tmp_path, src, str(tmp_path / name), "expected a path in UTF-8 without")
    _refused(tmp_path, os.path.join(src, PREFIX), str(tmp_path / name), "expected a path in UTF-8 without")


def test_empty_names_and_prefixes_without_a_name(src, tmp_path):
    _refused(tmp_path, src, "", "found an empty one")
    _refused(tmp_path, os.path.join(src, PREFIX), "", "found an empty one")
    _refused(
        tmp_path, os.path.join(src, PREFIX), str(tmp_path / "new") + "/", "expected the prefix of a new checkpoint"
    )
    _refused(tmp_path, src, str(tmp_path / ("a" * 300)), "File name too long")


def test_parents_are_made_and_do_not_stay_if_nothing_comes_of_it(src, tmp_path, monkeypatch):
    _check(fold_checkpoint(src, str(tmp_path / "no" / "such" / "parent")).prefix)
    shutil.rmtree(str(tmp_path / "no"))
    _refused(tmp_path, src, os.path.join(src, PREFIX + ".index", "below"), "is inside the source|is not a folder")
    (tmp_path / "file").write_text("x")
    _refused(tmp_path, src, str(tmp_path / "file" / "below"), "file is not a folder")

    def fail(*_):
        raise VerificationError("on purpose")

    monkeypatch.setattr(copying._Copy, "check", fail)
    for dst in ("no/such/parent", "one"):
        with pytest.raises(VerificationError, match="on purpose"):
            fold_checkpoint(src, str(tmp_path / dst))
    assert sorted(os.listdir(str(tmp_path))) == ["file", "src"]


def _error_of_nobody(src, dst):
    """Returns what a user who owns nothing is told; root may read and write everything."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            fold_checkpoint(src, dst)
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        found = stream.read()
    os.waitpid(pid, 0)
    return found


@pytest.mark.parametrize("what", ["parent", "index", "data", "folder"])
def test_missing_rights(src, what):
    # The parents of tmp_path are closed to others.
    folder = tempfile.mkdtemp(dir="/tmp")
    try:
        shutil.copytree(src, os.path.join(folder, "src"))
        source, dst = os.path.join(folder, "src"), os.path.join(folder, "dst")
        closed = {
            "parent": folder,
            "index": os.path.join(source, PREFIX + ".index"),
            "data": os.path.join(source, PREFIX + ".data-00000-of-00003"),
            "folder": source,
        }[what]
        os.chmod(folder, 0o777)
        os.chmod(closed, 0o555 if what == "parent" else 0)
        before = _tree(folder)
        found = _error_of_nobody(source, dst)
        if what == "parent":
            assert found == f"DestinationError: {dst}: cannot be written: {folder} may not be written to"
        else:
            assert found == f"SourceError: {closed}: cannot be read: Permission denied"
        assert _tree(folder) == before
    finally:
        shutil.rmtree(folder)


def test_another_file_system(src):
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == os.stat(src).st_dev:
        pytest.skip("there is no other file system to write to")
    folder = tempfile.mkdtemp(dir="/dev/shm")
    try:
        _check(fold_checkpoint(src, os.path.join(folder, "dst")).prefix)
        _check(fold_checkpoint(src, os.path.join(folder, "dst"), overwrite=True).prefix)
        assert os.listdir(folder) == ["dst"]
    finally:
        shutil.rmtree(folder)


def test_what_a_killed_run_has_left_is_removed_and_what_runs_is_not(src, tmp_path):
    dst = str(tmp_path / "dst")
    with writing.staging_directory(dst) as running:
        left = tmp_path / (os.path.basename(running)[: -len("12345678.partial")] + "leftover.partial")
        for name, content in {"new": "", writing.OLD: ""}.items():
            folder = left.with_name(left.name.replace("leftover", name))
            (folder / name).mkdir(parents=True)
            (folder / name / "data").write_text(content)
        others = [f".other.{os.path.basename(running)[5:]}", ".dst.another-host.12345678.partial", "dst.partial"]
        for name in others:
            (tmp_path / name).mkdir()
        _check(fold_checkpoint(src, dst).prefix)
        found = sorted(os.listdir(str(tmp_path)))
    assert os.path.basename(running) in found
    kept = left.name.replace("leftover", writing.OLD)
    assert found == sorted(["src", "dst", kept, os.path.basename(running), *others])
    assert not os.path.exists(running)


def test_a_source_with_patterns_in_its_name(src, tmp_path):
    os.rename(src, str(tmp_path / "src[1]"))
    with pytest.raises(SourceError, match="which TensorFlow takes for patterns"):
        fold_checkpoint(str(tmp_path / "src[1]"), str(tmp_path / "dst"))


def test_the_command_line(src, tmp_path):
    """One line, also where a name has several; --overwrite."""

    def run(*arguments):
        command = [sys.executable, "-W", "ignore", "-m", "graph_masker.cli", "fold", src, *arguments]
        return subprocess.run(command, capture_output=True, env=environment(), cwd=ROOT, text=True, check=False)

    dst = str(tmp_path / "two\nlines")
    assert run(dst).returncode == 0
    before = _tree(tmp_path)
    found = run(dst)
    assert found.returncode == 2
    shown = dst.replace("\n", "\\x0a")
    message = "exists already; name a new destination, or replace it with --overwrite"
    assert found.stderr == f"graph-masker: {shown}: {message}\n"
    assert _tree(tmp_path) == before
    assert run(dst, "--overwrite").returncode == 0
    _check(os.path.join(dst, PREFIX))
