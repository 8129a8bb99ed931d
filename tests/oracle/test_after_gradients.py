"""Masking a graph whose gradients exist trains it like masking it before they were built, bit for bit."""

import re

import numpy as np
import pytest

from tests.helpers.bits import assert_same_bits, differences
from tests.oracle.nets import NETS, PLAIN_NETS
from tests.oracle.training import SPEC, train_auto_masked, train_masked_afterwards

KINDS = pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
IMPORTED = pytest.mark.parametrize("imported", [False, True], ids=["live", "imported"])
ALL = {**NETS, **PLAIN_NETS}


@IMPORTED
@KINDS
@pytest.mark.parametrize("name", ALL)
def test_training_equals_that_of_a_graph_masked_first(name: str, use_resource: bool, imported: bool):
    first = train_auto_masked(ALL[name], SPEC, {}, use_resource)
    afterwards = train_masked_afterwards(ALL[name], SPEC, first.initial, use_resource, imported)
    assert_same_bits(afterwards.flat(), first.flat())
    masks = [value for key, value in first.steps[-1].items() if re.search(r"mask(/part_\d+)?$", key)]
    assert masks and all(mask.min() == 0 for mask in masks), "nothing was pruned"


def test_an_unmasked_gradient_is_seen(monkeypatch):
    from graph_masker import surgery

    name = "slim dense, Adam"
    first = train_auto_masked(ALL[name], SPEC, {})
    monkeypatch.setattr(surgery, "_mask_gradient", lambda *_: None)
    afterwards = train_masked_afterwards(ALL[name], SPEC, first.initial)
    lines = differences(afterwards.flat(), first.flat())
    assert lines and min(int(line.split(":")[0][len("step ") :]) for line in lines) == 11
    assert np.isfinite(afterwards.steps[-1]["loss"])
