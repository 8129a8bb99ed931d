"""One model as each of the four kinds of files: the same sites, masks and skips, whatever holds the graph."""

from typing import Any, Dict, List, NamedTuple

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from google.protobuf import text_format

from graph_masker import PlanError, PruningSpec, SourceError, inspect_model, mask_graph
from graph_masker.graph_files import ConstantsReader, read_graph, view_of
from graph_masker.inspection import mask_zeros, plan_view, tensors_of
from graph_masker.source import Kind, find_source
from rewriters import DEFAULT_RULES
from tests.helpers.running import initialize, single_threaded

KINDS = {
    "ckpt/model.ckpt-0": Kind.CHECKPOINT,
    "ckpt": Kind.CHECKPOINT,
    "ckpt/model.ckpt-0.meta": Kind.META_GRAPH,
    "saved": Kind.SAVED_MODEL,
    "saved/saved_model.pb": Kind.SAVED_MODEL,
    "frozen.pb": Kind.FROZEN,
    "frozen.pbtxt": Kind.FROZEN,
}


class Written(NamedTuple):
    folder: Any
    zeros: Dict[str, int]


def _model() -> Any:
    images = tf.placeholder(tf.float32, [2, 8, 8, 3], name="images")
    features = tf.layers.conv2d(images, 4, 3, name="conv")
    features = tf.nn.relu(tf.layers.batch_normalization(features, name="norm"))
    features = tf.layers.separable_conv2d(features, 5, 3, name="separable")
    sequence = tf.reshape(features, [2, 16, 5])
    output, _ = tf.nn.dynamic_rnn(tf.nn.rnn_cell.BasicLSTMCell(6), sequence, dtype=tf.float32)
    hidden = tf.cond(
        tf.reduce_sum(output) > 0, lambda: tf.layers.dense(output[:, -1], 7, name="a"), lambda: output[:, 0, :1]
    )
    table = tf.get_variable("table", [9, 4])
    return tf.concat([hidden, tf.nn.embedding_lookup(table, [0, 3])], 1, name="output")


@pytest.fixture(scope="module", params=["ref", "resource"])
def storage(request: Any) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["dense", "masked"])
def written(request: Any, storage: str, tmp_path_factory: Any) -> Written:
    folder = tmp_path_factory.mktemp(f"{storage}-{request.param}")
    zeros: Dict[str, int] = {}
    with tf.Graph().as_default() as graph, tf.variable_scope("", use_resource=storage == "resource"):
        output = _model()
        if request.param == "masked":
            masker = mask_graph(graph, PruningSpec(0.5, 0, 10), outputs=[output])
        with single_threaded(graph) as session:
            initialize(session)
            if request.param == "masked":
                for number, (variable, mask) in enumerate(sorted(masker.masks.items())):
                    value = np.ones(mask.shape.as_list(), np.float32)
                    value.reshape(-1)[: number + 1] = 0
                    mask.load(value, session)
                    zeros[variable] = number + 1
            (folder / "ckpt").mkdir()
            tf.train.Saver().save(session, str(folder / "ckpt" / "model.ckpt-0"))
            tf.saved_model.simple_save(
                session, str(folder / "saved"), {"images": graph.get_tensor_by_name("images:0")}, {"output": output}
            )
            frozen = tf.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["output"])
    (folder / "frozen.pb").write_bytes(frozen.SerializeToString())
    (folder / "frozen.pbtxt").write_text(text_format.MessageToString(frozen))
    return Written(folder, zeros)


def _sites(plan: Any) -> List[Any]:
    return [(s.variable, s.shape, s.op_types, s.dtype, s.mask, s.threshold, s.masked) for s in plan.sites]


def test_every_kind_is_known_for_what_it_is(written: Written) -> None:
    for name, kind in KINDS.items():
        assert find_source(str(written.folder / name)).kind is kind


def test_every_kind_has_the_same_sites_and_zeros(written: Written) -> None:
    plans = {}
    for name in KINDS:
        source = find_source(str(written.folder / name))
        meta_graph = read_graph(source)
        plans[name] = plan_view(view_of(meta_graph), None, DEFAULT_RULES)
        assert mask_zeros(tensors_of(source, meta_graph), plans[name]) == written.zeros, name
    expected = sorted(_sites(plans["ckpt"]))
    assert [item[0] for item in expected] == [
        "a/kernel",
        "conv/kernel",
        "rnn/basic_lstm_cell/kernel",
        "separable/pointwise_kernel",
    ]
    for name, plan in plans.items():
        assert sorted(_sites(plan)) == expected, name


def test_every_kind_lists_the_same_reasons(written: Written) -> None:
    """Of a frozen graph, which has lost what it does not need; and its constants of several entries are listed, too."""
    reasons = {
        name: {skip.variable: skip.reason for skip in inspect_model(str(written.folder / name)).skips} for name in KINDS
    }
    for name in KINDS:
        assert reasons[name]["separable/depthwise_kernel"] == reasons["ckpt"]["separable/depthwise_kernel"]
        assert reasons[name]["conv/bias"] == reasons["ckpt"]["conv/bias"]
        assert "table" in reasons[name]
    assert set(reasons["ckpt"]) == set(reasons["saved"])


def test_constants_read_as_a_checkpoints_tensors_do(written: Written) -> None:
    reader = tensors_of(find_source(str(written.folder / "ckpt")), None)
    source = find_source(str(written.folder / "frozen.pb"))
    constants = ConstantsReader(source.path, read_graph(source).graph_def)
    for name in ("conv/kernel", "norm/gamma", "rnn/basic_lstm_cell/kernel"):
        assert constants.shape(name) == reader.shape(name)
        assert constants.dtype(name) == reader.dtype(name)
        assert constants.tensor(name).tobytes() == reader.tensor(name).tobytes()
    assert constants.tensor("conv/kernel").tobytes() != constants.tensor("a/kernel").tobytes()


def test_constants_called_masks_that_are_none_mask_nothing(tmp_path: Any) -> None:
    """A mask is of zeros and ones, of the weight's shape, and is named as one; another factor is a weight, too."""
    with tf.Graph().as_default() as graph:
        data = tf.placeholder(tf.float32, [2, 3])
        for number, (name, value) in enumerate([("mask", [[2.0]] * 3), ("scale", [[1.0]] * 3)]):
            with tf.name_scope(f"layer{number}"):
                weight = tf.constant([[0.5], [1.5], [2.5]], name="weights")
                tf.matmul(data, tf.multiply(tf.constant(value, name=name), weight, name="masked_weight"))
    path = tmp_path / "frozen.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(PlanError, match=r"2 x reaches MatMul 'layer0/MatMul' .* a product of several weights"):
        inspect_model(str(path))


def test_a_saved_models_graph_is_chosen_by_its_tags(tmp_path: Any) -> None:
    folder = str(tmp_path / "saved")
    builder = tf.saved_model.Builder(folder)
    with tf.Graph().as_default() as graph, single_threaded(graph) as session:
        tf.layers.dense(tf.placeholder(tf.float32, [1, 3]), 2, name="one")
        initialize(session)
        builder.add_meta_graph_and_variables(session, ["train"])
    with tf.Graph().as_default() as graph, single_threaded(graph) as session:
        hidden = tf.layers.dense(tf.placeholder(tf.float32, [1, 3]), 2, name="one")
        tf.layers.dense(hidden, 2, name="two")
        initialize(session)
        builder.add_meta_graph(["serve", "gpu"])
    builder.save()
    assert [site.variable for site in inspect_model(folder, tags=["train"]).sites] == ["one/kernel"]
    assert len(inspect_model(folder, tags=["gpu", "serve"]).sites) == 2
    with pytest.raises(SourceError, match="expected a graph with tags serve, found those with train and gpu, serve"):
        inspect_model(folder)


@pytest.mark.parametrize("name", ["frozen.pb", "frozen.pbtxt", "saved/saved_model.pb", "ckpt/model.ckpt-0.meta"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00no graph", b"\n\x04\n\x00\x12\x00"])
def test_other_data_is_named_for_what_it_should_be(name: str, content: bytes, tmp_path: Any) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"expected a (MetaGraph|SavedModel|frozen graph), found"):
        inspect_model(str(path))


def test_an_op_that_reads_what_is_not_there_is_named(tmp_path: Any) -> None:
    graph_def = tf.GraphDef()
    graph_def.node.add(name="a", op="Identity", input=["b:x"])
    path = tmp_path / "frozen.pb"
    path.write_bytes(graph_def.SerializeToString())
    with pytest.raises(SourceError, match="found that 'a' reads 'b:x'"):
        inspect_model(str(path))
