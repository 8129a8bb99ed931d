"""rewrite_checkpoint refuses what it cannot use in one clear line, and leaves nothing behind."""

import os
import shutil

import pytest
import tensorflow.compat.v1 as tf

from graph_masker import (
    DestinationError,
    GraphMaskerError,
    PlanError,
    PruningSpec,
    SourceError,
    VerificationError,
    inspect_model,
    rewrite_checkpoint,
)
from tests.checkpoint.rewriting import SPEC, check_training, half_masked, meta_graph_of, save
from tests.helpers.folders import files_of
from tests.helpers.losing import lose_a_bit
from tests.helpers.running import initialize


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """A dense checkpoint directory; tests copy it before they change it."""
    return os.path.dirname(save(tmp_path_factory.mktemp("dense") / "train"))


def test_a_graph_whose_masks_are_updated_already_is_refused(tmp_path):
    from tensorflow.contrib import model_pruning

    def build():
        loss, train_op = half_masked()
        pruning = model_pruning.Pruning(model_pruning.get_pruning_hparams().parse("target_sparsity=0.5"))
        return loss, tf.group(train_op, pruning.conditional_mask_update_op())

    with tf.Graph().as_default():
        build()
        saver = tf.train.Saver()
        with tf.Session() as session:
            initialize(session)
            dense = saver.save(session, str(tmp_path / "dense"))
    with pytest.raises(SourceError, match=r"expected a graph that updates no masks, found '.*first/mask_assign'"):
        rewrite_checkpoint(dense, str(tmp_path / "masked"), SPEC)


def test_what_is_masked_already_is_refused(dense, tmp_path):
    masked = rewrite_checkpoint(dense, str(tmp_path / "once"), SPEC)
    with pytest.raises(SourceError, match="found masks on all 2 weights"):
        rewrite_checkpoint(str(tmp_path / "once"), str(tmp_path / "twice"), SPEC)
    only = PruningSpec(0.5, begin_step=0, end_step=4, include="first")
    rewrite_checkpoint(dense, str(tmp_path / "first"), only)
    with pytest.raises(SourceError, match="model_pruning/update_masks"):
        rewrite_checkpoint(str(tmp_path / "first"), str(tmp_path / "twice"), SPEC)
    # Masks in the data, none in the graph.
    with pytest.raises(SourceError, match="found mask 'first/mask'"):
        rewrite_checkpoint(masked.prefix, str(tmp_path / "twice"), SPEC, meta=os.path.join(dense, "model.meta"))
    assert not os.path.exists(str(tmp_path / "twice"))


def _unknown_op(meta_graph):
    meta_graph.graph_def.node.add(name="strange/op", op="MadeUpByNobody")


def _unknown_op_in_a_function(meta_graph):
    function = meta_graph.graph_def.library.function.add()
    function.signature.name = "body"
    function.node_def.add(name="inner", op="MadeUpByNobody")


def _lost_input(meta_graph):
    next(node for node in meta_graph.graph_def.node if node.op == "MatMul").input[0] = "nowhere"


def _lost_collection_item(meta_graph):
    meta_graph.collection_def["train_op"].node_list.value[0] = "nowhere"


def _damaged_context(meta_graph):
    meta_graph.collection_def["while_context"].bytes_list.value.append(b"\xff\xff")


def _other_saver(meta_graph):
    meta_graph.saver_def.save_tensor_name = "first/kernel:0"


def _names_computed(meta_graph):
    meta_graph.graph_def.node.add(name="computed", op="Identity", input=["save/SaveV2/tensor_names"]).attr["T"].type = 7
    next(node for node in meta_graph.graph_def.node if node.op == "SaveV2").input[1] = "computed"


@pytest.mark.parametrize(
    "change, message",
    [
        (_unknown_op, "'strange/op' of type MadeUpByNobody"),
        (_unknown_op_in_a_function, "'inner' of type MadeUpByNobody"),
        (_lost_input, "nowhere"),
        (_lost_collection_item, "nowhere"),
        (_damaged_context, "cannot be imported"),
        (_other_saver, "expected a saver whose 'first/kernel:0' ends in a SaveV2 op"),
        (_names_computed, "'save/SaveV2': expected constant text in input 1"),
    ],
)
def test_graphs_that_cannot_be_used(change, message, dense, tmp_path):
    meta_graph = meta_graph_of(os.path.join(dense, "model"))
    change(meta_graph)
    path = tmp_path / "bad.meta"
    path.write_bytes(meta_graph.SerializeToString())
    with pytest.raises(SourceError, match=message) as caught:
        rewrite_checkpoint(dense, str(tmp_path / "new"), SPEC, meta=str(path))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert os.listdir(str(tmp_path)) == ["bad.meta"]


def test_data_and_graph_of_different_models(dense, tmp_path):
    def wider():
        rows = tf.placeholder(tf.float32, [4, 7], name="rows")
        loss = tf.reduce_sum(tf.layers.dense(tf.layers.dense(rows, 5, name="first"), 3, name="second"))
        return loss, tf.no_op()

    def other():
        rows = tf.placeholder(tf.float32, [4, 7], name="rows")
        return tf.reduce_sum(tf.layers.dense(rows, 5, name="third")), tf.no_op()

    for build, message in ((wider, r"'first/kernel' of shape \(7, 5\)"), (other, "expected 'third/kernel'")):
        meta = save(tmp_path / build.__name__, build) + ".meta"
        with pytest.raises(SourceError, match=message):
            rewrite_checkpoint(dense, str(tmp_path / "new"), SPEC, meta=meta)
    assert not (tmp_path / "new").exists()


def test_no_graph_no_guess(dense, tmp_path):
    bare = str(tmp_path / "bare")
    shutil.copytree(dense, bare)
    os.remove(os.path.join(bare, "model.meta"))
    with pytest.raises(SourceError, match=r"give a \.meta file of the same model \(--meta FILE\)"):
        rewrite_checkpoint(bare, str(tmp_path / "new"), SPEC)
    with pytest.raises(SourceError, match=r"found only a \.meta file"):
        (tmp_path / "graph").mkdir()
        shutil.copy(os.path.join(dense, "model.meta"), str(tmp_path / "graph"))
        rewrite_checkpoint(str(tmp_path / "graph" / "model.meta"), str(tmp_path / "new"), SPEC)
    with pytest.raises(PlanError, match="nothing_like_it"):
        rewrite_checkpoint(
            dense, str(tmp_path / "new"), PruningSpec(0.5, begin_step=0, end_step=4, include="nothing_like_it")
        )
    result = rewrite_checkpoint(bare, str(tmp_path / "new"), SPEC, meta=os.path.join(dense, "model.meta"))
    check_training(result.prefix)


@pytest.mark.parametrize("ending", [".index", ".data-00000-of-00001", ".meta"])
@pytest.mark.parametrize("damage", ["cut", "flip", "gone", "empty"])
def test_damaged_files(ending, damage, dense, tmp_path):
    source = str(tmp_path / "source")
    shutil.copytree(dense, source)
    path = os.path.join(source, f"model{ending}")
    with open(path, "rb") as stream:
        content = bytearray(stream.read())
    if damage == "gone":
        os.remove(path)
    else:
        middle = len(content) // 2
        content[middle] ^= 0x55
        with open(path, "wb") as stream:
            stream.write(content[:middle] if damage == "cut" else b"" if damage == "empty" else content)
    try:
        result = rewrite_checkpoint(source, str(tmp_path / "new"), SPEC)
    except GraphMaskerError as error:
        assert "\n" not in str(error)
        assert source in str(error) or damage == "flip"
        assert sorted(os.listdir(str(tmp_path))) == ["source"]
    else:
        # A .meta file has no checksum: a flipped bit can leave it one.
        assert (ending, damage) == (".meta", "flip")
        assert all(site.masked for site in inspect_model(result.prefix).sites)


def test_destinations(dense, tmp_path):
    source = str(tmp_path / "source")
    shutil.copytree(dense, source)
    os.symlink(source, str(tmp_path / "link"))
    before = files_of(source)
    (tmp_path / "file").write_text("mine")
    for src, dst, message in (
        (source, source, "found the source itself"),
        (source, os.path.join(source, "new"), "is inside the source"),
        (source, str(tmp_path / "link" / "new"), "is inside the source"),
        (str(tmp_path / "link"), os.path.join(source, "new"), "is inside the source"),
        (source, str(tmp_path / "file" / "new"), "cannot be written"),
        (os.path.join(source, "model"), os.path.join(source, "model"), "found the source itself"),
        (os.path.join(source, "model"), "", "expected the name"),
    ):
        with pytest.raises(DestinationError, match=message):
            rewrite_checkpoint(src, dst, SPEC)
    assert files_of(source) == before
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(os.listdir(str(tmp_path))) == ["file", "link", "source"]
    # A file of the destination's that another checkpoint could need is not replaced.
    (tmp_path / "taken.meta").write_text("mine")
    with pytest.raises(DestinationError, match=r"taken\.meta: exists already"):
        rewrite_checkpoint(os.path.join(source, "model"), str(tmp_path / "taken"), SPEC)


def test_what_does_not_read_back_is_not_published(dense, tmp_path, monkeypatch):
    lose_a_bit(monkeypatch, ".meta")
    with pytest.raises(VerificationError, match="does not read back"):
        rewrite_checkpoint(dense, str(tmp_path / "new"), SPEC)
    assert os.listdir(str(tmp_path)) == []
