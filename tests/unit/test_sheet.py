"""The sheet of a plan, read back by the csv module."""

import csv
import io
from typing import Any, Dict, List

import pytest
import tensorflow.compat.v1 as tf

from graph_masker import MaskPlan, PruningSpec, Skip, plan_graph
from graph_masker.sheet import COLUMNS, csv_text


def _rows(text: str) -> List[Dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def _plan(spec: Any = None) -> MaskPlan:
    with tf.Graph().as_default() as graph:
        features = tf.layers.conv2d(tf.placeholder(tf.float32, [1, 8, 8, 3]), 4, 3, name="conv")
        outputs = tf.layers.dense(tf.reshape(features, [1, -1]), 5, name="dense")
        return plan_graph(graph, spec or PruningSpec(0.75, 0, 10), outputs=[outputs])


def test_a_row_per_site_and_per_skip() -> None:
    plan = _plan(PruningSpec(0.75, 0, 10, exclude=("dense",)))
    text = csv_text(plan, {"conv/kernel": 27})
    assert text.startswith(",".join(COLUMNS) + "\r\n")
    rows = _rows(text)
    assert [row["kind"] for row in rows] == ["site"] * len(plan.sites) + ["skip"] * len(plan.skips)
    assert all(set(row) == set(COLUMNS) for row in rows)
    site = rows[0]
    expected = {"variable": "conv/kernel", "shape": "3x3x3x4", "entries": "108", "zeros": "27", "sparsity": "0.25"}
    expected.update(target_sparsity="0.75", structure="element", criterion="magnitude", group="", masked="false")
    expected.update(op_types="Conv2D", dtype="float32", consumers="1", mask="conv/mask", reason="")
    assert {key: site[key] for key in expected} == expected
    assert [(row["variable"], row["op"], row["reason"]) for row in rows[1:]] == [
        (skip.variable, skip.op, skip.reason) for skip in plan.skips
    ]


@pytest.mark.parametrize("name", ['a,"b"', "a\nb", "a\r\nb", "", "ä", "a;b", " a ", '"'])
def test_any_name_is_read_back(name: str) -> None:
    rows = _rows(csv_text(MaskPlan(_plan().sites, (Skip(name, name, name),))))
    assert (rows[-1]["variable"], rows[-1]["op"], rows[-1]["reason"]) == (name, name, name)


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(name: str) -> None:
    """No name that TensorFlow lets in begins so: what is changed comes from files of strangers."""
    rows = _rows(csv_text(MaskPlan(_plan().sites, (Skip(name, "", name),))))
    assert (rows[-1]["variable"], rows[-1]["reason"]) == (f"'{name}", f"'{name}")
    with pytest.raises(ValueError, match="not a valid"), tf.Graph().as_default():
        tf.no_op(name=name)
