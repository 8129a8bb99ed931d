"""Training a net that graph_masker masks equals training its twin masked by hand, bit for bit (G3)."""

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.bits import assert_same_bits, differences, flip_last_bit
from tests.helpers.turns import in_turns
from tests.oracle.nets import NETS
from tests.oracle.training import SPEC, STEPS, train_auto_masked, train_hand_masked, train_with_auto_mask


@pytest.mark.parametrize("name, kind", in_turns(NETS, ("ref", "resource")))
def test_training_equals_contribs(name: str, kind: str):
    model, use_resource = NETS[name], kind == "resource"
    theirs = train_hand_masked(model, model.spec, use_resource)
    ours = train_auto_masked(model, model.spec, theirs.initial, use_resource)
    assert_same_bits(ours.flat(), theirs.flat())
    masks = [value for key, value in theirs.steps[-1].items() if key.endswith("mask")]
    assert masks and all(0.75 < 1 - mask.mean() < 0.85 for mask in masks), "the oracle pruned nothing"
    assert STEPS >= 50


CONTROL = NETS["slim dense, Adam"]


@pytest.fixture(scope="module")
def theirs():
    return train_hand_masked(CONTROL, SPEC)


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
@pytest.mark.parametrize("name", ["shared convolutions, clipped momentum", "LSTM in dynamic_rnn, clipped momentum"])
def test_auto_mask_trains_the_same(name: str, use_resource: bool):
    model = NETS[name]
    theirs = train_hand_masked(model, model.spec, use_resource)
    assert_same_bits(train_with_auto_mask(model, model.spec, theirs.initial, use_resource).flat(), theirs.flat())


def test_one_bit_of_one_weight_is_seen(theirs):
    initial = {**theirs.initial, "first/weights": flip_last_bit(theirs.initial["first/weights"])}
    assert differences(train_auto_masked(CONTROL, SPEC, initial).flat(), theirs.flat())


def test_one_bit_of_one_slot_is_seen(theirs):
    name = next(name for name in theirs.initial if name.endswith("Adam"))
    initial = {**theirs.initial, name: flip_last_bit(theirs.initial[name] + np.float32(1e-6))}
    assert differences(train_auto_masked(CONTROL, SPEC, initial).flat(), theirs.flat())


def test_masking_turned_off_is_seen(theirs):
    dense_start = {key: v for key, v in theirs.initial.items() if "mask" not in key and "threshold" not in key}
    ours, expected = train_auto_masked(CONTROL, None, dense_start).steps, theirs.steps
    losses = [({"loss": one["loss"]}, {"loss": other["loss"]}) for one, other in zip(ours, expected)]
    # The first update follows step 10, so that the first loss it changes is that of step 11.
    assert [bool(differences(*pair)) for pair in losses[:11]] == [False] * 10 + [True]


@pytest.mark.parametrize("change", [{"frequency": 20}, {"target_sparsity": 0.79}, {"begin_step": 11}, {"exponent": 2}])
def test_another_schedule_is_seen(theirs, change):
    assert differences(train_auto_masked(CONTROL, replace(SPEC, **change), theirs.initial).flat(), theirs.flat())
