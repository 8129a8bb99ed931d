"""Tools of tf.contrib, on graphs that graph_masker masked: they find masks where contrib's own layers put them."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tensorflow.contrib import quantize, slim
from tensorflow.contrib.model_pruning.python.strip_pruning_vars_lib import strip_pruning_vars_fn

from graph_masker.masker import Masker
from tests.helpers.bits import assert_same_bits, differences
from tests.helpers.graphs import snapshot
from tests.helpers.running import initialize, normal_value, random_mask, single_threaded, variables_by_name
from tests.oracle.nets import NETS
from tests.oracle.training import SPEC, contribs_pruning, train_hand_masked, train_with_contribs_update

KINDS = pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
COLLECTIONS = ("masks", "thresholds", "masked_weights", "kernel")
IMAGES = (4, 8, 8, 3)


def _variables(use_resource):
    return tf.variable_scope(tf.get_variable_scope(), use_resource=use_resource)


CONV, SHARED, LSTM = (
    "slim conv, batch norm, decay, clipped momentum",
    "shared convolutions, clipped momentum",
    "LSTM in dynamic_rnn, clipped momentum",
)
CACHED = (
    "a variable's cached value (RNN cells have one) is moved to the product: TensorFlow takes it for the raw value, "
    "and finds an imported variable by following it back"
)
PRUNED = [
    pytest.param(CONV, False, id="conv-ref"),
    pytest.param(CONV, True, id="conv-resource"),
    pytest.param(SHARED, False, id="shared convolutions-ref"),
    pytest.param(SHARED, True, id="shared convolutions-resource"),
    pytest.param(LSTM, False, id="LSTM-ref"),
    pytest.param(LSTM, True, id="LSTM-resource"),
]


@pytest.mark.parametrize(("name", "use_resource"), PRUNED)
def test_pruning_updates_our_masks(name, use_resource):
    _assert_pruning_updates_our_masks(NETS[name], use_resource, pruning_first=True)


@KINDS
def test_pruning_made_after_masking_updates_our_masks(use_resource):
    _assert_pruning_updates_our_masks(NETS[CONV], use_resource, pruning_first=False)


def _assert_pruning_updates_our_masks(model, use_resource, pruning_first):
    theirs = train_hand_masked(model, model.spec, use_resource)
    ours = train_with_contribs_update(model, model.spec, theirs.initial, use_resource, pruning_first)
    assert_same_bits(ours.flat(), theirs.flat())
    masks = [value for key, value in ours.steps[-1].items() if key.endswith("/mask")]
    assert masks and all(0.75 < 1 - mask.mean() < 0.85 for mask in masks), "contrib's update pruned nothing"


def _slim_outputs():
    net = slim.conv2d(tf.placeholder(tf.float32, IMAGES, name="batch"), 6, [3, 3], scope="conv1")
    params = {"is_training": False}
    net = slim.conv2d(net, 6, [3, 3], normalizer_fn=slim.batch_norm, normalizer_params=params, scope="conv2")
    return slim.fully_connected(tf.layers.flatten(net), 5, scope="logits")


def _recurrent_outputs():
    sequences = tf.placeholder(tf.float32, (4, 5, 3), name="batch")
    return tf.nn.dynamic_rnn(tf.nn.rnn_cell.BasicLSTMCell(7, name="lstm"), sequences, dtype=tf.float32)[0]


@KINDS
@pytest.mark.parametrize("build", [_slim_outputs, _recurrent_outputs], ids=["conv and dense", "LSTM"])
def test_pruning_variables_are_stripped_from_a_frozen_graph(build, use_resource):
    with tf.Graph().as_default() as graph, _variables(use_resource):
        outputs = tf.identity(build(), "outputs")
        masker = Masker(graph, SPEC)
        masker.mask([outputs], strict=True)
        batch = normal_value("batch", graph.get_tensor_by_name("batch:0").shape.as_list())
        with single_threaded(graph) as session:
            initialize(session)
            dense = session.run(outputs, {"batch:0": batch})
            for name, mask in masker.masks.items():
                mask.load(random_mask(name, mask.shape.as_list()), session)
            masked = session.run(outputs, {"batch:0": batch})
            frozen = tf.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["outputs"])
    stripped = strip_pruning_vars_fn(frozen, ["outputs"])
    added = {site.mask for site in masker.plan.sites} | {site.threshold for site in masker.plan.sites}
    assert added & {node.name for node in frozen.node}
    assert not [node.name for node in stripped.node if node.name.startswith(tuple(added))]
    assert {node.op for node in stripped.node if "mask" in node.name} == {"Const"}
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(stripped, name="")
        with single_threaded(graph) as session:
            assert_same_bits({"outputs": session.run("outputs:0", {"batch:0": batch})}, {"outputs": masked})
    assert differences({"outputs": dense}, {"outputs": masked})


def _quantizable():
    """A convolution whose batch norm the quantizer folds into its weights, and one without."""
    images, norm = tf.placeholder(tf.float32, IMAGES, name="batch"), {"decay": 0.9, "scale": True}
    net = slim.conv2d(images, 6, [3, 3], normalizer_fn=slim.batch_norm, normalizer_params=norm, scope="conv1")
    net = slim.conv2d(net, 4, [3, 3], scope="conv2")
    return tf.reduce_mean(slim.conv2d(net, 4, [1, 1], activation_fn=None, scope="logits"), [1, 2], name="outputs")


QUANTIZED = {"conv1/weights", "conv2/weights", "logits/weights"}


def _assert_quantized_training_passes_masks(graph, masker, outputs):
    """Trains two steps, then zeroes all masks: no weight may change the outputs any more."""
    loss, step = tf.reduce_mean(tf.square(outputs - 1.0)), tf.train.get_or_create_global_step()
    with masker.watching_gradients():
        train_op = masker.attach_update(tf.train.MomentumOptimizer(0.05, 0.9).minimize(loss, step))
    assert set(masker.masks) == QUANTIZED
    assert [op for op in graph.get_operations() if op.type == "FakeQuantWithMinMaxVars"]
    variables, batch = variables_by_name(graph), {"batch:0": normal_value("batch", IMAGES)}
    with single_threaded(graph) as session:
        initialize(session)
        first = session.run(loss, batch)
        for _ in range(2):
            session.run(train_op, batch)
        state = session.run(variables)
        assert np.isfinite(first) and differences({"loss": session.run(loss, batch)}, {"loss": first})

        def outputs_of(**changes):
            # A forward pass in training moves the ranges of activations.
            for name, value in {**state, **changes}.items():
                variables[name].load(value, session)
            return {"outputs": session.run(outputs, batch)}

        ones = {mask.op.name: np.ones_like(state[mask.op.name]) for mask in masker.masks.values()}
        zeros = {name: np.zeros_like(value) for name, value in ones.items()}
        for name in masker.masks:
            other = {name: normal_value(name, state[name].shape)}
            assert_same_bits(outputs_of(**zeros, **other), outputs_of(**zeros))
            assert differences(outputs_of(**ones, **other), outputs_of(**ones)), name
        # The ranges are those of what is left, too.
        halves = {name: np.resize(np.float32([0, 1, 1]), value.shape) for name, value in ones.items()}
        for name, mask in masker.masks.items():
            gone, kept = ({name: state[name] + 50 * (halves[mask.op.name] == side)} for side in (0, 1))
            assert_same_bits(outputs_of(**halves, **gone), outputs_of(**halves))
            assert differences(outputs_of(**halves, **kept), outputs_of(**halves)), name


@KINDS
def test_a_masked_graph_can_be_quantized(use_resource):
    with tf.Graph().as_default() as graph, _variables(use_resource):
        outputs, masker = _quantizable(), Masker(graph, SPEC)
        masker.mask([outputs], strict=True)
        quantize.create_training_graph(graph)
        _assert_quantized_training_passes_masks(graph, masker, outputs)


@KINDS
def test_a_statistic_is_of_the_masked_weight_once_there_is_a_mask(use_resource):
    """It starts from what the weight starts from, where there is no mask yet."""
    with tf.Graph().as_default() as graph, _variables(use_resource):
        kernel = tf.get_variable("kernel", [6, 4])
        scale = tf.Variable(tf.reduce_max(tf.abs(kernel.initialized_value())), trainable=False, name="scale")
        outputs = tf.matmul(
            tf.placeholder(tf.float32, [2, 6], name="batch"), kernel / scale.assign(tf.reduce_max(kernel))
        )
        masker = Masker(graph, SPEC)
        masker.mask([outputs], strict=True)
        batch = {"batch:0": normal_value("batch", [2, 6])}
        with single_threaded(graph) as session:
            initialize(session)
            value = session.run(kernel)
            assert session.run(scale) == np.max(np.abs(value))
            kept = value < np.max(value)
            masker.masks["kernel"].load(kept.astype(np.float32), session)
            session.run(outputs, batch)
            assert session.run(scale) == max(0, np.max(value[kept])) < np.max(value)


NO_RULE = "no read rule follows a weight through FakeQuantWithMinMaxVars"


@KINDS
def test_masks_of_a_graph_quantized_since_are_recognised(use_resource):
    with tf.Graph().as_default() as graph, _variables(use_resource):
        outputs = _quantizable()
        Masker(graph, SPEC).mask([outputs], strict=True)
        quantize.create_training_graph(graph)
        plan = Masker(graph, SPEC).mask([outputs])
    assert {site.variable for site in plan.sites if site.masked} == QUANTIZED


@KINDS
@pytest.mark.parametrize("delay", [0, 1, 1000])
def test_a_quantized_graph_can_be_masked(use_resource, delay):
    with tf.Graph().as_default() as graph, _variables(use_resource):
        outputs, masker = _quantizable(), Masker(graph, SPEC)
        quantize.create_training_graph(graph, quant_delay=delay)
        masker.mask([outputs], strict=True)
        _assert_quantized_training_passes_masks(graph, masker, outputs)


def _meta_graph(name, use_resource, by_hand=False):
    """Returns a masked net's MetaGraphDef, its loss's name and the names that its collections hold."""
    model = NETS[name]
    with tf.Graph().as_default() as graph, _variables(use_resource):
        tf.train.get_or_create_global_step()
        layers = model.masked if by_hand else model.plain
        loss = model.loss(layers, tf.placeholder(tf.float32, model.batch, name="batch"))
        if not by_hand:
            Masker(graph, model.spec).mask([loss], strict=True)
        return tf.train.export_meta_graph(), loss.name, _collections(graph)


def _collections(graph):
    return {key: [item.name for item in graph.get_collection(key)] for key in COLLECTIONS}


IMPORTED = [
    pytest.param(SHARED, False, id="shared convolutions-ref"),
    pytest.param(SHARED, True, id="shared convolutions-resource"),
    pytest.param(LSTM, False, id="LSTM-ref"),
    pytest.param(LSTM, True, id="LSTM-resource"),
]


@pytest.mark.parametrize(("name", "use_resource"), IMPORTED)
def test_an_imported_masked_graph_is_recognised(name, use_resource):
    meta_graph, loss, collections = _meta_graph(name, use_resource)
    masks = collections["masks"]
    assert masks and {key: len(names) for key, names in collections.items()} == dict.fromkeys(COLLECTIONS, len(masks))
    with tf.Graph().as_default() as graph:
        tf.train.import_meta_graph(meta_graph)
        assert _collections(graph) == collections
        before, masker = snapshot(graph), Masker(graph, NETS[name].spec)
        plan = masker.mask([graph.get_tensor_by_name(loss)], strict=True)
        assert [f"{site.mask}:0" for site in plan.sites] == masks
        assert [f"{site.threshold}:0" for site in plan.sites] == collections["thresholds"]
        assert [f"{site.masked_weight}:0" for site in plan.sites] == collections["masked_weights"]
        assert [f"{site.variable}:0" for site in plan.sites] == collections["kernel"]
        assert all(site.masked for site in plan.sites)
        assert snapshot(graph) == before and _collections(graph) == collections


@pytest.mark.parametrize("name", [SHARED, LSTM], ids=["shared convolutions", "LSTM"])
def test_pruning_updates_the_masks_of_an_imported_graph(name):
    meta_graph, _, collections = _meta_graph(name, use_resource=False)
    with tf.Graph().as_default() as graph:
        tf.train.import_meta_graph(meta_graph)
        update, variables = contribs_pruning(SPEC).mask_update_op(), variables_by_name(graph)
        with single_threaded(graph) as session:
            initialize(session)
            variables["global_step"].load(SPEC.end_step, session)
            session.run(update)
            masks = session.run(collections["masks"])
        assert all(0.75 < 1 - mask.mean() < 0.85 for mask in masks)


@pytest.mark.parametrize("by_hand", [True, False], ids=["contrib's layers", "graph_masker"])
def test_pruning_cannot_update_resource_variables_of_any_imported_graph(by_hand):
    """A file's collections name handles, which contrib's update takes for values."""
    meta_graph, _, _ = _meta_graph(SHARED, use_resource=True, by_hand=by_hand)
    with tf.Graph().as_default():
        tf.train.import_meta_graph(meta_graph)
        with pytest.raises(TypeError, match="resource"):
            contribs_pruning(SPEC).mask_update_op()
