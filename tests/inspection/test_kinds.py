"""One model as each of the four kinds of files: the same sites, masks and skips, whatever holds the graph."""

from typing import Any, List

import pytest
import tensorflow.compat.v1 as tf

from fixtures.kinds import KINDS, Written, write_every_kind
from graph_masker import PlanError, SourceError, inspect_model
from graph_masker.files.graphs import ConstantsReader, read_graph, view_of
from graph_masker.files.source import find_source
from graph_masker.inspection import mask_zeros, plan_view, tensors_of
from rewriters import DEFAULT_RULES
from tests.helpers.running import initialize, single_threaded


@pytest.fixture(scope="module", params=["ref", "resource"])
def storage(request: Any) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["dense", "masked"])
def written(request: Any, storage: str, tmp_path_factory: Any) -> Written:
    folder = tmp_path_factory.mktemp(f"{storage}-{request.param}")
    return write_every_kind(folder, storage == "resource", request.param == "masked")


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
        "head/kernel",
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
