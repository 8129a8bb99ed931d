"""The mask update against a reference that sorts."""

from dataclasses import replace
from typing import Any, Dict, NamedTuple

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_masker.engine import NEVER, is_due
from graph_masker.errors import PlanError, UsageError
from graph_masker.masker import Masker
from graph_masker.schedule import kept_entries, sparsity_at, update_steps
from graph_masker.selection import kept_units
from graph_masker.spec import PruningSpec
from tests.helpers.bits import assert_same_bits, differences
from tests.helpers.running import initialize, single_threaded

DTYPES = (tf.float16, tf.bfloat16, tf.float32, tf.float64)
SIZES = (1, 2, 7, 64)
# Linear in the step, so that step and sparsity stand for each other: 0 at step 0, 0.999 at step 1000.
SPEC = PruningSpec(0.999, 0, 1000, frequency=1, exponent=1.0, continue_from_masks=False)


def reference(weight: Any, sparsity: float) -> Dict[str, Any]:
    """Keeps the largest magnitudes; among equal ones those of lowest index."""
    magnitude = np.abs(weight.reshape(-1)).astype(np.float64)
    kept = max(1, int(np.rint(np.float32(weight.size) * (np.float32(1.0) - np.float32(sparsity)))))
    order = sorted(range(weight.size), key=lambda index: (-magnitude[index], index))
    mask = np.zeros(weight.size, weight.dtype)
    mask[order[:kept]] = 1
    return {"mask": mask.reshape(weight.shape), "threshold": weight.dtype.type(magnitude[order[kept - 1]])}


class Bench(NamedTuple):
    """A masked graph with one weight per type and size, and a session that can update it at any step."""

    session: Any
    masker: Masker
    step: Any

    def update(self, name: str, value: Any, step: int) -> Dict[str, Any]:
        item = next(item for item in self.masker.masked_variables if item.site.variable == name)
        item.weight.load(value, self.session)
        self.step.load(step, self.session)
        self.masker.state_variables[-1].load(NEVER, self.session)
        self.session.run(self.masker.update_op)
        return self.session.run({"mask": item.mask, "threshold": item.threshold})


@pytest.fixture(scope="module", params=["ref", "resource"])
def bench(request):
    use_resource = request.param == "resource"
    with tf.Graph().as_default() as graph, tf.variable_scope(tf.get_variable_scope(), use_resource=use_resource):
        step = tf.train.get_or_create_global_step()
        for dtype in DTYPES:
            for size in SIZES:
                weight = tf.get_variable(f"{dtype.name}_{size}/kernel", [size, 1], dtype, tf.zeros_initializer())
                tf.matmul(tf.placeholder(dtype, [1, size]), weight)
        masker = Masker(graph, SPEC)
        masker.mask(strict=True)
        masker.attach_update(tf.no_op())
    with single_threaded(graph) as session:
        initialize(session)
        yield Bench(session, masker, step)


def _normals(dtype: Any, size: int, seed: int = 0) -> Any:
    return np.random.RandomState(seed).normal(size=[size, 1]).astype(dtype.as_numpy_dtype)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_update_equals_the_reference_at_every_sparsity(bench: Bench, dtype: Any, size: int):
    value = _normals(dtype, size)
    for step in (0, 1, 100, 333, 500, 750, 999, 1000, 5000):
        found = bench.update(f"{dtype.name}_{size}/kernel", value, step)
        assert_same_bits(found, reference(value, sparsity_at(SPEC, step)))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_exact_count_among_equal_magnitudes(bench: Bench, dtype: Any):
    for value in (0.0, -0.5):
        weight = np.full([64, 1], value, dtype.as_numpy_dtype)
        found = bench.update(f"{dtype.name}_64/kernel", weight, 500)
        kept = kept_entries(64, sparsity_at(SPEC, 500))
        assert list(found["mask"].reshape(-1)) == [1] * kept + [0] * (64 - kept)
        assert found["threshold"] == abs(value)


def test_ties_at_the_threshold_keep_the_lowest_index(bench: Bench):
    weight = np.array([0.5, -1.0, 0.5, -0.5, 2.0, 0.25, 0.5], np.float32).reshape(7, 1)
    found = bench.update("float32_7/kernel", weight, 430)
    assert list(found["mask"].reshape(-1)) == [1, 1, 1, 0, 1, 0, 0]
    assert found["threshold"] == 0.5


def test_sparsity_zero_keeps_everything(bench: Bench):
    found = bench.update("float32_64/kernel", _normals(tf.float32, 64), 0)
    assert found["mask"].all()


def test_at_least_one_entry_stays(bench: Bench):
    for size in SIZES:
        found = bench.update(f"float32_{size}/kernel", _normals(tf.float32, size), 1000)
        assert found["mask"].sum() == 1


def test_reference_is_not_met_by_another_sparsity(bench: Bench):
    value = _normals(tf.float32, 64)
    found = bench.update("float32_64/kernel", value, 500)
    assert differences(found, reference(value, sparsity_at(SPEC, 600)))


_FEW = st.sampled_from([0.0, -0.0, 0.25, -0.25, 1.0, -1.0])
_ANY = st.floats(width=16, allow_nan=False, allow_infinity=False, allow_subnormal=False)


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    values=st.sampled_from(SIZES).flatmap(lambda n: st.lists(_FEW | _ANY, min_size=n, max_size=n)),
    step=st.integers(0, 1100),
)
def test_update_equals_the_reference_on_drawn_weights(bench: Bench, dtype: Any, values: Any, step: int):
    weight = np.array(values).reshape(-1, 1).astype(dtype.as_numpy_dtype)
    found = bench.update(f"{dtype.name}_{len(values)}/kernel", weight, step)
    assert_same_bits(found, reference(weight, sparsity_at(SPEC, step)))


@pytest.mark.parametrize("entries", [1, 5, 2**24, 2**24 + 1, 25_557_032, 2**31 - 1])
def test_kept_entries_agrees_between_graph_and_numpy(entries: int):
    with tf.Graph().as_default(), tf.Session() as session:
        sparsity = tf.placeholder(tf.float32, [])
        kept = kept_units(tf.constant(entries), sparsity)
        for value in (0.0, 1e-7, 0.1, 0.5, 0.875, 0.9, 0.999, 0.9999999):
            assert session.run(kept, {sparsity: value}) == kept_entries(entries, value)


def test_beyond_float32_the_count_is_exact():
    assert kept_entries(2**24 + 1, 0.0) == 2**24 + 1
    assert kept_entries(2**25 + 2, 0.5) == 2**24 + 1


SCHEDULES = [
    PruningSpec(0.5, 0, 5, frequency=1),
    PruningSpec(0.5, 0, 7, frequency=3),
    PruningSpec(0.5, 25, 60, frequency=10),
    PruningSpec(0.5, 10, 30, frequency=10),
    PruningSpec(0.5, 3, 5, frequency=100),
]


def _updates_made(spec: PruningSpec, steps: Any) -> Any:
    made, last = [], NEVER
    with tf.Graph().as_default(), tf.Session() as session:
        step, last_update = tf.placeholder(tf.int32, []), tf.placeholder(tf.int32, [])
        due = is_due(spec, step, last_update)
        for number in steps:
            if session.run(due, {step: number, last_update: last}):
                made.append(number)
                last = number
    return made


@pytest.mark.parametrize("spec", SCHEDULES, ids=lambda spec: f"{spec.begin_step}-{spec.end_step}/{spec.frequency}")
def test_updates_happen_at_the_scheduled_steps_and_no_other(spec: PruningSpec):
    assert _updates_made(spec, range(80)) == update_steps(spec)
    assert update_steps(spec)[-1] == spec.end_step


@pytest.mark.parametrize("spec", SCHEDULES, ids=lambda spec: f"{spec.begin_step}-{spec.end_step}/{spec.frequency}")
@pytest.mark.parametrize("stride", [2, 4, 7, 79])
def test_a_jumped_step_is_made_up_for(spec: PruningSpec, stride: int):
    scheduled, last, expected = update_steps(spec), NEVER, []
    steps = range(1, 162, stride)
    for step in steps:
        if any(last < number <= step for number in scheduled):
            expected.append(step)
            last = step
    assert _updates_made(spec, steps) == expected
    assert expected[-1] >= spec.end_step


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
@pytest.mark.parametrize("begin", [0, 4])
def test_update_sees_the_step_and_the_weights_that_the_optimizer_wrote(begin: int, use_resource: bool):
    with tf.Graph().as_default() as graph, tf.variable_scope(tf.get_variable_scope(), use_resource=use_resource):
        step = tf.train.get_or_create_global_step()
        weight = tf.get_variable("layer/kernel", [4, 1], tf.float32, tf.constant_initializer([1.0, 2.0, 3.0, 4.0]))
        masker = Masker(graph, PruningSpec(0.5, begin, 8, frequency=2, initial_sparsity=0.5))
        masker.mask([tf.matmul(tf.placeholder(tf.float32, [2, 4]), weight)])
        # Each step moves the order of magnitudes by one.
        with tf.control_dependencies([weight.assign(tf.roll(weight.read_value(), 1, 0))]):
            train_op = step.assign_add(1).op
        update = masker.attach_update(train_op)
        mask, last_update = masker.masks["layer/kernel"], masker.state_variables[-1]
    with tf.Session(graph=graph) as session:
        initialize(session)
        expected, last = np.ones([4, 1]), NEVER
        scheduled = update_steps(masker.spec)
        for number in range(1, 11):
            session.run(update)
            if any(last < due <= number for due in scheduled):
                expected, last = session.run(weight) >= 3.0, number
            assert session.run(last_update) == last
            assert (session.run(mask) == expected).all()


def test_update_needs_a_global_step_and_a_mask():
    with tf.Graph().as_default() as graph:
        masker = Masker(graph, replace(SPEC))
        with pytest.raises(PlanError, match="no weight is masked"):
            masker.attach_update(tf.no_op())
        masker.mask([tf.matmul(tf.placeholder(tf.float32, [2, 4]), tf.get_variable("kernel", [4, 1]))])
        with pytest.raises(UsageError, match="no global step"):
            masker.attach_update(tf.no_op())
