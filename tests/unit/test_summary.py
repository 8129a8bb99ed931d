"""What a run says, and where it keeps its plans."""

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest

from graph_masker.plan import PLAN_FILE, MaskPlan
from graph_masker.summary import Summary
from tests.unit.test_plan import SPEC, plan
from tests.unit.test_plan_changes import NAMES, without


@pytest.fixture(scope="module")
def whole():
    return plan()


def lines_of(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    return [line for line in captured.err.splitlines() if line.startswith(("graph-masker: ", "  "))]


def read(path):
    with open(str(path)) as stream:
        return MaskPlan.from_json(stream.read())


def config(folder, is_chief=True):
    return SimpleNamespace(model_dir=str(folder), is_chief=is_chief)


def test_an_estimators_directory(tmp_path, whole, capsys):
    for number in range(2):
        summary = Summary("own.py")
        for _ in range(2):
            summary.planned(whole, "train", config(tmp_path / "model"))
            summary.planned(whole, "eval", config(tmp_path / "model"))
        summary.finish(succeeded=True)
        assert read(tmp_path / "model" / PLAN_FILE) == whole
        captured = capsys.readouterr()
        assert captured.err.count("3 sites") == 1 and "graph-masker" not in captured.err, number
    summary = Summary("own.py")
    other = replace(without(whole, NAMES[0]), spec=replace(SPEC, target_sparsity=0.25))
    for _ in range(2):  # As train_and_evaluate does, which trains in turns.
        summary.planned(other, "train", config(tmp_path / "model"))
    assert lines_of(capsys) == [
        f"graph-masker: {tmp_path}/model/{PLAN_FILE}: masking differs from the run before:",
        "  target_sparsity: 0.5 -> 0.25",
        f"  no longer masked: {NAMES[0]} (the model has no such weight)",
    ]
    assert read(tmp_path / "model" / PLAN_FILE) == other


def test_only_the_chief_writes(tmp_path, whole):
    Summary("own.py").planned(whole, "train", config(tmp_path, is_chief=False))
    assert os.listdir(str(tmp_path)) == []


def test_a_restored_plan_is_compared_and_not_replaced(tmp_path, whole, capsys):
    first = Summary("own.py")
    first.used_checkpoint(whole, "save", str(tmp_path / "model.ckpt"))
    before = (tmp_path / PLAN_FILE).read_bytes()
    second, other = Summary("own.py"), without(whole, NAMES[0])
    second.used_checkpoint(other, "restore", str(tmp_path / "model.ckpt-5"))
    assert [line[:20] for line in lines_of(capsys)] == ["graph-masker: " + str(tmp_path)[:6], "  no longer masked: "]
    assert (tmp_path / PLAN_FILE).read_bytes() == before
    second.used_checkpoint(other, "save", str(tmp_path / "model.ckpt-6"))
    assert lines_of(capsys) == []  # It has been said.
    assert read(tmp_path / PLAN_FILE) == other


def test_a_directory_by_two_names_and_a_graph_that_grows(tmp_path, whole, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    summary = Summary("own.py")
    for path, found in (("model.ckpt", without(whole, NAMES[0])), (f"{tmp_path}/model.ckpt", whole)):
        summary.planned(found, "train", None)
        summary.used_checkpoint(found, "save", path)
    summary.finish(succeeded=True)
    assert lines_of(capsys) == []
    assert os.listdir(".") == [PLAN_FILE] and read(PLAN_FILE) == whole


def test_two_models_in_one_directory(tmp_path, whole, capsys):
    one, other = without(whole, *NAMES[1:]), without(whole, NAMES[0])
    for _ in range(2):
        summary = Summary("own.py")
        for found in (one, other, one):
            summary.used_checkpoint(found, "save", str(tmp_path / "model.ckpt"))
        assert lines_of(capsys) == []
        assert [read(tmp_path / name) for name in sorted(os.listdir(str(tmp_path)))] == [one, other]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", b"[]", None])
def test_a_file_that_is_no_plan(tmp_path, whole, capsys, content):
    path = tmp_path / PLAN_FILE
    if content is None:
        path.mkdir()
        (path / "file").write_text("")
    else:
        path.write_bytes(content)
    summary = Summary("own.py")
    summary.used_checkpoint(whole, "restore", str(tmp_path / "model.ckpt"))
    (line,) = lines_of(capsys)
    assert line.startswith(f"graph-masker: {path}: expected the plan of an earlier run, found no such file (")
    if content is not None:
        summary.used_checkpoint(whole, "save", str(tmp_path / "model.ckpt"))
        assert lines_of(capsys) == [] and read(path) == whole


def test_a_directory_that_is_not_local(whole, capsys):
    summary = Summary("own.py")
    for _ in range(2):
        summary.used_checkpoint(whole, "save", "gs://bucket/model.ckpt")
    summary.planned(whole, "train", None)
    summary.finish(succeeded=True)
    assert lines_of(capsys) == [
        f"graph-masker: gs://bucket: not on a local disk, so that {PLAN_FILE} is not written there"
    ]


def test_nothing_to_mask(tmp_path, whole, capsys):
    summary = Summary("own.py")
    summary.planned(without(whole, *NAMES), "train", config(tmp_path))
    assert not summary.has_masked and os.listdir(str(tmp_path)) == []
    summary.finish(succeeded=True)
    assert lines_of(capsys) == [
        "graph-masker: nothing was masked by running own.py: the graphs that it trained have no weight to mask; the "
        "reasons are above"
    ]
    summary.planned(whole, "eval", config(tmp_path))
    assert summary.has_masked
