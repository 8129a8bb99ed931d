"""In-graph clones on several devices, as tf-slim's model_deploy makes them: variables, and so masks, are shared."""

import json

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from deployment import model_deploy
from tensorflow.contrib import slim

from fixtures.estimators import read_all
from graph_masker import masking
from graph_masker.plan import PLAN_FILE, MaskPlan
from graph_masker.schedule import kept_entries
from tests.cli.running import run
from tests.helpers.bits import assert_same_bits, differences
from tests.models.scenes import phase_of, write_scenes
from tests.oracle.nets import NETS
from tests.oracle.training import SPEC, Model, train_auto_masked, train_hand_masked, train_with_auto_mask

CLONES = 2
BATCH = (8, 9, 9, 3)
_SLIM = NETS["slim dense, Adam"]


class _TwoDevices(model_deploy.DeploymentConfig):
    """Clones on CPUs of their own, in place of GPUs."""

    def clone_device(self, clone_index):
        return f"/device:CPU:{clone_index}"


def _deployed(layers, images, config=None):
    """Builds the clones, each on its share of the batch, and their gradients; returns the total loss."""
    config = config or model_deploy.DeploymentConfig(num_clones=CLONES, clone_on_cpu=True)
    shares = iter(tf.split(images, CLONES))

    def clone():
        share = next(shares)
        with slim.arg_scope([layers.conv2d, layers.fully_connected], weights_regularizer=slim.l2_regularizer(1e-3)):
            net = layers.conv2d(share, 6, [3, 3], scope="conv1")
            net = layers.conv2d(net, 8, [3, 3], stride=2, scope="conv2")
            logits = layers.fully_connected(tf.reduce_mean(net, [1, 2]), 5, activation_fn=None, scope="logits")
        tf.losses.mean_squared_error(share[:, 0, :5, 0], logits)

    optimizer = tf.train.MomentumOptimizer(0.05, 0.9)
    loss, gradients = model_deploy.optimize_clones(model_deploy.create_clones(config, clone), optimizer)
    tf.add_to_collection("deployed", (optimizer, gradients))
    return loss


def _apply(loss):
    del loss
    ((optimizer, gradients),) = tf.get_collection("deployed")
    return optimizer.apply_gradients(gradients, tf.train.get_global_step())


MODEL = Model(_deployed, _apply, _SLIM.plain, _SLIM.masked, BATCH, SPEC)


@pytest.fixture(scope="module")
def theirs():
    return train_hand_masked(MODEL, SPEC)


@pytest.mark.parametrize("train", (train_auto_masked, train_with_auto_mask))
def test_training_equals_that_of_contribs_layers_in_the_same_deployment(theirs, train):
    ours = train(MODEL, SPEC, theirs.initial)
    assert_same_bits(ours.flat(), theirs.flat())
    masks = {name: value for name, value in ours.steps[-1].items() if name.endswith("mask")}
    # One for each weight, not one for each clone.
    assert sorted(masks) == ["conv1/mask", "conv2/mask", "logits/mask"]
    assert all(mask.sum() == kept_entries(mask.size, SPEC.target_sparsity) for mask in masks.values())


def test_another_start_is_seen(theirs):
    initial = {**theirs.initial, "conv2/weights": theirs.initial["conv2/weights"] * np.float32(1.0001)}
    assert differences(train_auto_masked(MODEL, SPEC, initial).flat(), theirs.flat())


def test_clones_on_devices_of_their_own():
    found = []
    for config in (None, _TwoDevices(num_clones=CLONES)):
        with tf.Graph().as_default() as graph, masking(SPEC):
            tf.set_random_seed(1)
            tf.train.get_or_create_global_step()
            images = tf.constant(np.random.RandomState(0).normal(size=BATCH), tf.float32)
            train = _apply(_deployed(_SLIM.plain, images, config))
            options = tf.ConfigProto(device_count={"CPU": 2}, intra_op_parallelism_threads=1)
            with tf.Session(config=options) as session:
                session.run(tf.global_variables_initializer())
                for _ in range(SPEC.end_step):
                    session.run(train)
                found.append({v.op.name: session.run(v) for v in tf.global_variables()})
            readers = graph.get_tensor_by_name("conv2/weights/masked_weight:0").consumers()
            devices = {op.device for op in readers if op.type == "Conv2D"}
            assert len(devices) == (1 if config is None else 2)
    one, two = found
    assert_same_bits(two, one)
    assert two["conv2/mask"].sum() == kept_entries(two["conv2/mask"].size, SPEC.target_sparsity)


@pytest.mark.slow
def test_the_apis_legacy_trainer_with_two_clones(tmp_path):
    layout, _ = write_scenes(tmp_path / "data")
    options = ["--sparsity=0.8", "--pruning_start_step=1", "--pruning_end_step=5", "--frequency=2"]
    arguments = [f"--pipeline_config_path={phase_of(layout, 6).config}", f"--train_dir={tmp_path / 'model'}"]
    arguments += ["--num_clones=2", "--clone_on_cpu=True"]
    result = run("run", *options, "--", "-m", "object_detection.legacy.train", *arguments)
    assert result.returncode == 0, result.stderr
    plan = MaskPlan.from_json((tmp_path / "model" / PLAN_FILE).read_text())
    held = read_all(str(tmp_path / "model"))
    assert len(plan.sites) == 18
    for site in plan.sites:
        assert held[site.mask].sum() == kept_entries(site.entries, 0.8)
        # Both clones read the one mask.
        assert len({consumer.op.split("/")[0] for consumer in site.consumers}) == 2, site.consumers
    assert len([name for name in held if name.endswith("mask")]) == 18
    shown = json.loads(run("inspect", "--json", tmp_path / "model").stdout)
    assert len(shown["sites"]) == 18
