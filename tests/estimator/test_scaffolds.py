"""Scaffolds, init ops and hooks as model_fns bring them: the run is initialized, saved and resumed, bit for bit."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tensorflow.compat.v2.train import Checkpoint

from fixtures.estimators import CONV, DENSE, SPEC, batches, estimator_spec, plain_model_fn, read_all, run_config
from graph_masker import UsageError, auto_mask
from graph_masker.schedule import kept_entries
from tests.helpers.bits import assert_same_bits, differences
from tests.helpers.turns import representatives

STATE = {"conv/mask", "conv/threshold", "dense/mask", "dense/threshold", "model_pruning/last_mask_update_step"}


def _early(make):
    """A model_fn that makes its Scaffold when the forward graph stands, before masks. SGD has no slots to miss."""

    def model_fn(features, labels, mode):
        made = []
        optimizer = tf.train.GradientDescentOptimizer(0.1)
        return estimator_spec(
            features, labels, mode, optimizer, before_loss=lambda: made.append(make()), scaffold=lambda: made[0]
        )

    return model_fn


def _late(make):
    return lambda features, labels, mode: estimator_spec(features, labels, mode, scaffold=make)


def _init_op_in_collection():
    tf.add_to_collection(tf.GraphKeys.INIT_OP, tf.global_variables_initializer())
    return tf.train.Scaffold()


def _fed():
    value = tf.placeholder(tf.float32, [3])
    bias = next(variable for variable in tf.global_variables() if variable.op.name == "dense/bias")
    with tf.control_dependencies([tf.global_variables_initializer()]):
        init_op = tf.assign(bias, value)
    return tf.train.Scaffold(init_op=init_op, init_feed_dict={value: [1.0, 2.0, 3.0]})


def _init_fn_alone():
    names = [variable.initializer for variable in tf.global_variables()]
    return tf.train.Scaffold(init_op=tf.no_op(), init_fn=lambda scaffold, session: session.run(names))


def _ready_ops():
    return tf.train.Scaffold(
        init_op=tf.group(tf.global_variables_initializer()),
        ready_op=tf.report_uninitialized_variables(),
        ready_for_local_init_op=tf.report_uninitialized_variables(tf.global_variables()),
        local_init_op=tf.group(tf.local_variables_initializer(), tf.tables_initializer()),
    )


def _all_own():
    saver = tf.train.Saver(sharded=True, keep_checkpoint_every_n_hours=1.0, max_to_keep=3)
    tf.add_to_collection(tf.GraphKeys.SAVERS, saver)
    return tf.train.Scaffold(
        saver=saver,
        init_op=tf.global_variables_initializer(),
        local_init_op=tf.local_variables_initializer(),
        ready_op=tf.report_uninitialized_variables(),
    )


def _saver_of_list():
    return tf.train.Scaffold(saver=tf.train.Saver(list(tf.global_variables()), sharded=True))


def _saver_of_saveables():
    """What Scaffold makes of a tf.train.Checkpoint: its objects' variables under keys of their own."""
    names = {variable.op.name.replace("/", "_"): variable for variable in tf.global_variables()}
    return tf.train.Scaffold(saver=Checkpoint(**names))


EARLY = {
    "init_op": lambda: tf.train.Scaffold(init_op=tf.global_variables_initializer()),
    "init_op_list": lambda: tf.train.Scaffold(init_op=[variable.initializer for variable in tf.global_variables()]),
    "init_op_in_collection": _init_op_in_collection,
    "init_fn_alone": _init_fn_alone,
    "ready_ops": _ready_ops,
    "all_own": _all_own,
    "saver_of_list": _saver_of_list,
    "checkpoint": _saver_of_saveables,
}
MODELS = {
    **{f"{name}, early": _early(make) for name, make in EARLY.items()},
    "init_feed_dict, late": _late(_fed),
    "init_op, late": _late(EARLY["init_op"]),
    "all_own, late": _late(_all_own),
}


def _train(model_fn, directory, steps, hooks=()):
    estimator = tf.estimator.Estimator(auto_mask(model_fn, SPEC), str(directory), run_config())
    estimator.train(batches(), steps=steps, hooks=list(hooks))
    return read_all(str(directory))


# As the API's detectors have it, and of each sort one.
QUICK = (
    "init_op, early",
    "ready_ops, early",
    "all_own, early",
    "saver_of_list, early",
    "checkpoint, early",
    "init_feed_dict, late",
)


@pytest.mark.parametrize("name", representatives(MODELS, QUICK))
def test_resumed_training_equals_uninterrupted_training(tmp_path, name):
    whole = _train(MODELS[name], tmp_path / "whole", 9)
    assert whole.keys() >= STATE
    # 32 images in batches of 8: after 4 steps the batches begin anew.
    _train(MODELS[name], tmp_path / "parts", 4)
    assert_same_bits(_comparable(_train(MODELS[name], tmp_path / "parts", 5)), _comparable(whole))
    mask = whole["dense/mask"]
    assert int(mask.sum()) == kept_entries(mask.size, SPEC.target_sparsity)
    evaluated = tf.estimator.Estimator(auto_mask(MODELS[name], SPEC), str(tmp_path / "parts"), run_config())
    assert evaluated.evaluate(batches(), steps=1)["global_step"] == 9


def _comparable(values):
    return {name: value for name, value in values.items() if not name.startswith("_CHECKPOINTABLE")}


def test_losing_the_masks_is_seen(tmp_path):
    """Negative control of the comparison above: a run resumed from all but the masks is another."""
    whole = _train(plain_model_fn, tmp_path / "whole", 9)
    _train(plain_model_fn, tmp_path / "parts", 6)
    prefix = tf.train.latest_checkpoint(str(tmp_path / "parts"))
    values = read_all(prefix)
    with tf.Graph().as_default(), tf.Session() as session:
        kept = [tf.Variable(value, name=name) for name, value in values.items() if not name.endswith("/mask")]
        session.run(tf.global_variables_initializer())
        tf.train.Saver(kept).save(session, prefix)
    assert differences(_train(plain_model_fn, tmp_path / "parts", 3), whole)


def test_what_init_feed_dict_feeds_arrives(tmp_path):
    seen = []

    class Look(tf.train.SessionRunHook):
        def after_create_session(self, session, coord):
            seen.extend(session.run(["dense/bias:0", "dense/mask:0"]))

    _train(MODELS["init_feed_dict, late"], tmp_path, 1, [Look()])
    assert seen[0].tolist() == [1.0, 2.0, 3.0]
    assert seen[1].min() == 1.0


class _Building(tf.train.SessionRunHook):
    """Builds variables, savers and gradients when the model stands, as hooks may until the session is made."""

    def __init__(self, folder):
        self.folder = folder
        self.norms = []

    def begin(self):
        self.saver = tf.train.Saver(tf.trainable_variables())
        self.count = tf.get_variable("hook/count", initializer=0, trainable=False)
        kernel = next(variable for variable in tf.trainable_variables() if variable.op.name == DENSE)
        loss = tf.get_collection(tf.GraphKeys.LOSSES)[0]
        self.masked_part = tf.gradients(loss, kernel)[0] * (
            1 - tf.get_default_graph().get_tensor_by_name("dense/mask:0")
        )
        self.add = tf.assign_add(self.count, 1)

    def before_run(self, run_context):
        return tf.train.SessionRunArgs([self.masked_part, self.add])

    def after_run(self, run_context, run_values):
        self.norms.append(np.abs(run_values.results[0]).sum())

    def end(self, session):
        self.saver.save(session, os.path.join(self.folder, "trainable"), write_meta_graph=False)


@pytest.mark.parametrize("kind", ["training_hooks", "training_chief_hooks", "train"])
def test_hooks_that_build(tmp_path, kind):
    hook = _Building(str(tmp_path))

    def model_fn(features, labels, mode):
        spec = plain_model_fn(features, labels, mode)
        return spec if kind == "train" else spec._replace(**{kind: [hook]})

    found = _train(model_fn, tmp_path / "with", 9, [hook] if kind == "train" else ())
    assert_same_bits(
        {name: value for name, value in found.items() if name != "hook/count"},
        _train(plain_model_fn, tmp_path / "without", 9),
    )
    assert found["hook/count"] == 9
    # The hook's gradient passes through the mask: nothing is left where that is zero. (Step 8 writes it, 9 does not.)
    assert len(hook.norms) == 9 and not hook.norms[-1]
    # Its saver takes along the masks of the weights that it saves, but nothing that counts steps.
    saved = read_all(str(tmp_path / "trainable"))
    assert set(saved) == {CONV, DENSE, "conv/bias", "dense/bias", *STATE} - {"model_pruning/last_mask_update_step"}
    assert saved["dense/mask"].tobytes() == found["dense/mask"].tobytes()


def test_a_hook_with_a_saver_of_its_own_writes_the_checkpoints(tmp_path):
    def model_fn(features, labels, mode):
        hooks = []

        def make():
            saver = tf.train.Saver(tf.global_variables())
            hooks.append(tf.train.CheckpointSaverHook(str(tmp_path / "parts"), save_steps=100, saver=saver))

        spec = estimator_spec(features, labels, mode, tf.train.GradientDescentOptimizer(0.1), before_loss=make)
        return spec._replace(training_chief_hooks=hooks) if mode == "train" else spec

    def plain(features, labels, mode):
        return estimator_spec(features, labels, mode, tf.train.GradientDescentOptimizer(0.1))

    assert _train(model_fn, tmp_path / "parts", 4).keys() >= STATE
    assert_same_bits(_train(model_fn, tmp_path / "parts", 5), _train(plain, tmp_path / "whole", 9))


def test_an_average_is_asked_of_no_mask(tmp_path):
    """With masks in the graph, averages are restored for weights and nothing else; so it is in the checkpoint."""
    names = {}

    def model_fn(features, labels, mode):
        spec = estimator_spec(features, labels, mode, tf.train.GradientDescentOptimizer(0.1))
        averages = tf.train.ExponentialMovingAverage(0.5)
        with tf.control_dependencies([spec.train_op]):
            train_op = averages.apply(tf.trainable_variables())
        names.update(averages.variables_to_restore())
        assert not [v for v in tf.moving_average_variables() if v.op.name in STATE]
        return spec._replace(train_op=train_op)

    saved = _train(model_fn, tmp_path, 2)
    averages = {name for name in saved if name.endswith("ExponentialMovingAverage")}
    assert averages == {f"{name}/ExponentialMovingAverage" for name in (CONV, DENSE, "conv/bias", "dense/bias")}
    assert {name: variable.op.name for name, variable in names.items() if "mask" in name or "threshold" in name} == {
        name: name for name in STATE
    }


def test_a_model_fn_that_finalizes_its_graph_is_told_so(tmp_path):
    def model_fn(features, labels, mode):
        spec = plain_model_fn(features, labels, mode)
        tf.get_default_graph().finalize()
        return spec

    with pytest.raises(UsageError, match="the model_fn has finalized its graph"):
        _train(model_fn, tmp_path, 1)
    with tf.Graph().as_default() as graph:
        graph.finalize()
        with pytest.raises(UsageError, match="found a finalized one"):
            auto_mask(plain_model_fn, SPEC)(None, None, "train")


_FRESH = """
import sys, tensorflow.compat.v1 as tf
from fixtures.estimators import SPEC, batches, run_config
from graph_masker import auto_mask
from tests.estimator.test_scaffolds import fresh_model_fn
estimator = tf.estimator.Estimator(auto_mask(fresh_model_fn, SPEC), sys.argv[1], run_config())
estimator.train(batches(), steps=int(sys.argv[2]))
"""


def fresh_model_fn(features, labels, mode):
    """Slots, averages, and a saver built before any of them and before masks: all in one."""
    spec = MODELS["all_own, late"](features, labels, mode)
    with tf.control_dependencies([spec.train_op]):
        averages = tf.train.ExponentialMovingAverage(0.5)
        train_op = averages.apply(tf.trainable_variables())
    saver = tf.train.Saver(sharded=True)
    tf.get_collection_ref(tf.GraphKeys.SAVERS)[:] = [saver]
    return spec._replace(train_op=train_op, scaffold=tf.train.Scaffold(saver=saver))


def test_resuming_in_a_fresh_process(tmp_path):
    def run(directory, *parts):
        for steps in parts:
            command = [sys.executable, "-W", "ignore", "-c", _FRESH, str(directory), str(steps)]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        return read_all(str(directory))

    whole = run(tmp_path / "whole", 9)
    assert whole.keys() >= {*STATE, f"{DENSE}/Momentum", f"{DENSE}/ExponentialMovingAverage"}
    assert_same_bits(run(tmp_path / "parts", 4, 5), whole)
