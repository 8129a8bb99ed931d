"""A rewritten checkpoint trains, by its own graph or a masked model's code, as the model masked from the start does."""

import re
from dataclasses import replace

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import CONV, batches, plain_model_fn, read_all, run_config, saver_before_gradients
from graph_masker import PruningSpec, auto_mask, rewrite_checkpoint
from graph_masker.plan import LAST_UPDATE_STEP
from graph_masker.steps import OWN_STEP
from tests.helpers.bits import assert_same_bits, differences, flip_last_bit
from tests.helpers.running import single_threaded
from tests.helpers.turns import in_turns, representatives
from tests.oracle.nets import NETS, PLAIN_NETS
from tests.oracle.training import (
    SPEC,
    save_dense,
    train_auto_masked,
    train_from_files,
    train_hand_masked,
    train_under_masking,
)

ALL = {**NETS, **PLAIN_NETS}
STEPS = 4


def _rewritten(model, folder, spec=SPEC, use_resource=False, **saving):
    """Returns prefixes of a dense checkpoint and of the masked one that it becomes."""
    dense = save_dense(model, str(folder / "dense" / "model"), STEPS, use_resource, **saving)
    return dense, rewrite_checkpoint(dense, str(folder / "masked" / "model"), spec).prefix


def _values(prefix, graph_of):
    """Returns the variables of the graph beside `graph_of`, as a checkpoint holds them: parts by their own names."""
    with tf.Graph().as_default() as graph:
        saver = tf.train.import_meta_graph(f"{graph_of}.meta")
        variables = {variable.op.name: variable for variable in graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)}
        with tf.Session() as session:
            saver.restore(session, prefix)
            return session.run(variables)


@pytest.mark.parametrize("name, kind", in_turns(ALL, ("ref", "resource")))
def test_its_own_graph_trains_as_the_masked_model_does(name, kind, tmp_path):
    use_resource = kind == "resource"
    dense, masked = _rewritten(ALL[name], tmp_path, use_resource=use_resource)
    expected = train_auto_masked(ALL[name], SPEC, _values(dense, dense), use_resource)
    found = train_from_files(ALL[name], masked)
    assert_same_bits(found.flat(), expected.flat())
    masks = [value for key, value in found.steps[-1].items() if re.search(r"mask(/part_\d+)?$", key)]
    assert masks and any(np.any(mask == 0) for mask in masks), "nothing was pruned"
    # What the saver of the .meta file has saved, it restores: masks, thresholds and all.
    last = {key: value for key, value in found.steps[-1].items() if key != "loss"}
    assert_same_bits(_values(f"{masked}-trained", masked), last)


@pytest.mark.parametrize("name", representatives(NETS, list(NETS)[::2]))
def test_contribs_hand_masked_model_restores_it_and_trains_alike(name, tmp_path):
    _, masked = _rewritten(NETS[name], tmp_path, NETS[name].spec)
    expected = train_hand_masked(NETS[name], NETS[name].spec, prefix=masked)
    found = train_from_files(NETS[name], masked)
    assert_same_bits(found.flat(), expected.flat())


@pytest.mark.parametrize("criterion", ["movement", "taylor"])
def test_what_criteria_add_up_begins_at_zero_and_is_saved(criterion, tmp_path):
    model = NETS["slim dense, Adam"]
    spec = PruningSpec(0.8, begin_step=10, end_step=50, frequency=10, criterion=criterion)
    dense, masked = _rewritten(model, tmp_path, spec)
    added = {key: value for key, value in read_all(masked).items() if key not in read_all(dense)}
    sums = [key for key in added if key.endswith(criterion)]
    assert len(sums) == 3
    assert all(not added[key].any() for key in sums)
    expected = train_auto_masked(model, spec, read_all(dense))
    found = train_from_files(model, masked)
    assert_same_bits(found.flat(), expected.flat())
    trained = read_all(f"{masked}-trained")
    assert all(trained[key].any() for key in sums)


@pytest.mark.parametrize("model_fn", [plain_model_fn, saver_before_gradients], ids=["usual", "saver first"])
def test_an_estimator_goes_on_as_from_the_dense_checkpoint(model_fn, tmp_path):
    spec = PruningSpec(target_sparsity=0.75, begin_step=5, end_step=14, frequency=3)
    directories = {name: str(tmp_path / name) for name in ("dense", "auto", "masked")}

    def train(model, name, steps):
        with tf.Graph().as_default():
            estimator = tf.estimator.Estimator(model, directories[name], run_config())
            estimator.train(batches(), steps=steps)

    train(model_fn, "dense", STEPS)
    train(model_fn, "auto", STEPS)
    rewrite_checkpoint(directories["dense"], directories["masked"], spec)
    assert tf.train.latest_checkpoint(directories["masked"]).endswith(f"model.ckpt-{STEPS}")
    by_graph = _trained_by_graph(directories["masked"], 16)
    for name in ("auto", "masked"):
        train(auto_mask(model_fn, spec), name, 16)
    expected = read_all(directories["auto"])
    assert expected["conv/mask"].mean() == 0.25
    assert expected[LAST_UPDATE_STEP] == 14
    assert_same_bits(read_all(directories["masked"]), expected)
    assert_same_bits(by_graph, expected)


def _trained_by_graph(model_dir, steps):
    prefix = tf.train.latest_checkpoint(model_dir)
    with tf.Graph().as_default() as graph:
        saver = tf.train.import_meta_graph(f"{prefix}.meta")
        variables = {variable.op.name: variable for variable in graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)}
        with single_threaded(graph) as session:
            saver.restore(session, prefix)
            session.run([op for op in graph.get_operations() if op.type == "MakeIterator"])
            for _ in range(steps):
                session.run(graph.get_collection(tf.GraphKeys.TRAIN_OP))
            return session.run(variables)


def _no_count(loss):
    return tf.train.AdamOptimizer(0.01).minimize(loss)


def _gradient_descent_by_hand(loss):
    """An update that no optimizer makes: plain assignments, in one group."""
    variables = tf.trainable_variables()
    gradients = tf.gradients(loss, variables)
    assigned = [variable.assign(variable - 0.05 * gradient) for variable, gradient in zip(variables, gradients)]
    with tf.control_dependencies(assigned):
        return tf.assign_add(tf.train.get_global_step(), 1, name="counted").op


@pytest.mark.parametrize("minimize", [_no_count, _gradient_descent_by_hand])
def test_steps_of_its_own_and_optimizers_written_by_hand(minimize, tmp_path):
    model = replace(NETS["slim dense, Adam"], minimize=minimize)
    _, masked = _rewritten(model, tmp_path)
    found = train_from_files(model, masked).flat()
    counted = {key: found.pop(key) for key in sorted(found) if key.endswith(OWN_STEP)}
    # The session API hangs the update on the train op in the same way, with the model's code.
    assert_same_bits(found, train_under_masking(model, SPEC, masked).flat())
    assert sorted(int(value) for value in counted.values()) == (list(range(1, 61)) if minimize is _no_count else [])
    masks = [value for key, value in found.items() if key.startswith("step 60: ") and key.endswith("mask")]
    assert masks and all(np.any(mask == 0) for mask in masks)


def test_one_flipped_bit_is_seen():
    value = {CONV: np.arange(4, dtype=np.float32)}
    assert differences({CONV: flip_last_bit(value[CONV])}, value)
