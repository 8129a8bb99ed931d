"""The .meta file beside a folded checkpoint: imported without the model's code, it predicts and trains on."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import read_all
from graph_masker import PruningSpec, VerificationError, fold_checkpoint
from graph_masker.masker import Masker
from tests.helpers.bits import assert_same_bits, differences
from tests.helpers.losing import lose_a_bit
from tests.helpers.running import single_threaded, variables_by_name

SPEC = PruningSpec(target_sparsity=0.75, begin_step=2, end_step=8, frequency=3)
OPTIMIZERS = {
    "momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.9),
    "adam": lambda: tf.train.AdamOptimizer(0.01),
    "ftrl": lambda: tf.train.FtrlOptimizer(0.1),
}
SLOTS = {"momentum": 4, "adam": 10, "ftrl": 8}


def _model(optimizer):
    images = tf.placeholder(tf.float32, [4, 6, 6, 2], name="images")
    hidden = tf.layers.conv2d(images, 4, 3, activation=tf.nn.relu, name="conv")
    output = tf.identity(tf.layers.dense(tf.layers.flatten(hidden), 3, name="dense"), "output")
    step = tf.train.get_or_create_global_step()
    return output, OPTIMIZERS[optimizer]().minimize(tf.reduce_mean(tf.square(output - 1)), step)


def _batches(count):
    return np.random.RandomState(3).normal(size=[count, 4, 6, 6, 2]).astype(np.float32)


def _train(session, train_op, batches):
    """Returns the output before, and all variables after training on some batches."""
    before = session.run("output:0", {"images:0": batches[0]})
    for batch in batches:
        session.run(train_op, {"images:0": batch})
    return {"output": before, **session.run(variables_by_name(session.graph))}


def _masked_checkpoint(folder, optimizer):
    """Trains and prunes; returns the checkpoint's prefix and what the masked graph predicts."""
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(1)
        masker = Masker(graph, SPEC)
        with masker.watching_gradients():
            output, train_op = _model(optimizer)
        update = masker.attach_update(train_op)
        with single_threaded(graph) as session:
            session.run(tf.global_variables_initializer())
            for batch in _batches(9):
                session.run([train_op, update], {"images:0": batch})
            prefix = tf.train.Saver().save(session, str(folder / "masked" / "model.ckpt"), 9)
            return prefix, session.run(output, {"images:0": _batches(1)[0]})


def _imported(prefix, batches, initialize=False):
    with tf.Graph().as_default() as graph:
        saver = tf.train.import_meta_graph(prefix + ".meta")
        with single_threaded(graph) as session:
            if initialize:
                session.run(tf.global_variables_initializer())
            saver.restore(session, prefix)
            return _train(session, graph.get_collection(tf.GraphKeys.TRAIN_OP), batches)


def _dense(prefix, optimizer, batches, restored=lambda name: True):
    """Trains the original model from a folded checkpoint, by its own code."""
    with tf.Graph().as_default() as graph:
        _, train_op = _model(optimizer)
        variables = [variable for name, variable in variables_by_name(graph).items() if restored(name)]
        with single_threaded(graph) as session:
            session.run(tf.global_variables_initializer())
            tf.train.Saver(variables).restore(session, prefix)
            return _train(session, train_op, batches)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_graph_predicts_as_the_masked_one_and_trains_on_densely(optimizer, tmp_path):
    masked, output = _masked_checkpoint(tmp_path, optimizer)
    result = fold_checkpoint(masked, str(tmp_path / "plain"))
    assert (result.no_graph, result.slots) == (None, 0)
    found = _imported(result.prefix, _batches(5))
    assert_same_bits({"output": found["output"]}, {"output": output})
    assert_same_bits(found, _dense(result.prefix, optimizer, _batches(5)))
    # Negative control: the masked graph, restored and trained on, does something else.
    assert differences({name: value for name, value in _imported(masked, _batches(5)).items() if name in found}, found)


@pytest.mark.parametrize("has_graph", [True, False], ids=["by the graph", "by names"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_slots_can_be_dropped(optimizer, has_graph, tmp_path):
    masked, output = _masked_checkpoint(tmp_path, optimizer)
    if not has_graph:
        (tmp_path / "masked" / "model.ckpt-9.meta").unlink()
    result = fold_checkpoint(masked, str(tmp_path / "plain"), drop_slots=True)
    kept = {"conv/kernel", "conv/bias", "dense/kernel", "dense/bias", "global_step"}
    assert set(read_all(result.prefix)) == kept
    assert result.slots == SLOTS[optimizer]
    if has_graph:
        found = _imported(result.prefix, _batches(5), initialize=True)
        assert_same_bits({"output": found["output"]}, {"output": output})
        assert_same_bits(found, _dense(result.prefix, optimizer, _batches(5), kept.__contains__))
    else:
        assert result.no_graph == "the masked checkpoint has none"


def test_what_does_not_read_back_is_not_published(tmp_path, monkeypatch):
    masked, _ = _masked_checkpoint(tmp_path, "momentum")
    lose_a_bit(monkeypatch, ".meta")
    with pytest.raises(VerificationError, match="does not read back"):
        fold_checkpoint(masked, str(tmp_path / "plain"))
    assert [item.name for item in tmp_path.iterdir()] == ["masked"]


def test_a_graph_that_cannot_be_unmasked_is_left_out_and_said(tmp_path):
    with tf.Graph().as_default() as graph:
        output = tf.layers.dense(tf.placeholder(tf.float32, [2, 3]), 4, name="layer")
        masker = Masker(graph, SPEC)
        masker.mask([output], strict=True)
        tf.reduce_mean(masker.masks["layer/kernel"], name="density")
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            prefix = tf.train.Saver().save(session, str(tmp_path / "masked"))
    result = fold_checkpoint(prefix, str(tmp_path / "plain"))
    assert result.no_graph is not None and "density" in result.no_graph
    assert not (tmp_path / "plain.meta").exists()
