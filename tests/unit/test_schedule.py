"""Sparsity over the steps."""

import numpy as np
import pytest

from graph_masker.schedule import kept_entries, sparsity_at, update_steps
from graph_masker.spec import PruningSpec


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
