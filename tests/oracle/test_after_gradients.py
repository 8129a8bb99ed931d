"""Masking a graph whose gradients exist trains it like masking it before they were built, bit for bit."""

import re

import numpy as np
import pytest

from tests.helpers.bits import assert_same_bits, differences
from tests.helpers.turns import in_turns
from tests.oracle.nets import NETS, PLAIN_NETS
from tests.oracle.training import SPEC, train_auto_masked, train_masked_afterwards

ALL = {**NETS, **PLAIN_NETS}


@pytest.mark.parametrize(
    "name, kind", in_turns(ALL, ("ref live", "resource imported", "ref imported", "resource live"))
)
def test_training_equals_that_of_a_graph_masked_first(name: str, kind: str):
    use_resource, imported = kind.startswith("resource"), kind.endswith("imported")
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
