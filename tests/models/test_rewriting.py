"""Checkpoints of real models, rewritten: musicnn's, as its authors have published them, and those of slim's nets."""

import os

import musicnn
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from nets import nets_factory
from tensorflow.contrib import slim

from graph_masker import PruningSpec, rewrite_checkpoint
from graph_masker.masker import Masker
from graph_masker.schedule import kept_entries
from graph_masker.steps import OWN_STEP
from tests.helpers.bits import assert_same_bits, differences
from tests.helpers.running import initialize, single_threaded, variables_by_name

SPEC = PruningSpec(target_sparsity=0.75, begin_step=3, end_step=7, frequency=2)
SIZE = 96


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """The first session of a process settles for all of them how many threads an op may use."""
    with single_threaded(tf.Graph()):
        yield


def _songs(number):
    random = np.random.RandomState(number)
    return {
        "model/Placeholder:0": random.normal(size=(2, 187, 96)).astype(np.float32),
        "model/Placeholder_1:0": random.randint(0, 2, (2, 50)).astype(np.float32),
        "model/Placeholder_2:0": True,
        "Placeholder:0": 1e-3,
    }


def _seeded(source, path):
    """Writes a .meta file anew with seeds: without them no two runs of its dropout are equal."""
    meta_graph = tf.MetaGraphDef()
    with open(source, "rb") as stream:
        meta_graph.ParseFromString(stream.read())
    for node in meta_graph.graph_def.node:
        if "seed2" in node.attr:
            node.attr["seed"].i = node.attr["seed2"].i = 3
    with open(path, "wb") as stream:
        stream.write(meta_graph.SerializeToString())


def _train(prefix, steps, feed, meta=None):
    """Returns all variables after each step of the graph that lies beside a checkpoint."""
    with tf.Graph().as_default() as graph:
        saver = tf.train.import_meta_graph(meta or f"{prefix}.meta")
        with single_threaded(graph) as session:
            saver.restore(session, prefix)
            after = []
            for number in range(steps):
                session.run(graph.get_collection(tf.GraphKeys.TRAIN_OP), feed(number))
                after.append(session.run(variables_by_name(graph)))
            return after


@pytest.mark.parametrize(
    "name, sites",
    [("MSD_musicnn", 10), ("MTT_musicnn", 10), ("MSD_vgg", 6), ("MTT_vgg", 6)],
)
@pytest.mark.slow
def test_musicnns_published_checkpoints_go_on_training(name, sites, tmp_path):
    """Their prefix is a folder alone (`.index`, `.meta`), their graphs have no step, their state file is another's."""
    source = os.path.join(os.path.dirname(musicnn.__file__), name)
    meta = str(tmp_path / "seeded.meta")
    _seeded(os.path.join(source, ".meta"), meta)
    result = rewrite_checkpoint(source, str(tmp_path / "masked"), SPEC, meta)
    assert len(result.plan.sites) == sites
    found, dense = _train(result.prefix, 8, _songs), _train(os.path.join(source, ""), 5, _songs, meta)
    # Until the first update masks are ones, and change nothing.
    for masked, expected in zip(found[:2], dense):
        assert_same_bits({key: masked[key] for key in expected}, expected)
    # The update at step 5 asks for zeros, which the gradients of the next step see; negative control: another step.
    assert differences({key: found[3][key] for key in dense[4]}, dense[4])
    assert [int(values[OWN_STEP]) for values in found] == list(range(1, 9))
    for site in result.plan.sites:
        assert np.count_nonzero(found[-1][site.mask]) == kept_entries(site.entries, 0.75), site.variable


def _images(number):
    return {"batch:0": np.random.RandomState(number).normal(size=(2, SIZE, SIZE, 3)).astype(np.float32)}


def _build(name):
    tf.set_random_seed(1)
    tf.train.get_or_create_global_step()
    net = nets_factory.get_network_fn(name, 5, weight_decay=4e-5, is_training=False)
    logits, _ = net(tf.placeholder(tf.float32, [2, SIZE, SIZE, 3], name="batch"))
    tf.losses.softmax_cross_entropy(tf.one_hot([1, 3], 5), logits)
    optimizer = tf.train.RMSPropOptimizer(0.001, momentum=0.9)
    return slim.learning.create_train_op(tf.losses.get_total_loss(), optimizer, clip_gradient_norm=1.0)


NETS = [("mobilenet_v1", 15), pytest.param("inception_v2", 70, marks=pytest.mark.slow)]


@pytest.mark.parametrize("name, sites", NETS)
def test_slim_nets_train_as_if_masked_from_the_start(name, sites, tmp_path):
    with tf.Graph().as_default() as graph:
        train_op, saver = _build(name), tf.train.Saver()
        with single_threaded(graph) as session:
            initialize(session)
            session.run(train_op, _images(99))
            dense = saver.save(session, str(tmp_path / "dense"))
    result = rewrite_checkpoint(dense, str(tmp_path / "masked"), SPEC)
    assert len(result.plan.sites) == sites
    with tf.Graph().as_default() as graph:
        masker = Masker(graph, SPEC)
        with masker.watching_gradients():
            train_op = _build(name)
        update, saver = masker.attach_update(train_op), tf.train.Saver()
        with single_threaded(graph) as session:
            saver.restore(session, result.prefix)
            for number in range(7):
                session.run([train_op, update], _images(number))
            expected = session.run(variables_by_name(graph))
    assert_same_bits(_train(result.prefix, 7, _images)[-1], expected)
    for site in result.plan.sites:
        assert np.count_nonzero(expected[site.mask]) == kept_entries(site.entries, 0.75), site.variable
