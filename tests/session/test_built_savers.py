"""mask_graph beside savers that are older than the masks: those of a MetaGraph, and those that code has made before."""

import logging

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from graph_masker import fold_checkpoint, mask_graph
from tests.helpers.bits import assert_same_bits, differences
from tests.helpers.running import initialize
from tests.session.nets import CONFIG, KERNELS, SPEC, STATE, STEPS, all_values, loss, optimizer

HALF = STEPS // 2
SAVERS = {
    "plain": {},
    "sharded": {"sharded": True},
    "first format": {"write_version": tf.train.SaverDef.V1},
    "reshaping": {"reshape": True},
}
LAST = "model_pruning/last_mask_update_step"


def build(use_resource=False, **options):
    """Builds the net with a saver; returns what is to be run by name."""
    with tf.variable_scope(tf.get_variable_scope(), use_resource=use_resource):
        value = loss()
        # On a device of its own: a sharded saver writes two files.
        with tf.device("/cpu:0" if options.get("sharded") else None):
            step = tf.train.get_or_create_global_step()
        train_op = optimizer().minimize(value, step, name="train")
    return value, train_op, tf.train.Saver(**options)


def dense_checkpoint(folder, **options):
    """A dense model, trained a little, with its MetaGraph; returns the prefix."""
    with tf.Graph().as_default(), tf.Session(config=CONFIG) as session:
        _, train_op, saver = build(**options)
        session.run(tf.global_variables_initializer())
        session.run(train_op)
        return saver.save(session, str(folder / "dense.ckpt"))


def go_on(folder, meta, restore, steps, masked=True, fresh=False):
    """Imports a MetaGraph, masks it, trains, and saves by the saver that the import returns."""
    with tf.Graph().as_default() as graph:
        saver = tf.train.import_meta_graph(meta)
        if masked:
            masker = mask_graph(graph, SPEC, losses=tf.losses.get_losses())
            update = masker.update_op
        else:
            update = graph.get_operation_by_name("model_pruning/update_masks")
        if fresh:
            saver = tf.train.Saver()
        with tf.Session(config=CONFIG) as session:
            saver.restore(session, restore)
            start = all_values(session)
            for _ in range(steps):
                session.run(["train", update])
            return start, all_values(session), saver.save(session, str(folder / "model.ckpt"))


def held(prefix):
    reader = tf.train.load_checkpoint(prefix)
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
@pytest.mark.parametrize("kind", SAVERS)
def test_the_saver_of_a_meta_graph(tmp_path, caplog, kind, use_resource):
    dense = dense_checkpoint(tmp_path, use_resource=use_resource, **SAVERS[kind])
    folders = [tmp_path / name for name in ("straight", "half", "again", "same")]
    for folder in folders:
        folder.mkdir()
    start, straight, saved = go_on(folders[0], f"{dense}.meta", dense, STEPS)
    assert "holds no conv/mask" in caplog.text and "masks start at one" in caplog.text
    assert all(np.all(start[name] == 1) for name in STATE if name.endswith("mask"))
    assert_same_bits({name: start[name] for name in held(dense)}, held(dense))
    assert [np.mean(straight[name.replace("kernel", "mask")]) for name in KERNELS] == [0.25, 0.25]
    assert_same_bits(held(saved), straight)
    _, middle, half = go_on(folders[1], f"{dense}.meta", dense, HALF)
    assert differences(middle, straight)
    caplog.clear()
    # With the dense model's graph, masked again, and with the one that was saved beside the masks, as it is.
    for folder, meta, masked in ((folders[2], f"{dense}.meta", True), (folders[3], f"{half}.meta", False)):
        start, end, saved = go_on(folder, meta, half, STEPS - HALF, masked)
        assert_same_bits(start, middle)
        assert_same_bits(end, straight)
        assert_same_bits(held(saved), straight)
    assert not [record for record in caplog.records if "graph_masker" in record.getMessage()]


def test_what_is_saved_folds(tmp_path):
    dense = dense_checkpoint(tmp_path)
    (tmp_path / "model").mkdir()
    _, values, saved = go_on(tmp_path / "model", f"{dense}.meta", dense, STEPS)
    folded = fold_checkpoint(saved, str(tmp_path / "folded.ckpt")).prefix
    found = held(folded)
    assert set(found) == set(held(dense))
    for name in KERNELS:
        assert found[name].tobytes() == (values[name] * values[name.replace("kernel", "mask")]).tobytes()
    with tf.Graph().as_default(), tf.Session(config=CONFIG) as session:
        saver = tf.train.import_meta_graph(f"{folded}.meta")
        saver.restore(session, folded)
        assert_same_bits(all_values(session), found)


def test_a_saver_made_afterwards_restores_a_dense_checkpoint(tmp_path):
    dense = dense_checkpoint(tmp_path)
    (tmp_path / "model").mkdir()
    start, values, saved = go_on(tmp_path / "model", f"{dense}.meta", dense, STEPS, fresh=True)
    assert all(np.all(start[name] == 1) for name in STATE if name.endswith("mask"))
    assert_same_bits(held(saved), values)


def test_a_saver_made_before_by_the_same_code(tmp_path):
    with tf.Graph().as_default() as graph, tf.Session(config=CONFIG) as session:
        value, train_op, saver = build()
        init = tf.global_variables_initializer()
        masker = mask_graph(graph, SPEC, losses=[value])
        # Masking once more changes nothing.
        assert mask_graph(graph, SPEC, losses=[value]).update_op is masker.update_op
        # An init op that is older than the masks initializes them.
        session.run(init)
        for _ in range(STEPS):
            session.run([train_op, masker.update_op])
        values = all_values(session)
        saved = saver.save(session, str(tmp_path / "model.ckpt"))
        assert_same_bits(held(saved), values)
        initialize(session)
        assert differences(all_values(session), values)
        saver.restore(session, saved)
        assert_same_bits(all_values(session), values)


def test_savers_of_parts(tmp_path):
    """Masks go with their weights, and what counts steps with the global step."""
    with tf.Graph().as_default() as graph, tf.Session(config=CONFIG) as session:
        value, _, _ = build()
        conv = [item for item in tf.global_variables() if item.op.name.startswith("conv/")]
        biases = [item for item in tf.global_variables() if item.op.name.endswith("bias")]
        savers = {"conv": tf.train.Saver(conv), "bias": tf.train.Saver(biases)}
        savers["step"] = tf.train.Saver({"weight": conv[0], "step": tf.train.get_global_step()})
        mask_graph(graph, SPEC, losses=[value])
        initialize(session)
        found = {name: set(held(saver.save(session, str(tmp_path / name)))) for name, saver in savers.items()}
    own = {"conv/mask", "conv/threshold"}
    assert found["conv"] == {item.op.name for item in conv} | own
    assert found["bias"] == {item.op.name for item in biases}
    assert found["step"] == {"weight", "step", LAST} | own


def test_a_saver_that_cannot_be_told_apart_warns(tmp_path, caplog):
    caplog.set_level(logging.WARNING, logger="tensorflow")
    with tf.Graph().as_default() as graph, tf.Session(config=CONFIG) as session:
        value = loss()
        names = tf.placeholder_with_default(list(KERNELS), [2])
        kernels = [item for item in tf.global_variables() if item.op.name in KERNELS]
        save = tf.raw_ops.SaveV2(
            prefix=str(tmp_path / "model"), tensor_names=names, shape_and_slices=["", ""], tensors=kernels
        )
        with tf.control_dependencies([save]):
            done = tf.no_op()
        mask_graph(graph, SPEC, losses=[value])
        assert "'SaveV2' saves weights under names that are no constants, and so saves no masks" in caplog.text
        initialize(session)
        session.run(done)
    assert set(held(str(tmp_path / "model"))) == set(KERNELS)


def test_a_warm_start_is_no_saver(tmp_path):
    """It reads a checkpoint, too, by the op that initializes a weight."""
    dense = dense_checkpoint(tmp_path)
    with tf.Graph().as_default() as graph, tf.Session(config=CONFIG) as session:
        value, _, saver = build()
        tf.train.init_from_checkpoint(dense, {name: name for name in KERNELS})
        mask_graph(graph, SPEC, losses=[value])
        session.run(tf.global_variables_initializer())
        values = all_values(session)
        assert {name: values[name].tobytes() for name in KERNELS} == {
            name: held(dense)[name].tobytes() for name in KERNELS
        }
        assert {"conv/mask", LAST} <= set(held(saver.save(session, str(tmp_path / "model"))))


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "none"])
def test_a_session_that_may_have_run_the_graph_is_warned_of(caplog, is_open):
    with tf.Graph().as_default() as graph:
        value, train_op, _ = build()
        session = tf.Session(config=CONFIG) if is_open else None
        with caplog.at_level(logging.WARNING, "tensorflow"):
            mask_graph(graph, SPEC, losses=[value], train_op=train_op)
        if session is not None:
            session.close()
    assert any("a session of this graph is open" in record.getMessage() for record in caplog.records) == is_open
