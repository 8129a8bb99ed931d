"""`graph-masker strip`, and what `fold` says of slots and of the graph."""

import re

import pytest

from fixtures.kinds import write_every_kind
from tests.cli.running import run


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The model of `fixtures.kinds`, masked and dense, in files of every kind."""
    folder = tmp_path_factory.mktemp("strip")
    write_every_kind(folder / "dense", False, False)
    return write_every_kind(folder / "masked", False, True)


def test_strip_says_what_became_sparser_and_smaller(written, tmp_path):
    result = run("strip", written.folder / "frozen.pb", tmp_path / "plain.pb")
    assert result.returncode == 0, result.stderr
    size = (tmp_path / "plain.pb").stat().st_size
    before = (written.folder / "frozen.pb").stat().st_size
    assert re.search(
        rf"wrote {tmp_path}/plain.pb: {size:,} bytes, [0-9,]+ by gzip; before: {before:,} bytes, [0-9,]+ by gzip\n",
        result.stdout,
    )
    for name, zeros in written.zeros.items():
        row = next(line for line in result.stdout.splitlines() if name in line)
        assert f" {zeros} " in row
    again = run("strip", written.folder / "frozen.pb", tmp_path / "plain.pb")
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "exists already" in again.stderr
    assert run("strip", written.folder / "frozen.pb", tmp_path / "plain.pb", "--overwrite").returncode == 0


@pytest.mark.parametrize("name", ["frozen.pb", "saved"])
def test_strip_of_a_dense_model_is_one_line(written, name, tmp_path):
    source = written.folder.parent / "dense" / name
    result = run("strip", source, tmp_path / "plain")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith(f"graph-masker: {source}: expected a masked ")
    assert not list(tmp_path.iterdir())


def test_fold_says_why_there_is_no_graph(written, tmp_path):
    result = run("fold", written.folder / "ckpt", tmp_path / "folded", "--drop-slots")
    assert (result.returncode, result.stderr) == (0, "")
    assert "left out" not in result.stdout  # There is no optimizer.
    assert (tmp_path / "folded" / "model.ckpt-0.meta").exists()
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in (written.folder / "ckpt").iterdir():
        if path.suffix != ".meta":
            (bare / path.name).write_bytes(path.read_bytes())
    result = run("fold", bare / "model.ckpt-0", tmp_path / "plain")
    assert (result.returncode, result.stderr) == (0, "no .meta file: the masked checkpoint has none\n")
