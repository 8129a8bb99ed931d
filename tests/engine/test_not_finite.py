"""NaN and Inf in a weight, or in what a criterion has added up: an error that names it, and nothing is changed."""

from dataclasses import replace
from typing import Any, List

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from graph_masker.masker import Masker
from graph_masker.spec import PruningSpec
from tests.engine.nets import Net, batch_of, descent, record, sparsity_of, training
from tests.helpers.bits import assert_same_bits, differences
from tests.helpers.running import initialize, single_threaded

NAMES = ("first/kernel", "second/kernel", "third/kernel")
DTYPES = (tf.float16, tf.bfloat16, tf.float32, tf.float64)
BAD = (np.nan, np.inf, -np.inf)
SPEC = PruningSpec(0.5, 2, 20, frequency=2, initial_sparsity=0.25)


class Bench:
    """Three masked weights of one type, and a session."""

    def __init__(self, graph: Any, masker: Masker, step: Any, session: Any) -> None:
        self.masker = masker
        self.session = session
        self._step = step
        self._weights = {item.site.variable: item.weight for item in masker.masked_variables}
        self._state = {variable.op.name: variable for variable in masker.state_variables}

    def load(self, name: str, value: Any) -> None:
        self._weights[name].load(value, self.session)

    def update(self, step: int) -> None:
        self._step.load(step, self.session)
        self.session.run(self.masker.update_op)

    def state(self) -> Any:
        return self.session.run(self._state)


@pytest.fixture(
    scope="module",
    params=[
        *((dtype, use_resource, "uniform") for dtype in DTYPES for use_resource in (False, True)),
        *((dtype, False, "global") for dtype in DTYPES),
    ],
    ids=lambda param: f"{param[0].name}-{'resource' if param[1] else 'ref'}-{param[2]}",
)
def bench(request):
    dtype, use_resource, allocation = request.param
    with tf.Graph().as_default() as graph, tf.variable_scope(tf.get_variable_scope(), use_resource=use_resource):
        step = tf.train.get_or_create_global_step()
        for name in NAMES:
            tf.matmul(tf.placeholder(dtype, [1, 8]), tf.get_variable(name, [8, 2], dtype, tf.zeros_initializer()))
        masker = Masker(graph, replace(SPEC, allocation=allocation))
        masker.mask(strict=True)
        masker.attach_update(tf.no_op())
    with single_threaded(graph) as session:
        initialize(session)
        yield dtype.as_numpy_dtype, Bench(graph, masker, step, session)


def _values(dtype: Any) -> Any:
    return {name: np.arange(16).reshape(8, 2).astype(dtype) + dtype(number) for number, name in enumerate(NAMES)}


def test_what_is_not_finite_is_named_and_nothing_is_changed(bench: Any):
    dtype, run = bench
    initialize(run.session)
    for name, value in _values(dtype).items():
        run.load(name, value)
    run.update(2)
    before = run.state()
    assert before["model_pruning/last_mask_update_step"] == 2
    for bad in BAD:
        for name in NAMES:
            broken = _values(dtype)[name]
            broken[3, 1] = bad
            run.load(name, broken)
            with pytest.raises(tf.errors.InvalidArgumentError) as error:
                run.update(4)
            assert _named(error.value) == [name]
            assert "not finite (NaN or Inf); no mask was changed" in error.value.message
            assert_same_bits(run.state(), before)
            # Between two updates nobody looks.
            run.update(3)
            run.load(name, _values(dtype)[name])
    run.update(4)
    after = run.state()
    assert after["model_pruning/last_mask_update_step"] == 4
    assert {line.partition(":")[0] for line in differences(after, before)} >= {"first/mask", "third/threshold"}


def test_two_at_once_are_both_named(bench: Any):
    dtype, run = bench
    initialize(run.session)
    for name in ("first/kernel", "third/kernel"):
        run.load(name, np.full([8, 2], np.nan, dtype))
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        run.update(2)
    assert _named(error.value) == ["first/kernel", "third/kernel"]


def _named(error: Any) -> List[str]:
    """Returns which of the weights the first line of a message names."""
    line = error.message.splitlines()[0]
    return [name for name in NAMES if name in line]


def test_the_largest_of_half_precision_is_finite():
    with tf.Graph().as_default() as graph:
        tf.train.get_or_create_global_step()
        weight = tf.get_variable("kernel", [4, 1], tf.float16, tf.constant_initializer([65504.0, -65504.0, 0.0, 6e-8]))
        masker = Masker(graph, replace(SPEC, begin_step=0))
        masker.mask([tf.matmul(tf.placeholder(tf.float16, [1, 4]), weight)], strict=True)
        update = masker.attach_update(tf.no_op())
    with tf.Session(graph=graph) as session:
        initialize(session)
        session.run(update)
        assert session.run(masker.masks["kernel"]).reshape(-1).tolist() == [1, 1, 0, 1]


SKIPPED = "model_pruning/skipped_gradients"


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
@pytest.mark.parametrize("criterion", ["movement", "taylor"])
def test_a_gradient_that_is_not_finite_adds_nothing_and_is_told_of(criterion: str, use_resource: bool, capfd: Any):
    net, spec = Net(optimizer=descent, use_resource=use_resource), replace(SPEC, criterion=criterion)
    with training(net, spec) as run:
        run.steps(2)
        before = run.values()
        assert before[SKIPPED] == 0
        # A batch of NaN: the weights are spoilt, and then mended, as dynamic loss scaling leaves them alone.
        run.session.run(run.train_op, {"batch:0": np.full_like(batch_of(1), np.nan)})
        for name in ("conv/kernel", "conv/bias", "dense/kernel", "dense/bias"):
            run.load(name, before[name])
        after = run.values()
        sums = [f"{name}/{criterion}" for name in ("conv", "dense")]
        assert_same_bits({name: after[name] for name in sums}, {name: before[name] for name in sums})
        assert after[SKIPPED] == 2
        capfd.readouterr()
        run.run()
        last = run.values()
        assert last["model_pruning/last_mask_update_step"] == last["global_step"] == 4
        assert last[SKIPPED] == 0 and sparsity_of(last["dense/mask"]) > 0.25
        told = "graph_masker: step 4 since the last update 2 gradients of a weight and a step were not finite"
        assert told in capfd.readouterr().err
        run.steps(2)
        assert "were not finite" not in capfd.readouterr().err


@pytest.mark.parametrize("criterion", ["movement", "taylor"])
def test_sums_that_are_not_finite_are_an_error(criterion: str):
    """As a weight that is not finite is: from a checkpoint, or because finite gradients add up to more than a float."""
    with training(Net(optimizer=descent), replace(SPEC, criterion=criterion)) as run:
        run.steps(3)
        before = run.values()
        run.load(f"dense/{criterion}", np.full_like(before[f"dense/{criterion}"], np.inf))
        with pytest.raises(tf.errors.InvalidArgumentError, match="not finite") as error:
            run.run()
        assert "dense/kernel" in error.value.message.splitlines()[0]
        after = run.values()
        for name in ("conv/mask", "dense/mask", "conv/threshold", "model_pruning/last_mask_update_step"):
            assert_same_bits({name: after[name]}, {name: before[name]})


def test_finite_training_raises_nothing():
    """The control: the same net, untouched."""
    last = record(Net(optimizer=descent), SPEC, 20)[-1]
    assert last["dense/mask"].mean() == 0.5 and last["model_pruning/last_mask_update_step"] == 20
