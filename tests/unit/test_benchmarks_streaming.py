"""The streaming benchmark: what it makes, copies and sums up. Nothing here depends on how fast anything is."""

import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import benchmarks.streaming
from benchmarks.options import Options
from benchmarks.streaming import child, drawing, measuring, report, summary
from benchmarks.streaming.files import Checkpoint, Made, make

SMALL = Checkpoint("small", "small ones", 10**8, 0.1)
ROUNDS = [measuring.Round(2.0, 3.0, 10**9), measuring.Round(1.0, 3.0, 2 * 10**9), measuring.Round(1.0, 2.0, 10**9)]
MACHINE = {"processor": "some", "cores": 2, "system": "Linux", "python": "3.7", "tensorflow": "1.15", "numpy": "1.18"}


def test_the_checkpoint_is_what_it_says(tmp_path):
    made = make(str(tmp_path), SMALL, True)
    prefix = tf.train.latest_checkpoint(str(tmp_path))
    reader = tf.train.load_checkpoint(prefix)
    shapes = reader.get_variable_to_shape_map()
    sizes = {name: 4 * int(np.prod(shape)) for name, shape in shapes.items()}
    assert made.tensors == len(shapes)
    assert made.largest == max(sizes.values()) == 10**7 // 4096 * 4096
    assert made.size == sum(os.path.getsize(str(path)) for path in tmp_path.iterdir())
    assert SMALL.size <= made.size < SMALL.size + 3 * 4 * 2**22 + 10**5
    assert len(list(tmp_path.glob("*.data-*"))) == 5
    weights = [name for name in shapes if name.endswith("/weights")]
    assert len(shapes) == 4 * len(weights)
    for name in weights:
        mask = reader.get_tensor(name.replace("weights", "mask"))
        assert abs(np.mean(mask == 0) - 0.9) < 0.01
        assert np.array_equal(
            mask, np.abs(reader.get_tensor(name)) > reader.get_tensor(name.replace("weights", "threshold"))
        )


def test_the_dense_one_has_its_graph(tmp_path):
    made = make(str(tmp_path), SMALL, False)
    prefix = tf.train.latest_checkpoint(str(tmp_path))
    held = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    with tf.Graph().as_default():
        tf.train.import_meta_graph(prefix + ".meta")
        wanted = {variable.op.name: variable.shape.as_list() for variable in tf.global_variables()}
    assert held == wanted
    assert made.tensors == len(held)
    assert SMALL.size <= made.size < SMALL.size + 2 * 4 * 2**22 + 10**6


def test_a_copy_is_one_and_rounds_alternate(tmp_path, monkeypatch):
    source, order = tmp_path / "source", []
    source.mkdir()
    (source / "a").write_bytes(bytes(range(256)) * 1000)
    (source / "empty").write_bytes(b"")
    assert measuring.copied(str(source), str(tmp_path / "copy")) > 0
    assert (tmp_path / "copy" / "a").read_bytes() == (source / "a").read_bytes()
    assert sorted(os.listdir(str(tmp_path / "copy"))) == ["a", "empty"]

    def run(command, src, written):
        order.append(command)
        os.mkdir(written)
        return {"seconds": 3.0, "peak": 5}

    def copied(src, written):
        order.append("copy")
        os.mkdir(written)
        return 2.0

    monkeypatch.setattr(measuring, "run", run)
    monkeypatch.setattr(measuring, "copied", copied)
    assert measuring.measure(str(source), str(tmp_path), 3, "fold") == [(2.0, 3.0, 5)] * 3
    assert order == ["fold", "copy", "copy", "fold", "fold", "copy", "copy", "fold"]


def test_a_command_that_fails_is_told(tmp_path):
    with pytest.raises(RuntimeError, match=r"fold failed with exit code 1:(.|\n)*expected a checkpoint"):
        measuring.run("fold", str(tmp_path / "nothing"), str(tmp_path / "out"))


def test_ratios_are_paired_and_the_highest_peak_counts():
    cost = summary.summarize("fold", SMALL, Made(30 * 10**6, 200 * 10**6, 4), ROUNDS)
    assert (cost.copy, cost.seconds, cost.ratio, cost.ratios) == (1.0, 3.0, 2.0, (1.5, 3.0))
    assert cost.peak == 2 * 10**9
    assert cost.memory == 2.0
    assert [outcome.met for outcome in summary.outcomes([cost])] == [True, False]


def test_the_section_and_the_picture(tmp_path):
    cost = summary.summarize("fold", SMALL, Made(30 * 10**6, 200 * 10**6, 4), ROUNDS)
    found = summary.outcomes([cost])
    text = report.markdown(MACHINE, 3, [cost], found)
    assert "| fold | small ones | 4 | 0.03 | 200 | 1.00 | 3.00 | 2.00 | 1.50 to 3.00 | 2000 |" in text
    assert "| fold: small ones | 2.00 | at most 2.50 | met |" in text
    assert report.line(cost) == "fold: small ones: copied in 1.00 s, done in 3.00 s, 2.00 times as long, with 2000 MB"
    assert json.loads(json.dumps(report.as_dict(MACHINE, 3, [cost], found)))["costs"][0]["ratio"] == 2.0
    drawing.draw([cost], tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_group_runs_from_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.streaming.files.CHECKPOINTS", (SMALL,))
    said, processes = [], measuring.run
    # One command in a process of its own shows that this works; starting more takes long.
    monkeypatch.setattr(measuring, "run", lambda *args: (processes if args[0] == "fold" else child.measure)(*args))
    found = benchmarks.streaming.run(Options(1, (), tmp_path / "out", tmp_path / "docs", said.append))
    timed = [f"{command}: small ones" for command in ("fold", "rewrite")]
    assert [outcome.subject for outcome in found] == [*timed, *timed, "prune: small ones"]
    assert all(outcome.measured > 0 for outcome in found)
    assert (
        "## Streaming: fold, rewrite and prune beside a plain copy" in (tmp_path / "docs" / "benchmarks.md").read_text()
    )
    assert (tmp_path / "docs" / "images" / "streaming.png").exists()
    assert len(said) == 7
