"""Stripped frozen graphs: those that freezing the folded model in the dense graph gives."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tensorflow.contrib.model_pruning.python.strip_pruning_vars_lib import strip_pruning_vars_fn

from fixtures.toys import RESOURCE, TOYS
from graph_masker import PruningSpec, SourceError
from graph_masker.masker import Masker
from graph_masker.unmasking import strip_graph
from graph_masker.unmasking.frozen import product_of
from tests.helpers.bits import assert_same_bits, differences
from tests.helpers.running import initialize, normal_value, random_mask, single_threaded, variables_by_name
from tests.helpers.turns import in_turns
from tests.oracle.nets import NETS
from tests.unmasking.comparing import graph_differences

GATHERED_BEHIND_A_HANDLE = {("tied_embedding", RESOURCE)}
BOTH_KINDS = [toy for toy in TOYS if len(toy.kinds) > 1]
# The other kind of each than for MetaGraphs.
EVERY_TOY = [
    *in_turns(BOTH_KINDS, (RESOURCE, "ref"), lambda toy: toy.name),
    *(pytest.param(toy, toy.kinds[0], id=f"{toy.name}-{toy.kinds[0]}") for toy in TOYS if toy not in BOTH_KINDS),
]


def _value(variable):
    name, shape, dtype = variable.op.name, variable.shape.as_list(), variable.dtype.base_dtype.as_numpy_dtype
    if "mask" in name.rpartition("/")[2].split("_") or "/mask/" in name:
        return random_mask(name, shape, dtype)
    return normal_value(name, shape, dtype)


def _frozen(build, use_resource, masker_of=None, values=None):
    """Returns a frozen graph, and the values of its variables, weights folded."""
    with tf.Graph().as_default() as graph, tf.variable_scope(tf.get_variable_scope(), use_resource=use_resource):
        output = tf.identity(build(), "the_output")
        masker = None if masker_of is None else masker_of(graph)
        if masker is not None:
            masker.mask([output], strict=True)
        with single_threaded(graph) as session:
            initialize(session)
            variables = variables_by_name(graph)
            for name, variable in variables.items():
                if values is None or name in values:
                    variable.load(_value(variable) if values is None else values[name], session)
            found = session.run(variables)
            for item in () if masker is None else masker.masked_variables:
                found[item.weight.op.name] = found[item.mask.op.name] * found[item.weight.op.name]
            return tf.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["the_output"]), found


def _run(graph_def):
    """Returns the output for random inputs."""
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        inputs = [op.outputs[0] for op in graph.get_operations() if op.type == "Placeholder"]
        feed = {tensor: normal_value(tensor.name, tensor.shape.as_list()) for tensor in inputs}
        with single_threaded(graph) as session:
            return {"output": session.run("the_output:0", feed)}


def _copy(graph_def):
    copy = tf.GraphDef()
    copy.CopyFrom(graph_def)
    return copy


def _with_one_read(graph_def):
    """Returns a frozen graph in which whoever reads a constant by an Identity reads the constant.

    A resource variable is read by an op for each of its readers. Where a graph is masked, only one of them is an
    ancestor of an output; which reader had the others the frozen graph does not tell, and it makes no difference.
    """
    copy = _copy(graph_def)
    constants = {node.name for node in copy.node if node.op == "Const"}
    reads = {node.name: node.input[0] for node in copy.node if node.op == "Identity" and node.input[0] in constants}
    kept = [node for node in copy.node if node.name not in reads]
    for node in kept:
        node.input[:] = [reads.get(text, text) for text in node.input]
    return tf.GraphDef(node=kept, versions=copy.versions)


@pytest.mark.parametrize(("toy", "kind"), EVERY_TOY)
def test_stripped_toy_is_the_folded_dense_one(toy, kind):
    spec = PruningSpec(target_sparsity=0.5, begin_step=1, end_step=4, frequency=1, also=toy.also)
    masked, values = _frozen(toy.build, kind == RESOURCE, lambda graph: Masker(graph, spec))
    dense, _ = _frozen(toy.build, kind == RESOURCE, values=values)
    stripped = _copy(masked)
    weights = strip_graph(stripped)
    assert {weight.variable for weight in weights} >= set(toy.sites)
    assert all(0 < weight.zeros < weight.entries for weight in weights)
    lines = graph_differences(_with_one_read(stripped), _with_one_read(dense))
    if (toy.name, kind) in GATHERED_BEHIND_A_HANDLE:
        # Freezing makes the op that gathers, and leaves out attributes which the one that replaced it has.
        lines = [line for line in lines if "attribute _class" not in line and "attribute batch_dims" not in line]
    assert not lines, "\n".join(lines[:12])
    if not {node.op for node in masked.node} & {"RefEnter", "RefSwitch"}:  # TensorFlow imports no such frozen graph.
        assert_same_bits(_run(stripped), _run(masked))
    assert graph_differences(_with_one_read(masked), _with_one_read(dense))
    if kind != RESOURCE:
        assert not graph_differences(stripped, dense)


@pytest.mark.parametrize(("name", "kind"), in_turns(NETS, ("ref", RESOURCE)))
def test_contribs_masked_nets(name, kind):
    model, use_resource = NETS[name], kind == RESOURCE

    def build():
        return model.loss(model.masked, tf.placeholder(tf.float32, model.batch, name="batch"))

    masked, values = _frozen(build, use_resource)
    stripped = _copy(masked)
    weights = strip_graph(stripped)
    masks = [node.name for node in masked.node if node.op == "Const" and node.name.endswith("/mask")]
    assert len(weights) == len(masks) > 0
    assert not [node.name for node in stripped.node if node.name in masks or "masked_weight" in node.name]
    if "Regularizer" not in {part for node in masked.node for part in node.name.split("/")}:
        # With weight decay the loss sees the raw weights before, and the pruned ones after.
        assert_same_bits(_run(stripped), _run(masked))
    for weight in weights:
        value = tf.make_ndarray(next(n for n in stripped.node if n.name == weight.variable).attr["value"].tensor)
        assert np.count_nonzero(value) == weight.entries - weight.zeros
    # Negative control: with the masks' values lost, the output is another.
    raw = {name: np.ones_like(value) if name in masks else value for name, value in values.items()}
    assert differences(_run(_frozen(build, use_resource, values=raw)[0]), _run(masked))


@pytest.mark.parametrize("name", ["slim dense, Adam", "tf.layers dense, clipped momentum"])
def test_contribs_tool_gives_the_same_weights(name):
    model = NETS[name]
    masked, _ = _frozen(lambda: model.loss(model.masked, tf.zeros(model.batch)), False)
    theirs = strip_pruning_vars_fn(masked, ["the_output"])
    ours = _copy(masked)
    weights = {weight.variable.partition("/")[0]: weight.variable for weight in strip_graph(ours)}
    assert_same_bits(_run(ours), _run(theirs))
    # Each constant of theirs is called as the product was.
    products = {node.name: node for node in theirs.node if node.name.endswith("masked_weight")}
    constants = {node.name: node for node in ours.node if node.op == "Const"}
    assert len(products) == 3
    for product, node in products.items():
        found = constants[weights[product.partition("/")[0]]]
        assert found.attr["value"].tensor.tensor_content == node.attr["value"].tensor.tensor_content


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32, tf.float64])
def test_products_have_tensorflows_bits(dtype):
    special = [0.0, -0.0, 1.5, -2.0, 3e-8, np.inf, -np.inf, np.nan]
    values = np.concatenate([special, np.random.RandomState(0).normal(size=56)]).astype(dtype.as_numpy_dtype)
    mask = (np.arange(64) % 3 > 0).astype(np.float32).astype(dtype.as_numpy_dtype)
    with tf.Graph().as_default(), tf.Session() as session:
        expected = session.run(tf.multiply(tf.placeholder_with_default(mask, [64]), tf.constant(values)))
    finite = np.isfinite(values.astype(np.float64)) | (mask.astype(np.float32) != 0)
    found = product_of(mask, values)
    assert found.dtype == expected.dtype
    assert found[finite].tobytes() == expected[finite].tobytes()
    # What NaN zero times infinity is, is the processor's affair.
    assert np.all(np.isnan(found[~finite].astype(np.float64)) & np.isnan(expected[~finite].astype(np.float64)))


def _dense_layer(mask_values=None):
    def build():
        return tf.layers.dense(tf.placeholder(tf.float32, [2, 3]), 4, name="layer")

    masked, _ = _frozen(build, False, lambda graph: Masker(graph, PruningSpec(0.5, 1, 4)))
    if mask_values is not None:
        node = next(node for node in masked.node if node.name == "layer/mask")
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(mask_values))
    return masked


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.full([3, 4], 0.5, np.float32), r"a\.pb: expected zeros and ones in 'layer/mask', found others"),
        (np.ones([4, 3], np.float32), r"a\.pb: expected mask 'layer/mask' to be float32\[3, 4\]"),
        (np.ones([3, 4], np.float64), r"a\.pb: expected mask 'layer/mask' to be float32\[3, 4\]"),
    ],
)
def test_masks_that_are_none_are_refused(mask, message):
    with pytest.raises(SourceError, match=message):
        strip_graph(_dense_layer(mask), "a.pb")


def test_a_graph_without_masks_is_refused():
    dense, _ = _frozen(lambda: tf.layers.dense(tf.placeholder(tf.float32, [2, 3]), 4, name="layer"), False)
    with pytest.raises(SourceError, match=r"a\.pb: expected a masked graph, found no product"):
        strip_graph(dense, "a.pb")
