"""What differs between two plans."""

import json
from dataclasses import replace

import pytest

from graph_masker.errors import PlanError
from graph_masker.plan import MaskPlan, Skip
from graph_masker.plan_changes import plan_changes
from graph_masker.spec import PruningSpec
from tests.unit.test_plan import SPEC, plan

NAMES = ["conv/kernel", "separable/pointwise_kernel", "logits/kernel"]


def without(whole, *names):
    return replace(whole, sites=tuple(site for site in whole.sites if site.variable not in names))


def test_nothing_between_a_plan_and_what_it_is_read_back_as():
    found = plan()
    assert [site.variable for site in found.sites] == NAMES
    assert plan_changes(found, found) == []
    assert plan_changes(MaskPlan.from_json(found.to_json()), found) == []


def test_settings():
    old = replace(plan(), spec=SPEC)
    new = replace(old, spec=PruningSpec(0.75, 1, 20, rules=[{"match": "conv", "exclude": True}], structure="2:8"))
    lines = plan_changes(old, new)
    assert lines == [
        "target_sparsity: 0.5 -> 0.75",
        "end_step: 10 -> 20",
        "structure: element -> 2:8",
        "rules: [] -> [{'match': 'conv', 'exclude': True}]",
    ]
    assert plan_changes(new, old)[0] == "target_sparsity: 0.75 -> 0.5"
    assert plan_changes(replace(old, spec=None), old)[0] == "target_sparsity: None -> 0.5"


def test_weights():
    whole = plan()
    assert plan_changes(without(whole, NAMES[0]), whole) == [f"newly masked: {NAMES[0]}"]
    fewer = replace(without(whole, *NAMES[1:]), skips=(Skip(NAMES[2], "", "not wanted"),))
    assert plan_changes(whole, fewer) == [
        f"no longer masked: {NAMES[1]} (the model has no such weight)",
        f"no longer masked: {NAMES[2]} (not wanted)",
    ]
    larger = replace(whole, sites=(replace(whole.sites[0], shape=(5, 5, 3, 4)), *whole.sites[1:]))
    assert plan_changes(whole, larger) == [f"{NAMES[0]}: shape [3, 3, 3, 4] -> [5, 5, 3, 4]"]


@pytest.mark.parametrize(
    "text", ["", "[]", "3", "null", '{"sites": 3}', '{"sites": [3], "skips": [], "spec": null}', "[" * 100000]
)
def test_what_is_no_plan(text):
    with pytest.raises(PlanError, match="expected a mask plan in JSON"):
        MaskPlan.from_json(text)
    with pytest.raises(PlanError, match="expected a mask plan in JSON"):
        MaskPlan.from_json(json.dumps({"sites": [], "skips": [], "spec": {"target_sparsity": 7}}))
