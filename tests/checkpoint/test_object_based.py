"""Checkpoints of tf.train.Checkpoint and Keras, whose keys name Python objects: audited, or refused in one line."""

import os

import pytest
import tensorflow.compat.v1 as tf

from graph_masker import PruningSpec, fold_checkpoint, inspect_model, prune_model, rewrite_checkpoint, verify_model
from graph_masker.audit import report_model
from graph_masker.errors import SourceError
from tests.helpers.running import initialize

SPEC = PruningSpec(0.5, 0, 4)
KERNEL = "kernel/.ATTRIBUTES/VARIABLE_VALUE"


def _write(folder, **tracked):
    """Saves a small model as objects, with what else it shall hold, and its graph in a file of its own."""
    with tf.Graph().as_default(), tf.Session() as session:
        kernel = tf.get_variable("kernel", [6, 4], use_resource=True)
        others = {name: tf.get_variable(name, shape, use_resource=True) for name, shape in tracked.items()}
        optimizer = tf.train.AdamOptimizer()
        optimizer.minimize(tf.reduce_sum(tf.matmul(tf.placeholder(tf.float32, [None, 6]), kernel)))
        initialize(session)
        path = tf.train.Checkpoint(kernel=kernel, optimizer=optimizer, **others).save(str(folder / "ckpt"), session)
        tf.train.export_meta_graph(str(folder / "graph.meta"))
    return path


def test_a_report_counts_weights_alone(tmp_path):
    prefix = _write(tmp_path)
    assert "kernel/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE" in dict(tf.train.list_variables(prefix))
    assert [layer.variable for layer in report_model(prefix).layers] == [KERNEL]


def _refused(prefix, tmp_path):
    meta, out = str(tmp_path / "graph.meta"), str(tmp_path / "out")
    return {
        "inspect": lambda: inspect_model(prefix),
        "verify": lambda: verify_model(prefix),
        "against": lambda: verify_model(prefix, against=prefix),
        "fold": lambda: fold_checkpoint(prefix, out),
        "prune": lambda: prune_model(prefix, out, SPEC),
        "prune by a graph": lambda: prune_model(prefix, out, SPEC, meta=meta),
        "rewrite": lambda: rewrite_checkpoint(prefix, out, SPEC),
        "rewrite by a graph": lambda: rewrite_checkpoint(prefix, out, SPEC, meta=meta),
    }


@pytest.mark.parametrize(
    "command", ["inspect", "verify", "against", "fold", "prune", "prune by a graph", "rewrite", "rewrite by a graph"]
)
def test_what_needs_names_of_variables_says_so(command, tmp_path):
    prefix = _write(tmp_path)
    before = sorted(os.listdir(str(tmp_path)))
    with pytest.raises(
        SourceError, match=r"ckpt-1: expected .* names of variables.*save the model by tf\.train\.Saver"
    ):
        _refused(prefix, tmp_path)[command]()
    assert sorted(os.listdir(str(tmp_path))) == before


def test_masks_among_objects_are_no_layers(tmp_path):
    prefix = _write(tmp_path, mask=[6, 4], threshold=[])
    for work in (report_model, lambda path: fold_checkpoint(path, str(tmp_path / "out"))):
        with pytest.raises(SourceError, match="expected tensors with the names of variables"):
            work(prefix)
