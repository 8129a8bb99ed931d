"""Weights without entries, and with names that would disturb a terminal: folded, audited and shown."""

import io

import numpy as np
import tensorflow.compat.v1 as tf
from rich.console import Console

from graph_masker import fold_checkpoint, verify_model
from graph_masker.audit import report_model, tables
from graph_masker.audit.page import html
from graph_masker.report import weights_table

ODD = "bad\nname[bold]\x1b[31m/kernel"


def _write(prefix):
    values = {
        "empty": np.zeros([0, 3], "f"),
        "empty_mask": np.ones([0, 3], "f"),
        "empty_threshold": np.float32(0),
        ODD: np.ones([4, 4], "f"),
        f"{ODD}_mask": np.eye(4, dtype="f"),
        f"{ODD}_threshold": np.float32(0),
        "text": np.array([b"x", b""]),
    }
    with tf.Graph().as_default(), tf.Session() as session:
        names, tensors = zip(*values.items())
        parts = [""] * len(names)
        tensors = list(map(tf.constant, tensors))
        session.run(tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=parts, tensors=tensors))
    return prefix


def _shown(*tables_or_show):
    screen = Console(file=io.StringIO(), width=200, markup=False, emoji=False)
    for item in tables_or_show:
        item(screen) if callable(item) else screen.print(item)
    return screen.file.getvalue()


def test_they_are_folded_and_shown(tmp_path):
    source = _write(str(tmp_path / "masked"))
    result = fold_checkpoint(source, str(tmp_path / "plain"))
    assert [(weight.variable, weight.entries, weight.zeros) for weight in result.weights] == [
        (ODD, 16, 12),
        ("empty", 0, 0),
    ]
    shown = _shown(weights_table(result))
    assert r"bad\x0aname[bold]\x1b[31m/kernel" in shown
    assert "\x1b" not in shown
    assert verify_model(result.prefix, against=source).checks


def test_they_are_audited_and_shown(tmp_path):
    found = report_model(_write(str(tmp_path / "masked")))
    assert {layer.variable: layer.sparsity for layer in found.layers} == {ODD: 0.75, "empty": 0.0}
    # Nothing of it is left, but nothing of it was pruned.
    assert not found.faults
    assert "\x1b" not in _shown(lambda screen: tables.show(found, screen)) + html(found)
