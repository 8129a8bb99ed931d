"""Sparsity over the steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_masker.errors import UsageError
from graph_masker.schedule import (
    falls,
    kept_entries,
    latest_update,
    sparsities_at,
    sparsity_at,
    update_steps,
    weight_sparsities_at,
    weight_sparsity_at,
)
from graph_masker.spec import PruningSpec
from tests.helpers.specs import plain_specs


def test_begin_end_and_beyond():
    spec = PruningSpec(0.9, 100, 200, initial_sparsity=0.25)
    values = [sparsity_at(spec, step) for step in (0, 100, 200, 10_000)]
    assert values == [float(np.float32(value)) for value in (0.25, 0.25, 0.9, 0.9)]


def test_halfway_follows_the_polynomial():
    assert sparsity_at(PruningSpec(0.8, 0, 100), 50) == pytest.approx(0.8 - 0.8 * 0.5**3, rel=1e-6)
    assert sparsity_at(PruningSpec(0.8, 0, 100, exponent=1.0), 50) == pytest.approx(0.4, rel=1e-6)


def test_it_never_falls_while_the_target_lies_above_the_start():
    spec = PruningSpec(0.95, 10, 110, initial_sparsity=0.1)
    values = [sparsity_at(spec, step) for step in range(130)]
    assert values == sorted(values)


@pytest.mark.parametrize(
    "begin, end, frequency, steps",
    [
        (0, 10, 5, [0, 5, 10]),
        (25, 60, 10, [25, 35, 45, 55, 60]),
        (3, 5, 100, [3, 5]),
        (1, 2, 1, [1, 2]),
    ],
)
def test_update_steps(begin, end, frequency, steps):
    assert update_steps(PruningSpec(0.5, begin, end, frequency=frequency)) == steps


@pytest.mark.parametrize(
    "entries, sparsity, kept",
    [(10, 0.0, 10), (5, 0.5, 2), (7, 0.5, 4), (64, 0.7890625, 14), (10, 0.99, 1), (1, 0.9, 1), (0, 0.5, 0)],
)
def test_kept_entries_rounds_halves_to_even_and_keeps_one(entries, sparsity, kept):
    assert kept_entries(entries, sparsity) == kept


def single(values):
    """Float32 values as Python floats."""
    return [float(np.float32(value)) for value in values]


def test_a_constant_schedule_asks_for_the_target_from_its_begin_on():
    spec = PruningSpec(0.7, 100, 200, frequency=50, schedule="constant")
    assert [sparsity_at(spec, step) for step in (0, 99, 100, 101, 200, 999)] == single([0, 0, 0.7, 0.7, 0.7, 0.7])
    assert update_steps(spec) == [100, 150, 200]


def test_a_one_shot_schedule_has_one_update():
    spec = PruningSpec(0.7, 100, schedule="one_shot")
    assert [sparsity_at(spec, step) for step in (99, 100, 5000)] == single([0, 0.7, 0.7])
    assert update_steps(spec) == [100]
    assert update_steps(spec, until=99) == []


def test_a_listed_schedule_holds_each_value_until_the_next_update():
    spec = PruningSpec(begin_step=10, end_step=35, frequency=10, schedule=[0.1, 0.4, 0.2, 0.9])
    assert update_steps(spec) == [10, 20, 30, 35]
    asked = [sparsity_at(spec, step) for step in (0, 9, 10, 19, 20, 29, 30, 34, 35, 36, 1000)]
    assert asked == single([0, 0, 0.1, 0.1, 0.4, 0.4, 0.2, 0.2, 0.9, 0.9, 0.9])


def test_updates_without_end():
    spec = PruningSpec(0.8, 5, sparsity_end_step=25, frequency=10)
    assert update_steps(spec, until=45) == [5, 15, 25, 35, 45]
    assert update_steps(spec, until=4) == []
    assert [sparsity_at(spec, step) for step in (25, 26, 10**9)] == single([0.8] * 3)
    with pytest.raises(UsageError, match="update_steps: expected `until`, for a schedule whose updates never end"):
        update_steps(spec)


def test_until_cuts_a_schedule_that_ends():
    spec = PruningSpec(0.8, 5, 28, frequency=10)
    cut = {until: update_steps(spec, until) for until in (4, 5, 15, 27, 28, 1000)}
    assert cut == {4: [], 5: [5], 15: [5, 15], 27: [5, 15, 25], 28: [5, 15, 25, 28], 1000: [5, 15, 25, 28]}


@settings(deadline=None, max_examples=100)
@given(plain_specs(), st.integers(0, 3000))
def test_the_latest_update_is_the_last_of_those_so_far(plain, step):
    spec = PruningSpec.from_dict(plain)
    assert latest_update(spec, step) == next(iter(update_steps(spec, step)[::-1]), None)


def test_a_curve_of_its_own():
    own = PruningSpec(0.8, 50, 90, sparsity_begin_step=0, sparsity_end_step=100)
    plain = PruningSpec(0.8, 0, 100)
    assert [sparsity_at(own, step) for step in range(120)] == [sparsity_at(plain, step) for step in range(120)]
    assert sparsity_at(own, 90) < 0.8


def test_a_weight_with_a_target_of_its_own_follows_in_proportion():
    spec = PruningSpec(0.8, 0, 100, exponent=1.0)
    found = [weight_sparsity_at(spec, 0.4, step) for step in (0, 25, 50, 100, 101)]
    assert found == [sparsity_at(spec, step) / 2 for step in (0, 25, 50)] + single([0.4, 0.4])


@pytest.mark.parametrize("target", [0.05, 0.3, 0.55, 0.7, 0.95])
def test_a_weights_own_target_is_reached_exactly(target):
    spec = PruningSpec(0.6, 0, 100)
    assert [weight_sparsity_at(spec, target, step) for step in (100, 5000)] == single([target] * 2)


def test_the_product_alone_would_miss_some_targets():
    """Why the end of the curve is a case of its own."""
    targets = np.arange(1, 100, dtype=np.float32) / np.float32(100)
    missed = np.float32(0.6) * (targets / np.float32(0.6)) != targets
    assert missed.any()


def test_the_spec_s_own_target_changes_nothing():
    spec = PruningSpec(0.7, 3, 300, initial_sparsity=0.2)
    steps = np.arange(400)
    assert weight_sparsities_at(spec, 0.7, steps).tobytes() == sparsities_at(spec, steps).tobytes()
    assert weight_sparsities_at(spec, 0.71, steps).tobytes() != sparsities_at(spec, steps).tobytes()


def test_no_weight_is_asked_for_more_than_everything():
    falling = PruningSpec(0.3, 0, 100, initial_sparsity=0.9)
    assert weight_sparsity_at(falling, 0.6, 0) == 1.0
    assert weight_sparsity_at(falling, 0.6, 100) == float(np.float32(0.6))


def test_a_target_of_0_asks_for_nothing_on_the_way():
    spec = PruningSpec(0.0, 0, 10)
    assert [weight_sparsity_at(spec, 0.0, step) for step in (0, 5, 10)] == [0.0] * 3
    at_once = PruningSpec(0.0, 5, schedule="one_shot", rules=[{"match": "a", "sparsity": 0.5}])
    assert [weight_sparsity_at(at_once, 0.5, step) for step in (4, 5)] == [0.0, 0.5]


@settings(max_examples=150, deadline=None)
@given(plain_specs(), st.floats(0.0, 0.999))
def test_every_schedule_keeps_within_its_range_and_arrives(plain, target):
    spec = PruningSpec.from_dict(plain)
    last = max(spec.curve[1], spec.last_step or 0)
    steps = update_steps(spec, last + 100)
    assert steps[0] == spec.begin_step
    assert spec.last_step is None or steps[-1] == spec.last_step
    assert all(one < other for one, other in zip(steps, steps[1:]))
    asked = sparsities_at(spec, [*steps, last])
    assert asked.dtype == np.float32
    assert (asked >= 0).all()
    assert (asked <= 1).all()
    assert asked[-1] == np.float32(spec.target_sparsity)
    assert [float(value) for value in asked[:-1]] == [sparsity_at(spec, step) for step in steps]
    own = weight_sparsities_at(spec, target, [*steps, last])
    assert (own >= 0).all()
    assert (own <= 1).all()
    assert own[-1] == np.float32(target)
    if spec.values is not None:
        assert asked[:-1].tobytes() == np.asarray(spec.values, np.float32).tobytes()


def test_a_schedule_falls_where_it_asks_for_less_than_before():
    assert not falls(PruningSpec(0.5, 0, 10, frequency=5))
    assert not falls(PruningSpec(0.5, 0, 10, frequency=5, initial_sparsity=0.5))
    assert falls(PruningSpec(0.5, 0, 10, frequency=5, initial_sparsity=0.6))
    assert not falls(PruningSpec(0.5, 0, 10, frequency=5, schedule="constant"))
    assert not falls(PruningSpec(0.5, 0, 10, frequency=5, schedule=(0.1, 0.1, 0.5)))
    assert falls(PruningSpec(0.5, 0, 10, frequency=5, schedule=(0.1, 0.6, 0.5)))
