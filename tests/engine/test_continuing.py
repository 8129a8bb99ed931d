"""Masks that are sparser than the schedule asks for stay so, or regrow; an ordinary run knows no difference."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import batches, plain_model_fn, read_all, run_config
from graph_masker import auto_mask
from graph_masker.schedule import kept_entries, sparsity_at, update_steps
from graph_masker.spec import PruningSpec
from tests.engine.nets import DENSE, WEIGHTS, Net, descent, mask_of, record, training
from tests.helpers.bits import assert_same_bits, differences

SPEC = PruningSpec(0.8, 2, 20, frequency=3, initial_sparsity=0.1)
NET = Net(use_resource=True, optimizer=descent)


def _sparse_mask(shape: Any, kept: int) -> Any:
    flat = np.zeros(int(np.prod(shape)), np.float32)
    flat[np.random.RandomState(4).permutation(flat.size)[:kept]] = 1
    return flat.reshape(shape)


@pytest.mark.parametrize("continues", [True, False])
@pytest.mark.parametrize("criterion", ["magnitude", "movement"])
def test_a_sparser_mask_stays_as_sparse_or_regrows(continues: bool, criterion: str):
    spec = replace(SPEC, continue_from_masks=continues, criterion=criterion)
    with training(NET, spec) as run:
        entries = run.values()[DENSE].size
        # 0.6 zeros, which the schedule asks for at about step 8.
        start = kept_entries(entries, 0.6)
        run.load(mask_of(DENSE), _sparse_mask(run.values()[DENSE].shape, start))
        kept = [int(values[mask_of(DENSE)].sum()) for values in run.steps(24)]
    expected, now = [], start
    for step in range(1, 25):
        if step in update_steps(spec):
            asked = kept_entries(entries, sparsity_at(spec, step))
            now = min(now, asked) if continues else asked
        expected.append(now)
    assert kept == expected
    assert kept[3] == start if continues else kept[3] > start
    assert kept[-1] == kept_entries(entries, 0.8)


def test_the_other_weights_keep_to_the_schedule():
    with training(NET, SPEC) as run:
        shape = run.values()[DENSE].shape
        run.load(mask_of(DENSE), _sparse_mask(shape, 20))
        last = run.steps(5)[-1]
    conv = last[mask_of("conv/kernel")]
    assert int(conv.sum()) == kept_entries(conv.size, sparsity_at(SPEC, 5))
    assert int(last[mask_of(DENSE)].sum()) == 20


@pytest.mark.parametrize("criterion", ["magnitude", "taylor"])
def test_an_ordinary_run_is_the_same_with_and_without(criterion: str):
    spec = replace(SPEC, criterion=criterion)
    with_it, without = (record(NET, replace(spec, continue_from_masks=value), 24) for value in (True, False))
    for one, other in zip(with_it, without):
        assert_same_bits(one, other)
    perturbed = record(NET, replace(spec, continue_from_masks=False, initial_sparsity=0.12), 24)
    assert any(differences(one, other) for one, other in zip(with_it, perturbed))


def test_a_schedule_that_falls_is_followed():
    """One that goes down asks for entries to come back, and keeps to its numbers."""
    values = (0.7, 0.2, 0.6, 0.4)
    spec = PruningSpec(0.4, 2, 11, frequency=3, schedule=values)
    assert spec.continue_from_masks
    recorded = record(NET, spec, 12)
    for step, asked in zip((2, 5, 8, 11), values):
        for name in WEIGHTS:
            mask = recorded[step][mask_of(name)]
            assert int(mask.sum()) == kept_entries(mask.size, asked), (step, name)
    spec = PruningSpec(0.3, 2, 11, frequency=3, initial_sparsity=0.8)
    recorded = record(NET, spec, 12)
    for step in update_steps(spec):
        mask = recorded[step][mask_of(DENSE)]
        assert int(mask.sum()) == kept_entries(mask.size, sparsity_at(spec, step)), step


def test_a_schedule_that_has_ended_stays_ended_until_a_later_end(tmp_path: Any):
    def train(spec: PruningSpec, last: int) -> Any:
        model_fn = auto_mask(plain_model_fn, spec)
        tf.estimator.Estimator(model_fn, str(tmp_path), run_config()).train(batches(), max_steps=last)
        return read_all(str(tmp_path))

    ended = train(PruningSpec(0.5, 2, 6, frequency=2), 8)
    assert ended["dense/mask"].mean() == 0.5
    same = train(PruningSpec(0.9, 2, 6, frequency=2), 12)
    assert_same_bits({"mask": same["dense/mask"]}, {"mask": ended["dense/mask"]})
    assert same["model_pruning/last_mask_update_step"] == 6
    # From half on: the schedule, which begins at nothing, lets no entry back in.
    on = train(PruningSpec(0.9, 12, 20, frequency=4), 13)
    assert on["dense/mask"].mean() == 0.5
    assert on["model_pruning/last_mask_update_step"] == 13
    further = train(PruningSpec(0.9, 12, 20, frequency=4), 20)
    assert int(further["dense/mask"].sum()) == kept_entries(further["dense/mask"].size, 0.9)
