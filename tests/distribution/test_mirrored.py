"""Estimators under MirroredStrategy, on two virtual devices."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import read_all
from graph_masker import PruningSpec, auto_mask, fold_checkpoint, inspect_model
from graph_masker.schedule import kept_entries
from tests.helpers.bits import assert_same_bits, differences

SPEC = PruningSpec(target_sparsity=0.75, begin_step=1, end_step=4, frequency=1)
DEVICES = ["/cpu:0", "/cpu:1"]
BATCH = 16
SHAPES = {"first/kernel": (6, 8), "second/kernel": (8, 3)}


def _strategy():
    return tf.distribute.MirroredStrategy(devices=DEVICES)


def _config(folder, strategy=None, **options):
    session = tf.ConfigProto(device_count={"CPU": 2}, intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    return tf.estimator.RunConfig(
        str(folder), train_distribute=strategy, session_config=session, tf_random_seed=1, **options
    )


def _batches(size):
    """Whole numbers, so that a few steps of training are exact in double precision, in whatever order sums are done."""
    random = np.random.RandomState(0)
    images = random.randint(-2, 3, [BATCH, 6]).astype(np.float64)
    targets = random.randint(-2, 3, [BATCH, 3]).astype(np.float64)
    return lambda: tf.data.Dataset.from_tensor_slices((images, targets)).repeat().batch(size)


def _weight(name):
    # Distinct magnitudes of few bits.
    random = np.random.RandomState(len(name))
    size = int(np.prod(SHAPES[name]))
    values = (1 + random.permutation(size)) * random.choice([-1, 1], size) / 64
    return tf.constant_initializer(values.reshape(SHAPES[name]))


def _built(features, labels, mode, optimizer=None, scaffold=lambda: None):
    hidden = tf.layers.dense(features, 8, name="first", use_bias=False, kernel_initializer=_weight("first/kernel"))
    outputs = tf.layers.dense(hidden, 3, name="second", use_bias=False, kernel_initializer=_weight("second/kernel"))
    predictions = {"outputs": outputs}
    if mode == tf.estimator.ModeKeys.PREDICT:
        return tf.estimator.EstimatorSpec(mode, predictions)
    loss = tf.reduce_mean(tf.square(outputs - labels)) * 0.75  # Of three outputs: the mean is a sum over a power of 2.
    train_op = None
    if mode == tf.estimator.ModeKeys.TRAIN:
        optimizer = optimizer or tf.train.GradientDescentOptimizer(2.0**-6)
        train_op = optimizer.minimize(loss, tf.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, predictions, loss, train_op, scaffold=scaffold())


def _model(features, labels, mode):
    return _built(features, labels, mode)


def _momentum(features, labels, mode):
    return _built(features, labels, mode, tf.train.MomentumOptimizer(2.0**-6, 0.9))


def _train(folder, steps, model_fn=_model, strategy=None, spec=SPEC, hooks=()):
    estimator = tf.estimator.Estimator(auto_mask(model_fn, spec), config=_config(folder, strategy))
    size = BATCH if strategy is None else BATCH // len(DEVICES)
    estimator.train(_batches(size), max_steps=steps, hooks=list(hooks))
    return estimator


class _Look(tf.train.SessionRunHook):
    """Notes all copies of some variables after every step."""

    def __init__(self, ending):
        self.seen = []
        self._ending = ending

    def begin(self):
        graph = tf.get_default_graph()
        reads = [op for op in graph.get_operations() if op.type == "VarHandleOp" and self._ending in op.name]
        self._values = {
            op.name: tf.raw_ops.ReadVariableOp(resource=op.outputs[0], dtype=op.get_attr("dtype")) for op in reads
        }

    def after_run(self, run_context, run_values):
        self.seen.append(run_context.session.run(self._values))


def test_training_equals_that_on_one_device_at_the_same_global_batch(tmp_path):
    mirrored = read_all(_train(tmp_path / "mirrored", 3, strategy=_strategy()).latest_checkpoint())
    single = read_all(_train(tmp_path / "single", 3).latest_checkpoint())
    assert {f"{scope}/{name}" for scope in ("first", "second") for name in ("kernel", "mask", "threshold")} <= set(
        single
    )
    assert_same_bits(mirrored, single)
    # Half the batch gives something else.
    half = tf.estimator.Estimator(auto_mask(_model, SPEC), config=_config(tmp_path / "half"))
    half.train(_batches(BATCH // 2), max_steps=3)
    assert differences(mirrored, read_all(half.latest_checkpoint()))


def test_every_copy_has_the_same_mask_after_every_update(tmp_path):
    look = _Look("/mask")
    _train(tmp_path / "run", 5, _momentum, _strategy(), hooks=[look])
    assert len(look.seen) == 5
    for step, values in enumerate(look.seen, 1):
        for name, shape in SHAPES.items():
            mask = name.replace("kernel", "mask")
            assert_same_bits({"": values[mask]}, {"": values[f"{mask}/replica_1"]})
            if step >= SPEC.end_step:
                assert values[mask].sum() == kept_entries(int(np.prod(shape)), SPEC.target_sparsity)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    whole = _train(tmp_path / "whole", 8, _momentum, _strategy()).latest_checkpoint()
    _train(tmp_path / "parts", 3, _momentum, _strategy())
    parts = _train(tmp_path / "parts", 8, _momentum, _strategy()).latest_checkpoint()
    assert_same_bits(read_all(parts), read_all(whole))


def test_checkpoints_go_from_one_device_to_several_and_back(tmp_path):
    _train(tmp_path / "run", 2, strategy=_strategy())
    _train(tmp_path / "run", 3)
    mixed = _train(tmp_path / "run", 4, strategy=_strategy()).latest_checkpoint()
    # More steps than are exact: those that follow are done in the same order.
    _train(tmp_path / "single", 3)
    single = _train(tmp_path / "single", 4, strategy=_strategy()).latest_checkpoint()
    assert_same_bits(read_all(mixed), read_all(single))


def test_a_dense_checkpoint_goes_on_masked(tmp_path):
    dense = tf.estimator.Estimator(_model, config=_config(tmp_path / "run", _strategy()))
    dense.train(_batches(BATCH // 2), max_steps=1)
    look = _Look("/mask")
    after = _train(tmp_path / "run", 5, strategy=_strategy(), hooks=[look]).latest_checkpoint()
    for name, shape in SHAPES.items():
        mask = name.replace("kernel", "mask")
        assert read_all(after)[mask].sum() == kept_entries(int(np.prod(shape)), SPEC.target_sparsity)
        assert_same_bits({"": look.seen[0][mask]}, {"": look.seen[0][f"{mask}/replica_1"]})


def test_folded_and_evaluated_on_several_devices(tmp_path):
    estimator = _train(tmp_path / "run", 5, strategy=_strategy())
    folded = fold_checkpoint(str(tmp_path / "run"), str(tmp_path / "folded" / "model.ckpt"))

    def evaluated(model_fn, strategy, prefix):
        config = _config(tmp_path / "other", eval_distribute=strategy)
        judge = tf.estimator.Estimator(model_fn, config=config)
        size = BATCH if strategy is None else BATCH // len(DEVICES)
        return judge.evaluate(_batches(size), steps=1, checkpoint_path=prefix)

    masked = evaluated(auto_mask(_model, SPEC), _strategy(), estimator.latest_checkpoint())
    assert_same_bits(masked, evaluated(_model, _strategy(), folded.prefix))
    assert differences(masked, evaluated(_model, _strategy(), estimator.latest_checkpoint()))
    alone = evaluated(auto_mask(_model, SPEC), None, estimator.latest_checkpoint())
    assert_same_bits(alone, evaluated(_model, None, folded.prefix))


def test_files_of_such_a_run_show_each_weight_once(tmp_path):
    _train(tmp_path / "run", 5, strategy=_strategy())
    plan = inspect_model(str(tmp_path / "run"))
    assert [site.variable for site in plan.weights] == list(SHAPES)
    assert [site.mirror_of for site in plan.sites if site.mirror_of] == list(SHAPES)
    assert plan.entries == 6 * 8 + 8 * 3
    assert all(site.masked for site in plan.sites)


def test_a_saver_of_the_models_own(tmp_path):
    def model_fn(features, labels, mode):
        return _built(features, labels, mode, scaffold=lambda: tf.train.Scaffold(saver=tf.train.Saver()))

    own = _train(tmp_path / "own", 3, model_fn, _strategy()).latest_checkpoint()
    assert_same_bits(read_all(own), read_all(_train(tmp_path / "run", 3, strategy=_strategy()).latest_checkpoint()))
    look = _Look("/mask")
    _train(tmp_path / "own", 4, model_fn, _strategy(), hooks=[look])
    assert_same_bits({"": look.seen[0]["first/mask"]}, {"": look.seen[0]["first/mask/replica_1"]})


def test_warm_starts_bring_masks_to_every_copy(tmp_path):
    source = _train(tmp_path / "source", 5, strategy=_strategy()).latest_checkpoint()
    never = PruningSpec(target_sparsity=0.75, begin_step=50, end_step=60, frequency=5)
    look = _Look("/mask")
    estimator = tf.estimator.Estimator(
        auto_mask(_model, never), config=_config(tmp_path / "run", _strategy()), warm_start_from=source
    )
    estimator.train(_batches(BATCH // 2), max_steps=1, hooks=[look])
    held = read_all(source)
    for mask in ("first/mask", "second/mask"):
        assert held[mask].min() == 0
        for name in (mask, f"{mask}/replica_1"):
            assert_same_bits({"": held[mask]}, {"": look.seen[0][name]})


def _linear(features, labels, mode):
    """Its gradients are of the weight's first power: they stay exact for longer."""
    outputs = tf.layers.dense(features, 8, name="first", use_bias=False, kernel_initializer=_weight("first/kernel"))
    loss = tf.reduce_mean(tf.square(outputs[:, :3] + outputs[:, 3:6] - labels)) * 0.75
    train_op = tf.train.GradientDescentOptimizer(2.0**-3).minimize(loss, tf.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, outputs, loss, train_op)


@pytest.mark.parametrize("criterion", ("movement", "taylor"))
def test_criteria_are_shown_the_whole_gradient(tmp_path, criterion):
    spec = PruningSpec(target_sparsity=0.75, begin_step=1, end_step=2, frequency=1, criterion=criterion)
    look = _Look("/mask")
    # The last step adds up after the last update.
    trained = _train(tmp_path / "mirrored", 3, _linear, _strategy(), spec, [look])
    mirrored = read_all(trained.latest_checkpoint())
    single = read_all(_train(tmp_path / "single", 3, _linear, spec=spec).latest_checkpoint())
    sums = f"first/{criterion}"
    assert np.count_nonzero(single[sums]) > 5
    assert single["first/mask"].sum() == kept_entries(48, 0.75)
    assert_same_bits(mirrored, single)
    for values in look.seen:
        assert_same_bits({"": values["first/mask"]}, {"": values["first/mask/replica_1"]})
    # Half the batch gives something else.
    half = tf.estimator.Estimator(auto_mask(_linear, spec), config=_config(tmp_path / "half"))
    half.train(_batches(BATCH // 2), max_steps=3)
    assert differences({"": read_all(half.latest_checkpoint())[sums]}, {"": single[sums]})


@pytest.mark.parametrize("criterion", ("magnitude", "taylor"))
def test_half_precision_on_several_devices(tmp_path, criterion):
    def model_fn(features, labels, mode):
        start = tf.constant_initializer(((np.arange(48) - 23.5) / 64).reshape(6, 8))
        outputs = tf.layers.dense(
            tf.cast(features, tf.float16), 8, name="first", use_bias=False, kernel_initializer=start
        )
        loss = tf.reduce_mean(tf.square(tf.cast(outputs[:, :3], tf.float64) - labels))
        train_op = tf.train.GradientDescentOptimizer(2.0**-6).minimize(loss, tf.train.get_global_step())
        return tf.estimator.EstimatorSpec(mode, outputs, loss, train_op)

    spec = PruningSpec(target_sparsity=0.75, begin_step=1, end_step=3, frequency=1, criterion=criterion)
    look = _Look("/mask")
    held = read_all(_train(tmp_path / "run", 4, model_fn, _strategy(), spec, [look]).latest_checkpoint())
    assert held["first/kernel"].dtype == held["first/mask"].dtype == np.float16
    assert held["first/mask"].sum() == kept_entries(48, 0.75)
    for values in look.seen:
        assert_same_bits({"": values["first/mask"]}, {"": values["first/mask/replica_1"]})


def _computed(meta_graph):
    """Returns what each op computes from what, but for those that only wait for others."""
    nodes = [node for node in meta_graph.graph_def.node if node.op != "NoOp"]
    return {node.name: (node.op, [text for text in node.input if not text.startswith("^")]) for node in nodes}


@pytest.mark.parametrize("criterion", ("magnitude", "taylor"))
def test_the_graph_beside_a_folded_checkpoint_is_the_dense_one(tmp_path, criterion):
    spec = PruningSpec(target_sparsity=0.75, begin_step=1, end_step=2, frequency=1, criterion=criterion)
    _train(tmp_path / "masked", 2, _momentum, _strategy(), spec)
    dense = tf.estimator.Estimator(_momentum, config=_config(tmp_path / "dense", _strategy()))
    dense.train(_batches(BATCH // 2), max_steps=2)
    folded = fold_checkpoint(str(tmp_path / "masked"), str(tmp_path / "folded")).prefix
    found, expected = (
        tf.MetaGraphDef.FromString(Path(f"{prefix}.meta").read_bytes())
        for prefix in (folded, dense.latest_checkpoint())
    )
    assert _computed(found) == _computed(expected)
    masked = tf.MetaGraphDef.FromString((tmp_path / "masked" / "model.ckpt-2.meta").read_bytes())
    assert _computed(masked) != _computed(expected)
    with tf.Graph().as_default() as graph, tf.Session(config=tf.ConfigProto(device_count={"CPU": 2})) as session:
        saver = tf.train.import_meta_graph(found)
        saver.restore(session, folded)
        again = saver.save(session, str(tmp_path / "again"))
        copies = session.run([f"{name}{copy}/Read/ReadVariableOp:0" for name in SHAPES for copy in ("", "/replica_1")])
        assert not graph.get_collection("masks")
    held = read_all(again)
    assert_same_bits(held, read_all(folded))
    assert_same_bits(dict(enumerate(copies)), dict(enumerate(held[name] for name in SHAPES for _ in range(2))))
