"""Replicas in one graph: gradients of each, loops of one's own, Keras, failures, and strategies of one device."""

import contextlib
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tensorflow.python.eager import def_function
from tensorflow.python.ops import gradients_util

from fixtures.estimators import read_all
from graph_masker import PlanError, PruningSpec, UsageError, auto_mask, auto_mask_estimator, fold_checkpoint, masking
from graph_masker.schedule import kept_entries
from tests.distribution import fit
from tests.distribution.test_mirrored import (
    BATCH,
    SHAPES,
    SPEC,
    _batches,
    _built,
    _config,
    _Look,
    _model,
    _momentum,
    _strategy,
    _train,
)
from tests.helpers.bits import assert_same_bits, differences

HALF = BATCH // 2


class _Fetch(tf.train.SessionRunHook):
    """Notes what the graph computes of a collection in each step."""

    def __init__(self, collection):
        self.seen = []
        self._collection = collection

    def before_run(self, run_context):
        return tf.train.SessionRunArgs(run_context.session.graph.get_collection(self._collection))

    def after_run(self, run_context, run_values):
        self.seen.append(run_values.results)


def test_each_replica_has_the_exact_gradient_of_its_own_share(tmp_path):
    def model_fn(features, labels, mode):
        size = int(np.prod([6, 3]))
        start = tf.constant_initializer((np.arange(size) - 8.5).reshape(6, 3) / 4)
        outputs = tf.layers.dense(features, 3, name="only", use_bias=False, kernel_initializer=start)
        loss = tf.reduce_mean(tf.square(outputs - labels)) * 0.75
        # It moves nothing: weights stay what they are.
        optimizer = tf.train.GradientDescentOptimizer(0.0)
        gradients = optimizer.compute_gradients(loss)
        tf.add_to_collection("own", gradients[0][0])
        train = optimizer.apply_gradients(gradients, tf.train.get_global_step())
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train)

    fetch, look = _Fetch("own"), _Look("only/")
    _train(tmp_path / "run", 6, model_fn, _strategy(), hooks=[fetch, look])
    weight, mask = look.seen[-1]["only/kernel"], look.seen[-1]["only/mask"]
    assert mask.sum() == kept_entries(18, 0.75)
    random = np.random.RandomState(0)
    images, targets = random.randint(-2, 3, [BATCH, 6]) * 1.0, random.randint(-2, 3, [BATCH, 3]) * 1.0
    shares = [(images[:HALF], targets[:HALF]), (images[HALF:], targets[HALF:])]

    def gradient(share, kept):
        rows, wanted = share
        # An Estimator has each replica minimize its share of the mean.
        return kept * (rows.T @ (rows @ (weight * mask) - wanted) * (2 * 0.75 / (BATCH * 3)))

    found = fetch.seen[-1]
    assert len(found) == 2
    for own, share, other in zip(found, shares, reversed(shares)):
        assert_same_bits({"": own + 0.0}, {"": gradient(share, mask) + 0.0})
        # Neither the gradient of what is masked, nor that of the other replica.
        assert differences({"": own + 0.0}, {"": gradient(share, np.ones_like(mask)) + 0.0})
        assert differences({"": own + 0.0}, {"": gradient(other, mask) + 0.0})


def _looped(strategy, steps):
    """Trains by a loop of its own under masking(); returns the values of all variables after every step."""
    with tf.Graph().as_default() as graph, masking(SPEC):
        with strategy.scope():
            tf.train.get_or_create_global_step()
            size = BATCH // strategy.num_replicas_in_sync
            iterator = strategy.make_input_fn_iterator(lambda _: _batches(size)())

            def step(inputs):
                # Outside Estimators gradients are added up, where those take the mean.
                optimizer = tf.train.GradientDescentOptimizer(2.0**-6 / strategy.num_replicas_in_sync)
                spec = _built(*inputs, tf.estimator.ModeKeys.TRAIN, optimizer)
                with tf.control_dependencies([spec.train_op]):
                    return tf.identity(spec.loss)

            train = strategy.experimental_local_results(strategy.experimental_run(step, iterator))
        look, seen = _Look("/"), []
        with tf.Session(config=tf.ConfigProto(device_count={"CPU": 2})) as session:
            session.run(iterator.initialize())
            session.run(tf.global_variables_initializer())
            session.run(train)
            look.begin()
            values = {name: value for name, value in look._values.items() if name.startswith(("first", "second"))}
            seen.append(session.run(values))
            for _ in range(steps - 1):
                session.run(train)
                seen.append(session.run(values))
        assert graph.get_collection("masks")
    return seen


def test_loops_of_ones_own_under_masking():
    one = _looped(tf.distribute.OneDeviceStrategy("/cpu:0"), 5)
    two = _looped(_strategy(), 5)
    for step, (alone, both) in enumerate(zip(one, two), 1):
        for name in SHAPES:
            mask = name.replace("kernel", "mask")
            for item in (name, mask):
                assert_same_bits({"": both[item]}, {"": both[f"{item}/replica_1"]})
            if step <= 3:  # Those that are exact.
                assert_same_bits({"": both[mask]}, {"": alone[mask]})
                assert_same_bits({"": both[name]}, {"": alone[name]})
            if step >= SPEC.end_step:
                assert both[mask].sum() == kept_entries(both[mask].size, SPEC.target_sparsity)
    assert differences({"": two[0]["first/mask"]}, {"": two[3]["first/mask"]})


@pytest.mark.slow
def test_one_device_strategy_is_as_none(tmp_path):
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    config = _config(tmp_path / "one", strategy)
    estimator = tf.estimator.Estimator(auto_mask(_momentum, SPEC), config=config)
    estimator.train(_batches(BATCH), max_steps=8)
    none = _train(tmp_path / "none", 8, _momentum)
    assert_same_bits(read_all(estimator.latest_checkpoint()), read_all(none.latest_checkpoint()))


@pytest.mark.slow
def test_four_devices_and_batch_norm(tmp_path):
    devices = [f"/cpu:{index}" for index in range(4)]

    def model_fn(features, labels, mode):
        hidden = tf.layers.dense(tf.cast(features, tf.float32), 32, name="first")
        hidden = tf.nn.relu(tf.layers.batch_normalization(hidden, training=mode == "train"))
        loss = tf.reduce_mean(tf.square(tf.layers.dense(hidden, 3, name="second") - tf.cast(labels, tf.float32)))
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            train = tf.train.AdamOptimizer(0.01).minimize(loss, tf.train.get_global_step())
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train)

    session = tf.ConfigProto(device_count={"CPU": 4}, intra_op_parallelism_threads=1)
    strategy = tf.distribute.MirroredStrategy(devices)
    config = tf.estimator.RunConfig(str(tmp_path), train_distribute=strategy, session_config=session, tf_random_seed=1)
    look = _Look("/mask")
    estimator = tf.estimator.Estimator(auto_mask(model_fn, SPEC), config=config)
    estimator.train(_batches(BATCH // 4), max_steps=8, hooks=[look])
    for values in look.seen:
        for mask in ("first/mask", "second/mask"):
            for index in (1, 2, 3):
                assert_same_bits({"": values[mask]}, {"": values[f"{mask}/replica_{index}"]})
    held = read_all(estimator.latest_checkpoint())
    assert held["first/mask"].sum() == kept_entries(6 * 32, 0.75)
    assert differences({"": held["batch_normalization/moving_mean"]}, {"": np.zeros(32, np.float32)})
    assert not [name for name in held if "replica" in name]


@pytest.mark.slow
def test_train_and_evaluate_and_predict(tmp_path):
    strategy = _strategy()
    config = _config(tmp_path / "run", strategy, eval_distribute=strategy, save_checkpoints_steps=2)
    estimator = tf.estimator.Estimator(auto_mask(_model, SPEC), config=config)
    train = tf.estimator.TrainSpec(_batches(HALF), max_steps=6)
    result, _ = tf.estimator.train_and_evaluate(
        estimator, train, tf.estimator.EvalSpec(_batches(HALF), steps=1, throttle_secs=0)
    )
    # Once more, further, in the same directory.
    again, _ = tf.estimator.train_and_evaluate(
        estimator, train._replace(max_steps=8), tf.estimator.EvalSpec(_batches(HALF), steps=1, throttle_secs=0)
    )
    assert (result["global_step"], again["global_step"]) == (6, 8)
    folded = fold_checkpoint(str(tmp_path / "run"), str(tmp_path / "folded" / "model.ckpt")).prefix
    predicted = _predicted(estimator)
    plain = tf.estimator.Estimator(_model, config=_config(tmp_path / "plain"))
    assert_same_bits({"": predicted}, {"": _predicted(plain, folded)})
    assert differences({"": predicted}, {"": _predicted(plain, estimator.latest_checkpoint())})


def _predicted(estimator, checkpoint=None):
    found = estimator.predict(lambda: _batches(BATCH)().take(1), checkpoint_path=checkpoint)
    return np.stack([item["outputs"] for item in found])


def test_a_replica_that_fails_leaves_nothing_behind(tmp_path):
    built = []

    def model_fn(features, labels, mode):
        built.append(_built(features, labels, mode))
        if len(built) == 2:
            raise RuntimeError("of the model's own")
        return built[-1]

    places = ((gradients_util, "_GradientsHelper"), (def_function, "function"))
    before = [getattr(*place) for place in places]
    with pytest.raises(RuntimeError, match="of the model's own"):
        _train(tmp_path / "run", 1, model_fn, _strategy())
    assert [getattr(*place) for place in places] == before
    # The next one is masked as ever.
    _train(tmp_path / "run", 5, strategy=_strategy())


def test_keras_as_an_estimator(tmp_path):
    with tf.Graph().as_default():
        estimator = tf.keras.estimator.model_to_estimator(fit.built(), config=_config(tmp_path / "run", _strategy()))
    look = _Look("/mask")

    def batches():
        return _batches(HALF)().map(
            lambda images, targets: ({"first_input": tf.cast(images, tf.float32)}, tf.cast(targets, tf.float32))
        )

    auto_mask_estimator(estimator, SPEC).train(batches, max_steps=6, hooks=[look])
    held = read_all(str(tmp_path / "run"))
    for name, shape in SHAPES.items():
        mask = name.replace("kernel", "mask")
        assert held[mask].sum() == kept_entries(int(np.prod(shape)), SPEC.target_sparsity)
        for values in look.seen:
            assert_same_bits({"": values[mask]}, {"": values[f"{mask}/replica_1"]})


@pytest.mark.parametrize("devices", (2, 1))
def test_keras_fit_under_masking(devices):
    command = [sys.executable, "-W", "ignore", "-m", "tests.distribution.fit", str(devices)]
    told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    # TensorFlow places a replica on a device that the session lacks elsewhere, and then nothing new beside it.
    assert told["refused_dense"] == (devices < fit.REPLICAS)
    if devices < fit.REPLICAS:
        assert told["masks"] is None
        return
    for name, shape in fit.SHAPES.items():
        mask = np.array(told["masks"][name])
        assert mask.sum() == kept_entries(int(np.prod(shape)), fit.SPEC["target_sparsity"])
        assert_same_bits({"": mask}, {"": np.array(told["masks"][f"{name}/replica_1"])})
    assert len(told["masks"]) == fit.REPLICAS * len(fit.SHAPES)


def test_strategies_that_are_not_supported_are_refused_by_masking():
    strategy = tf.distribute.experimental.CentralStorageStrategy(["/cpu:0", "/cpu:1"], "/cpu:0")
    expected = r"masking: expected MirroredStrategy, .* found CentralStorageStrategy.* of 2 replicas; use one of those"
    with pytest.raises(UsageError, match=expected):
        _looped(strategy, 1)


@pytest.mark.parametrize("criterion", ("movement", "magnitude"))
def test_criteria_are_refused_where_other_processes_have_a_part_of_the_gradient(monkeypatch, criterion):
    cluster = {"cluster": {"worker": ["localhost:1", "localhost:2"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    strategy = tf.distribute.experimental.MultiWorkerMirroredStrategy()
    monkeypatch.delenv("TF_CONFIG")
    spec = replace(SPEC, criterion=criterion)
    refused = "first/kernel: criterion movement needs the whole gradient, of which other processes compute 1 of 2 parts"
    expected = pytest.raises(PlanError, match=refused) if criterion == "movement" else contextlib.nullcontext()

    def step():
        loss = tf.reduce_mean(tf.layers.dense(tf.ones([2, 3]), 4, name="first"))
        return tf.train.GradientDescentOptimizer(0.1).minimize(loss, tf.train.get_or_create_global_step())

    with tf.Graph().as_default(), expected, masking(spec) as masker, strategy.scope():
        strategy.experimental_run_v2(step)
        assert list(masker.masks) == ["first/kernel"]


def test_groups_and_structures_on_several_devices(tmp_path):
    spec = PruningSpec(
        target_sparsity=0.75, begin_step=1, end_step=4, frequency=1, allocation="global", threshold_decay=0.0
    )
    look = _Look("/mask")
    _train(tmp_path / "run", 5, _momentum, _strategy(), spec=spec, hooks=[look])
    entries = sum(int(np.prod(shape)) for shape in SHAPES.values())
    for values in look.seen:
        for mask in ("first/mask", "second/mask"):
            assert_same_bits({"": values[mask]}, {"": values[f"{mask}/replica_1"]})
    assert sum(look.seen[-1][mask].sum() for mask in ("first/mask", "second/mask")) == kept_entries(entries, 0.75)
