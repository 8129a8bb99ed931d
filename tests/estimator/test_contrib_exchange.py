"""Checkpoints of models masked by hand with contrib's layers go on under auto_mask, and ours there, bit for bit."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import read_all, run_config
from graph_masker import auto_mask, fold_checkpoint
from graph_masker.plan import LAST_UPDATE_STEP
from graph_masker.schedule import update_steps
from tests.helpers.bits import assert_same_bits, differences
from tests.helpers.turns import in_turns
from tests.oracle.nets import NETS
from tests.oracle.training import SPEC, contribs_pruning

# Updates at 10, 20, 30, 40 and 50: as many on either side of the exchange, and one right at it.
HALF, STEPS = 30, 60
EXCHANGED = {
    "conv": "slim conv, batch norm, decay, clipped momentum",
    "shared": "shared convolutions, clipped momentum",
    "layers": "tf.layers conv, decay, Adam",
    "lstm": "LSTM in dynamic_rnn, clipped momentum",
}
_SIDES = ("contrib", "ours")
BOTH_WAYS = pytest.mark.parametrize(("first", "second"), [_SIDES, _SIDES[::-1]])


class _Update(tf.train.SessionRunHook):
    """How contrib's pruning is put on an Estimator: its update is run after each step."""

    def __init__(self):
        self._update = contribs_pruning(SPEC).conditional_mask_update_op()

    def after_run(self, run_context, run_values):
        run_context.session.run(self._update)


class _Look(tf.train.SessionRunHook):
    """Notes all variables before the first step."""

    def begin(self):
        self._variables = {variable.op.name: variable for variable in tf.global_variables()}

    def after_create_session(self, session, coord):
        self.values = session.run(self._variables)


def _estimator(model, side, directory, warm_start=None):
    """An Estimator of a net, of contrib's layers or of plain ones that graph_masker masks."""

    def model_fn(features, labels, mode):
        loss = model.loss(model.masked if side == "contrib" else model.plain, features)
        if mode != "train":
            return tf.estimator.EstimatorSpec(mode, loss=loss)
        train_op = model.minimize(loss)
        hooks = [_Update()] if side == "contrib" else []
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op, training_hooks=hooks)

    masked = auto_mask(model_fn, SPEC) if side == "ours" else model_fn
    return tf.estimator.Estimator(masked, str(directory), run_config(), warm_start_from=warm_start)


def _train(model, side, directory, end, warm_start=None, begin=0):
    """Trains for the steps after `begin` up to `end`; returns what that started from and the last checkpoint."""
    look = _Look()
    estimator = _estimator(model, side, directory, warm_start)
    estimator.train(lambda: _batches(model, begin), steps=end - begin, hooks=[look])
    return look.values, read_all(str(directory))


def _batches(model, begin=0):
    """The batches of the steps after `begin`, each made from its step, so that every run sees the same."""

    def batch(step):
        return tf.random.stateless_normal(model.batch, tf.stack([step, 5])), tf.zeros([])

    return tf.data.Dataset.range(begin, begin + STEPS).map(batch)


def _check_pruned(values):
    masks = [value for name, value in values.items() if name.endswith("/mask")]
    assert masks and all(0.75 < np.mean(mask == 0) < 0.85 for mask in masks)
    assert values[LAST_UPDATE_STEP] == SPEC.end_step


def test_the_schedule_has_updates_before_and_after_the_exchange():
    assert tuple(update_steps(SPEC)) == (10, 20, 30, 40, 50)


@pytest.mark.parametrize("net, start", in_turns(EXCHANGED, _SIDES))
def test_a_checkpoint_goes_on_on_the_other_side_in_the_same_directory(tmp_path, net, start):
    model, first, second = NETS[EXCHANGED[net]], start, _SIDES[1 - _SIDES.index(start)]
    _, whole = _train(model, first, tmp_path / "whole", STEPS)
    _, exchanged = _train(model, first, tmp_path / "model", HALF)
    start, end = _train(model, second, tmp_path / "model", STEPS, begin=HALF)
    # Weights, masks, thresholds, slots, statistics, the steps: all, and under the same names.
    assert_same_bits(start, exchanged)
    assert exchanged[LAST_UPDATE_STEP] == HALF
    assert_same_bits(end, whole)
    _check_pruned(whole)
    # The comparison sees a mask that did not come along, and training in between.
    assert differences(start, {**exchanged, **{name: np.ones_like(v) for name, v in start.items() if "/mask" in name}})
    assert differences(end, start)
    losses = [_estimator(model, side, tmp_path / "model").evaluate(lambda: _batches(model), 4) for side in _SIDES]
    assert_same_bits(*losses)


@BOTH_WAYS
def test_a_warm_start_of_everything_goes_on_on_the_other_side(tmp_path, first, second):
    model = NETS[EXCHANGED["conv"]]
    _, whole = _train(model, first, tmp_path / "whole", STEPS)
    _, exchanged = _train(model, first, tmp_path / "source", HALF)
    settings = tf.estimator.WarmStartSettings(str(tmp_path / "source"), [".*"])
    start, end = _train(model, second, tmp_path / "model", STEPS, settings, HALF)
    assert_same_bits(start, exchanged)
    assert_same_bits(end, whole)
    _check_pruned(end)


def test_a_warm_start_of_weights_takes_contribs_masks_along(tmp_path):
    """The default pattern names trainable variables alone; steps and slots begin anew."""
    model = NETS[EXCHANGED["conv"]]
    _, source = _train(model, "contrib", tmp_path / "source", HALF)
    start, end = _train(model, "ours", tmp_path / "model", STEPS, str(tmp_path / "source"))
    taken = [name for name in start if name.endswith(("/weights", "/biases", "/beta", "/mask", "/threshold"))]
    assert len([name for name in taken if name.endswith("/mask")]) == 4
    assert_same_bits({name: start[name] for name in taken}, {name: source[name] for name in taken})
    assert start["global_step"] == 0 and start[LAST_UPDATE_STEP] == -1
    _check_pruned(end)
    assert end["global_step"] == STEPS


def test_masks_that_were_given_a_scope_of_their_own_are_found(tmp_path):
    """contrib's `apply_mask` on two weights of one scope: ours have other names. Resumed, warm-started, folded."""
    model = NETS["two weights in one scope, clipped momentum"]
    _, whole = _train(model, "contrib", tmp_path / "whole", STEPS)
    _, exchanged = _train(model, "contrib", tmp_path / "model", HALF)
    folded = fold_checkpoint(str(tmp_path / "model"), str(tmp_path / "folded"))
    without_graph = str(tmp_path / "model" / "alone")
    for path in tf.io.gfile.glob(str(tmp_path / "model" / f"model.ckpt-{HALF}.*")):
        if not path.endswith(".meta"):
            tf.io.gfile.copy(path, without_graph + path[path.rindex(f"-{HALF}.") + 3 :])
    alone = fold_checkpoint(without_graph, str(tmp_path / "alone"))
    assert_same_bits(read_all(alone.prefix), read_all(folded.prefix))
    for weight in ("cell/input_kernel", "cell/state_kernel"):
        product = exchanged[weight] * exchanged[f"{weight}/mask"]
        assert_same_bits({weight: read_all(folded.prefix)[weight]}, {weight: product})
    settings = tf.estimator.WarmStartSettings(str(tmp_path / "model"))
    warm, _ = _train(model, "ours", tmp_path / "warm", 1, settings)
    start, end = _train(model, "ours", tmp_path / "model", STEPS, begin=HALF)
    assert_same_bits(start, _renamed(exchanged, model))
    assert_same_bits(end, _renamed(whole, model))
    masks = [name for name in start if name.endswith(("_mask", "_threshold"))]
    assert len(masks) == 4
    assert_same_bits({name: warm[name] for name in masks}, {name: start[name] for name in masks})


def _renamed(values, model):
    return {model.names.get(name, name): value for name, value in values.items()}
