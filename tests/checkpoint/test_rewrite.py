"""rewrite_checkpoint adds masks and nothing else, whatever else the checkpoint and its graph hold."""

import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from graph_masker import (
    inspect_model,
    masking,
    rewrite_checkpoint,
)
from tests.checkpoint.rewriting import SPEC, check_training, half_masked, meta_graph_of, net, read, save
from tests.helpers.bits import assert_same_bits
from tests.helpers.folders import files_of
from tests.helpers.running import initialize, variables_by_name

STATE = {"first/mask", "first/threshold", "second/mask", "second/threshold", "model_pruning/last_mask_update_step"}


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """A dense checkpoint directory; tests copy it before they change it."""
    return os.path.dirname(save(tmp_path_factory.mktemp("dense") / "train"))


def test_a_directory_becomes_a_directory_and_the_source_stays(dense, tmp_path):
    before = files_of(dense)
    shown = []
    result = rewrite_checkpoint(
        dense, str(tmp_path / "new"), SPEC, progress=lambda done, total: shown.append(done / total)
    )
    assert files_of(dense) == before
    assert tf.train.latest_checkpoint(str(tmp_path / "new")) == result.prefix == str(tmp_path / "new" / "model")
    assert sorted(os.listdir(str(tmp_path / "new"))) == [
        "checkpoint",
        "model.data-00000-of-00001",
        "model.index",
        "model.meta",
    ]
    assert set(result.added) == STATE
    assert shown[-1] == 1
    assert [site.variable for site in result.plan.sites] == ["first/kernel", "second/kernel"]
    old, new = read(os.path.join(dense, "model")), read(result.prefix)
    assert_same_bits({key: value for key, value in new.items() if key not in STATE}, old)
    assert new["model_pruning/last_mask_update_step"] == -1
    assert all(np.all(new[key] == 1) for key in STATE if key.endswith("mask"))
    assert all(new[key] == 0 for key in STATE if key.endswith("threshold"))
    assert all(site.masked for site in inspect_model(str(tmp_path / "new")).sites)


def test_the_graph_differs_by_its_masks_alone(dense, tmp_path):
    result = rewrite_checkpoint(dense, str(tmp_path / "new"), SPEC)
    old, new = meta_graph_of(os.path.join(dense, "model")), meta_graph_of(result.prefix)
    moved, waiting, extended = set(), set(), set()
    nodes = {node.name: node for node in new.graph_def.node}
    assert [node.name for node in new.graph_def.node][: len(old.graph_def.node)] == [n.name for n in old.graph_def.node]
    for node in old.graph_def.node:
        found = nodes[node.name]
        if node.op == "SaveV2" or (node.op == "Const" and node.name.startswith("save/SaveV2")):
            extended.add(node.name)
            continue
        data = [text for text in node.input if not text.startswith("^")]
        wait = [text for text in node.input if text.startswith("^")]
        for before, after in zip(data, [text for text in found.input if not text.startswith("^")]):
            if before != after and f"{before}:0" != after and before != f"{after}:0":
                moved.add((node.name, before, after))
        extra = {text for text in found.input if text.startswith("^")} - set(wait)
        assert set(wait) <= set(found.input)
        waiting.update((node.name, text.rpartition("/")[0]) for text in extra)
        del node.input[:], found.input[:]
        assert node == found, node.name
    assert extended == {"save/SaveV2", "save/SaveV2/tensor_names", "save/SaveV2/shape_and_slices"}
    weights = {
        ("first/kernel/read", "first/kernel/masked_weight"),
        ("second/kernel/read", "second/kernel/masked_weight"),
    }
    assert {(before, after) for _, before, after in moved if "kernel" in before} == weights
    forward = {name for name, before, _ in moved if "kernel" in before}
    assert {"first/MatMul", "second/MatMul"} <= forward
    # What else moves are gradients of the two weights, read by the optimizer.
    others = [(before, after) for _, before, after in moved if "kernel" not in before]
    assert all("grad" in before and "masked_weight_grad" in after for before, after in others)
    assert {name for name, _ in waiting} == {"Momentum", "save/restore_all"}
    for key, collection in old.collection_def.items():
        kind = collection.WhichOneof("kind")
        values = list(getattr(collection, kind).value)
        assert list(getattr(new.collection_def[key], kind).value)[: len(values)] == values, key
    assert new.saver_def == old.saver_def
    assert new.graph_def.versions == old.graph_def.versions
    assert new.meta_info_def.tensorflow_version == old.meta_info_def.tensorflow_version
    listed = {op.name for op in new.meta_info_def.stripped_op_list.op}
    assert {op.name for op in old.meta_info_def.stripped_op_list.op} <= listed
    assert {node.op for node in new.graph_def.node} <= listed | {
        f.signature.name for f in new.graph_def.library.function
    }


def _tables_and_types():
    """Variables of types that are no weights, an empty one, and a table in the saver."""
    tf.Variable([True, False], trainable=False, name="flags")
    tf.Variable([b"text", b"\x00\xff"], trainable=False, name="words", dtype=tf.string)
    tf.Variable(np.zeros([0, 3], np.float32), trainable=False, name="empty")
    tf.Variable(np.array([-(2**40), 7]), trainable=False, name="wide", use_resource=True)
    tf.Variable([1.5, -0.0], dtype=tf.float16, trainable=False, name="half")
    tf.Variable([1.5], dtype=tf.bfloat16, trainable=False, name="brain")
    table = tf.lookup.experimental.DenseHashTable(tf.int64, tf.float32, 0.0, 0, -1)
    tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, table.insert([3, 4], [0.5, 0.25]))


def test_tensors_of_every_type_and_tables_are_copied_and_restored(tmp_path):
    dense = save(tmp_path / "dense", also=_tables_and_types)
    result = rewrite_checkpoint(dense, str(tmp_path / "masked"), SPEC)
    old, new = read(dense), read(result.prefix)
    assert {"flags", "words", "empty", "wide", "half", "brain"} < set(old)
    assert any("table" in name.lower() for name in old)
    strings = {key for key, value in old.items() if value.dtype == object}
    assert all(np.array_equal(old[key], new[key]) for key in strings)
    copied = set(old) - strings
    assert_same_bits({key: new[key] for key in copied}, {key: old[key] for key in copied})
    check_training(result.prefix)


class _OneByOne(tf.train.Saver):
    """Builds an op of its own to restore each variable, as savers of old releases did."""

    def build(self):
        from tensorflow.python.training.saver import BaseSaverBuilder

        self._builder = BaseSaverBuilder(self._write_version)
        super().build()


def _averaged():
    step = tf.train.get_or_create_global_step()
    average = tf.train.ExponentialMovingAverage(0.9, step)
    with tf.control_dependencies([tf.get_default_graph().get_collection(tf.GraphKeys.TRAIN_OP)[0]]):
        tf.add_to_collection("averages", average.apply(tf.trainable_variables()))


def _by_names_of_its_own():
    """A saver that is given a dict, as those of moving averages are."""
    return tf.train.Saver({f"other/{variable.op.name}": variable for variable in tf.global_variables()})


@pytest.mark.parametrize(
    "saver",
    [_OneByOne, _by_names_of_its_own, lambda: tf.train.Saver(sharded=True)],
    ids=["one by one", "names of its own", "sharded"],
)
def test_savers_of_every_build_take_in_the_masks(saver, tmp_path):
    result = rewrite_checkpoint(save(tmp_path / "dense", saver=saver), str(tmp_path / "masked"), SPEC)
    assert set(result.added) == STATE
    assert result.train_ops == ("Momentum",)
    check_training(result.prefix)


def test_every_saver_of_a_graph_takes_in_the_masks_of_its_weights(tmp_path):
    def savers():
        weights = tf.trainable_variables()
        for variables in (weights[:2], [tf.train.get_global_step()], tf.global_variables()):
            tf.add_to_collection(tf.GraphKeys.SAVERS, tf.train.Saver(variables))
        return tf.train.Saver()

    prefix = rewrite_checkpoint(save(tmp_path / "dense", saver=savers), str(tmp_path / "masked"), SPEC).prefix
    with tf.Graph().as_default() as graph, tf.Session() as session:
        tf.train.import_meta_graph(f"{prefix}.meta").restore(session, prefix)
        held = []
        for number, saver in enumerate(graph.get_collection(tf.GraphKeys.SAVERS)):
            held.append(set(read(saver.save(session, str(tmp_path / f"saved{number}"), write_meta_graph=False))))
            session.run([variable.initializer for variable in variables_by_name(graph).values()])
            saver.restore(session, str(tmp_path / f"saved{number}"))
            tf.train.Saver().restore(session, prefix)
    assert held[0] == {"first/kernel", "first/bias", "first/mask", "first/threshold"}
    assert held[1] == {"global_step"}
    assert held[2] >= STATE


def test_masks_lie_in_the_shards_of_their_weights(tmp_path):
    def build():
        step = tf.train.get_or_create_global_step()
        rows = tf.placeholder(tf.float32, [4, 6], name="rows")
        with tf.device("/cpu:0"):
            net = tf.layers.dense(rows, 5, tf.nn.relu, name="first")
        with tf.device("/cpu:1"):
            net = tf.layers.dense(net, 3, name="second")
        loss = tf.losses.softmax_cross_entropy(tf.one_hot([0, 1, 2, 0], 3), net)
        return loss, tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss, step)

    config = tf.ConfigProto(device_count={"CPU": 2}, allow_soft_placement=False)
    dense = save(tmp_path / "dense", build, lambda: tf.train.Saver(sharded=True), steps=0, config=config)
    prefix = rewrite_checkpoint(dense, str(tmp_path / "masked"), SPEC).prefix
    nodes = {node.name: node for node in meta_graph_of(prefix).graph_def.node}
    shards = [set(node.input) for node in nodes.values() if node.op == "SaveV2"]
    for scope in ("first", "second"):
        assert [f"{scope}/mask" in shard for shard in shards] == [f"{scope}/kernel" in shard for shard in shards]
        assert nodes[f"{scope}/mask"].device == nodes[f"{scope}/kernel"].device != ""
        (assign,) = (
            n for n in nodes.values() if n.op == "Assign" and n.input[0] == f"{scope}/mask" and "restore" in n.name
        )
        assert assign.device == nodes[f"{scope}/kernel"].device
    check_training(prefix, config=config)


def test_a_graph_placed_on_other_machines(tmp_path):
    """Made by a chief with parameter servers; its checkpoint is one of the same model on one machine."""
    with tf.Graph().as_default():
        with tf.device(tf.train.replica_device_setter(ps_tasks=2)):
            net()
        tf.train.Saver(sharded=True).export_meta_graph(str(tmp_path / "far.meta"))
    result = rewrite_checkpoint(save(tmp_path / "dense"), str(tmp_path / "new"), SPEC, meta=str(tmp_path / "far.meta"))
    nodes = {node.name: node for node in meta_graph_of(result.prefix).graph_def.node}
    for scope in ("first", "second"):
        for name in ("mask", "threshold", "kernel/masked_weight"):
            assert nodes[f"{scope}/{name}"].device == nodes[f"{scope}/kernel"].device != ""
    assert {nodes[f"{scope}/mask"].device for scope in ("first", "second")} <= {"/job:ps/task:0", "/job:ps/task:1"}
    check_training(result.prefix, clear_devices=True)


def test_the_first_format_of_checkpoints_is_read(tmp_path):
    first = save(tmp_path / "dense", saver=lambda: tf.train.Saver(write_version=tf.train.SaverDef.V1))
    assert os.path.isfile(first)
    result = rewrite_checkpoint(first, str(tmp_path / "masked"), SPEC)
    old, new = read(first), read(result.prefix)
    assert_same_bits({key: new[key] for key in old}, old)
    # Its saver goes on to write that format, masks included.
    check_training(result.prefix)


def test_loops_and_conds_survive(tmp_path):
    def build():
        step = tf.train.get_or_create_global_step()
        outputs, _ = tf.nn.dynamic_rnn(
            tf.nn.rnn_cell.BasicLSTMCell(4, name="cell"),
            tf.random.stateless_normal([2, 5, 3], [1, 2]),
            dtype=tf.float32,
        )
        kernel = tf.get_variable("shared/kernel", [4, 4])
        net = tf.cond(tf.reduce_sum(outputs) > 0, lambda: outputs[:, -1] @ kernel, lambda: outputs[:, 0] @ kernel)
        loss = tf.reduce_sum(tf.square(net))
        return loss, tf.train.GradientDescentOptimizer(0.1).minimize(loss, step)

    dense = save(tmp_path / "dense", build)
    prefix, *others = (rewrite_checkpoint(dense, str(tmp_path / name), SPEC).prefix for name in ("masked", "b", "c"))
    for other in others:
        # Contexts hold maps, which have no order of their own.
        assert (tmp_path / f"{other}.meta").read_bytes() == (tmp_path / f"{prefix}.meta").read_bytes()
    old, new = (meta_graph_of(item).collection_def for item in (str(tmp_path / "dense" / "model"), prefix))
    for key in ("while_context", "cond_context"):
        assert len(new[key].bytes_list.value) == len(old[key].bytes_list.value) > 0
    with tf.Graph().as_default() as graph:
        tf.train.import_meta_graph(f"{prefix}.meta")
        for key in ("while_context", "cond_context"):
            for context in graph.get_collection(key):
                names = {op.name for op in graph.get_operations()}
                assert {value.partition(":")[0] for value in context.to_proto().values_def.values} <= names
        # Whoever differentiates the imported graph again meets contexts that are whole.
        loss = graph.get_tensor_by_name("Sum_1:0")
        weights = [variable for variable in tf.trainable_variables() if variable.shape.ndims == 2]
        assert all(gradient is not None for gradient in tf.gradients(loss, weights))


def test_a_weight_that_passes_the_end_of_a_cond_is_left_dense_and_told(tmp_path):
    """How gradients that exist pass there is not known; in the model's own code, the weight is masked."""

    def build():
        step = tf.train.get_or_create_global_step()
        kernel = tf.get_variable("late/kernel", [5, 5])
        quantized = tf.cond(step > 1, lambda: tf.fake_quant_with_min_max_args(kernel), lambda: tf.identity(kernel))
        rows = tf.random.stateless_normal([4, 6], [1, 2])
        loss = tf.reduce_sum(tf.square(tf.layers.dense(rows, 5, name="first") @ quantized))
        return loss, tf.train.GradientDescentOptimizer(0.1).minimize(loss, step)

    plan = rewrite_checkpoint(save(tmp_path / "dense", build), str(tmp_path / "masked"), SPEC).plan
    assert [site.variable for site in plan.sites] == ["first/kernel"]
    told = {skip.variable: skip.reason for skip in plan.skips}
    reason = "it passes Merge 'cond/Merge', where a cond ends, and the graph holds its gradients already"
    assert told["late/kernel"] == reason
    with tf.Graph().as_default(), masking(SPEC) as masker:
        build()
        assert set(masker.masks) == {"late/kernel", "first/kernel"}


def test_without_a_train_op_there_is_no_update(tmp_path):
    def build():
        rows = tf.placeholder(tf.float32, [4, 6], name="rows")
        return tf.layers.dense(tf.layers.dense(rows, 5, name="first"), 3, name="second"), tf.no_op()

    result = rewrite_checkpoint(save(tmp_path / "dense", build), str(tmp_path / "masked"), SPEC)
    assert result.train_ops == ()
    assert set(result.added) == STATE


def test_masks_are_added_where_there_are_none(tmp_path):
    with tf.Graph().as_default() as graph:
        half_masked()
        mask = variables_by_name(graph)["first/mask"]
        saver = tf.train.Saver()
        with tf.Session() as session:
            initialize(session)
            kept = np.indices((6, 5)).sum(0) % 2
            mask.load(kept.astype(np.float32), session)
            dense = saver.save(session, str(tmp_path / "dense"))
    result = rewrite_checkpoint(dense, str(tmp_path / "masked"), SPEC)
    assert set(result.added) == {"second/mask", "second/threshold", "model_pruning/last_mask_update_step"}
    assert np.array_equal(read(result.prefix)["first/mask"], kept)
    assert {site.variable: site.mask for site in result.plan.sites} == {
        "first/weights": "first/mask",
        "second/kernel": "second/mask",
    }
    check_training(result.prefix)
