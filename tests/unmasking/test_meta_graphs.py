"""The unmasked graph is the dense one: node by node, or else step by step in training."""

import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import SPEC, batches, plain_model_fn, run_config, saver_before_gradients
from fixtures.toys import RESOURCE, TOYS
from graph_masker import PlanError, PruningSpec, SourceError, auto_mask
from graph_masker.unmasking import unmask_meta_graph
from tests.helpers.bits import assert_same_bits
from tests.helpers.bits import differences as bit_differences
from tests.helpers.turns import in_turns
from tests.oracle.nets import NETS, PLAIN_NETS
from tests.unmasking.building import (
    AFTERWARDS,
    BEFORE,
    BY_HAND,
    DENSE,
    meta_graph_of,
    net_training,
    toy_training,
    trained,
)
from tests.unmasking.comparing import differences

KINDS = pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
REF = "ref"
ALL_NETS = {**NETS, **PLAIN_NETS}
BOTH_KINDS = [toy for toy in TOYS if len(toy.kinds) > 1]
EVERY_TOY = [
    *in_turns(BOTH_KINDS, (REF, RESOURCE), lambda toy: toy.name),
    *(pytest.param(toy, toy.kinds[0], id=f"{toy.name}-{toy.kinds[0]}") for toy in TOYS if toy not in BOTH_KINDS),
]

# Graphs that are others than the dense ones, and why. They train as these do (test_other_graphs_train_alike).
OTHERWISE = {
    # In a loop, autodiff keeps each step's product on a stack; a weight that enters the loop it takes from outside.
    ("read_inside_loop", "ref", BEFORE),
    # Rows of the masked weight are gathered by another op than rows behind a handle; so are their gradients.
    ("tied_embedding", "resource", BEFORE),
}


def _toy(toy, kind, way, learns=True):
    spec = PruningSpec(target_sparsity=0.5, begin_step=1, end_step=4, frequency=1, also=toy.also)
    return meta_graph_of(toy_training(toy, learns), way, kind == RESOURCE, spec)


def _net(name, way, use_resource):
    model = ALL_NETS[name]
    return meta_graph_of(net_training(model, model.masked if way == BY_HAND else model.plain), way, use_resource)


def _assert_same(masked, dense):
    lines = differences(unmask_meta_graph(masked), dense)
    assert not lines, "\n".join(lines[:12])


@pytest.mark.parametrize(("name", "kind"), in_turns(ALL_NETS, (REF, RESOURCE)))
def test_unmasked_training_graph_is_the_dense_one(name, kind):
    dense = _net(name, DENSE, kind == RESOURCE)
    for way in (BEFORE, AFTERWARDS):
        masked = _net(name, way, kind == RESOURCE)
        _assert_same(masked, dense)
        # Negative control: the masked graph is another.
        assert len(differences(masked, dense)) > 10


@pytest.mark.parametrize(("toy", "kind"), EVERY_TOY)
def test_unmasked_toy_is_the_dense_one(toy, kind):
    dense = _toy(toy, kind, DENSE)
    for way in (BEFORE, AFTERWARDS):
        try:
            masked = _toy(toy, kind, way)
        except PlanError:
            assert way == AFTERWARDS  # Refused: then there is no such graph.
            continue
        if (toy.name, kind, way) in OTHERWISE:
            assert differences(unmask_meta_graph(masked), dense)
        else:
            _assert_same(masked, dense)


@pytest.mark.parametrize("kind", ["ref", "resource"])
@pytest.mark.parametrize("name", ["conv2d", "shared_weight", "partitioned", "cond_both_branches", "tied_embedding"])
def test_unmasked_inference_graph_is_the_dense_one(name, kind):
    toy = next(toy for toy in TOYS if toy.name == name)
    _assert_same(_toy(toy, kind, BEFORE, learns=False), _toy(toy, kind, DENSE, learns=False))


@pytest.mark.parametrize(("name", "kind", "way"), sorted(OTHERWISE))
def test_other_graphs_train_alike(name, kind, way):
    toy = next(toy for toy in TOYS if toy.name == name)
    found, dense = trained(unmask_meta_graph(_toy(toy, kind, way))), trained(_toy(toy, kind, DENSE))
    assert_same_bits(found, dense)
    assert bit_differences(trained(_toy(toy, kind, way)), dense)


def _turned(learns):
    """A transposed kernel that a layer reads, and a regularizer: masking gave the regularizer a copy of the op."""

    def build():
        rows, kernel = tf.placeholder(tf.float32, [3, 4], name="rows"), tf.get_variable("kernel", [5, 4])
        turned = tf.transpose(kernel)
        output = tf.tanh(rows @ turned)
        loss = tf.reduce_sum(output) + 1e-2 * tf.nn.l2_loss(turned)
        train_op = tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss, tf.train.get_global_step()) if learns else None
        return output, loss, train_op

    return build


@KINDS
def test_copies_for_regularizers_are_the_original_op_again(use_resource):
    masked, dense = (meta_graph_of(_turned(False), way, use_resource) for way in (BEFORE, DENSE))
    assert [node.name for node in masked.graph_def.node if node.name == "transpose/raw"]
    _assert_same(masked, dense)
    # Gradients came back through both ops and were added up behind them.
    found = unmask_meta_graph(meta_graph_of(_turned(True), BEFORE, use_resource))
    assert not [node.name for node in found.graph_def.node if node.name == "transpose/raw"]
    assert_same_bits(trained(found), trained(meta_graph_of(_turned(True), DENSE, use_resource)))


@pytest.mark.parametrize(("name", "kind"), in_turns(NETS, (RESOURCE, REF)))
def test_contribs_masked_nets_train_as_dense_ones(name, kind):
    use_resource = kind == RESOURCE
    found = unmask_meta_graph(_net(name, BY_HAND, use_resource))
    assert not [
        node.name for node in found.graph_def.node if node.name.endswith(("/mask", "/threshold", "masked_weight"))
    ]
    assert not {"masks", "thresholds", "masked_weights", "kernel"} & set(found.collection_def)
    assert_same_bits(trained(found), trained(_net(name, DENSE, use_resource)))


@pytest.mark.parametrize("name", ["branches of a reused scope, Adam", "kernels in parts, Adam"])
def test_imported_graphs_train_as_dense_ones(name):
    dense = trained(_net(name, DENSE, True))
    assert_same_bits(trained(unmask_meta_graph(_net(name, BEFORE, True))), dense)
    assert bit_differences(trained(_net(name, BEFORE, True)), dense)


def _estimator_graphs(model_fn, folder):
    """Returns the MetaGraphs that an Estimator writes: beside its checkpoint, and into a SavedModel."""
    with tf.Graph().as_default():
        estimator = tf.estimator.Estimator(model_fn, str(folder), run_config())
        estimator.train(batches(), steps=2)
        exported = estimator.export_saved_model(str(folder / "exported"), _receiver)
    training = tf.MetaGraphDef.FromString((folder / "model.ckpt-2.meta").read_bytes())
    with tf.Graph().as_default(), tf.Session() as session:
        serving = tf.saved_model.loader.load(session, [tf.saved_model.tag_constants.SERVING], exported.decode())
    return training, serving


def _receiver():
    images = tf.placeholder(tf.float32, [8, 6, 6, 2], name="images")
    return tf.estimator.export.TensorServingInputReceiver(images, images)


@pytest.mark.parametrize("criterion", ["magnitude", "movement", "taylor"])
@pytest.mark.parametrize("model_fn", [plain_model_fn, saver_before_gradients])
def test_graphs_of_estimators_are_the_dense_ones(model_fn, criterion, tmp_path):
    spec = PruningSpec.from_dict({**SPEC.to_dict(), "criterion": criterion})
    masked = _estimator_graphs(auto_mask(model_fn, spec), tmp_path / "masked")
    for found, dense in zip(masked, _estimator_graphs(model_fn, tmp_path / "dense")):
        _assert_same(found, dense)


def test_dense_graphs_are_refused():
    with pytest.raises(SourceError, match=r"some\.meta: expected a masked graph, found no masked weight"):
        unmask_meta_graph(_net("slim dense, Adam", DENSE, False), "some.meta")
