"""Specs validate themselves, and their messages say what is allowed."""

import copy
import json
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_masker.errors import GraphMaskerError, SpecError
from graph_masker.plan import MaskPlan
from graph_masker.spec import PruningSpec
from graph_masker.spec.reading import parse_yaml
from tests.helpers.specs import plain_specs

GOOD = {"target_sparsity": 0.8, "begin_step": 10, "end_step": 100}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"target_sparsity": 1.0}, "target_sparsity: expected a fraction of zeros with 0 <= s < 1, found 1"),
        ({"target_sparsity": -0.1}, "target_sparsity: expected a fraction of zeros with 0 <= s < 1, found -0.1"),
        ({"target_sparsity": float("nan")}, "target_sparsity: .* found nan"),
        ({"target_sparsity": "0.8"}, "target_sparsity: expected a number, found '0.8'"),
        ({"target_sparsity": True}, "target_sparsity: expected a number, found True"),
        ({"initial_sparsity": 2}, "initial_sparsity: expected a fraction of zeros with 0 <= s < 1, found 2"),
        ({"begin_step": -1}, "begin_step: expected at least 0, found -1"),
        ({"begin_step": 1.5}, "begin_step: expected a whole number of steps, found 1.5"),
        ({"end_step": 10}, "expected begin_step < end_step, found 10 and 10; raise end_step or lower begin_step"),
        ({"frequency": 0}, "frequency: expected at least 1, found 0"),
        ({"exponent": 0}, "exponent: expected a number above 0, found 0"),
        ({"exponent": float("inf")}, "exponent: expected a number above 0, found inf"),
        ({"include": ["("]}, r"include: '\(' is not a regular expression: "),
        ({"exclude": [3]}, r"exclude: expected text or a list of texts, found \[3\]"),
        ({"also": {"depthwise": True}}, "also: expected text or a list of texts"),
        ({"end_step": None}, "missing end_step: a spec needs .*; to update masks without end, give sparsity_end_step"),
        ({"begin_step": None}, "missing begin_step: a spec needs target_sparsity, begin_step, end_step"),
        ({"target_sparsity": None}, "missing target_sparsity: a spec needs target_sparsity, begin_step, end_step"),
        ({"end_step": "100"}, "end_step: expected a whole number of steps, found '100'"),
        ({"sparsity_begin_step": -1}, "sparsity_begin_step: expected at least 0, found -1"),
        ({"sparsity_end_step": 0}, "sparsity_end_step: expected at least 1, found 0"),
        (
            {"sparsity_begin_step": 100},
            r"sparsity_begin_step, sparsity_end_step: expected begin < end, found 100 and 100",
        ),
        ({"sparsity_end_step": 5}, r"sparsity_begin_step, sparsity_end_step: expected begin < end, found 10 and 5"),
        ({"threshold_decay": 1}, "threshold_decay: expected a number with 0 <= d < 1, found 1"),
        ({"threshold_decay": 0.5, "structure": "2:4", "target_sparsity": 0.5}, "structure: 2:4 has no threshold"),
        ({"continue_from_masks": 1}, "continue_from_masks: expected true or false, found 1"),
        ({"allocation": "layerwise"}, "allocation: expected uniform or global or erk, found 'layerwise'"),
        ({"criterion": None}, "criterion: expected magnitude or movement or taylor, found None"),
        ({"max_sparsity": 0}, "max_sparsity: expected a fraction of zeros with 0 < m <= 1, found 0"),
        ({"max_sparsity": 0.7}, "max_sparsity: expected at least target_sparsity, 0.8, found 0.7; raise it or lower"),
        ({"structure": "2:4"}, "target_sparsity: expected 0.5, which is what 2:4 stands for, found 0.8; leave"),
        ({"structure": "2:4", "target_sparsity": None, "allocation": "global"}, "structure: 2:4 fixes the sparsity"),
        ({"schedule": "cubic"}, "schedule: expected polynomial, constant, one_shot, or a list .*, found 'cubic'"),
        ({"schedule": None}, "schedule: expected polynomial, constant, one_shot, or a list .*, found None"),
        ({"schedule": {"a": 1}}, "schedule: expected polynomial, constant, one_shot, or a list .*, found {'a': 1}"),
        ({"schedule": "one_shot"}, "end_step: cannot be given where schedule is one_shot; leave it out"),
        (
            {"schedule": "one_shot", "end_step": None, "frequency": 5},
            "frequency: cannot be given where schedule is one_shot",
        ),
        (
            {"schedule": "constant", "initial_sparsity": 0.1},
            "initial_sparsity: cannot be given where schedule is constant",
        ),
        (
            {"schedule": "constant", "sparsity_end_step": 50},
            "sparsity_end_step: cannot be given where schedule is constant",
        ),
        ({"schedule": [0.8], "exponent": 2}, "exponent: cannot be given where schedule is a list"),
        ({"schedule": [0.1, 0.8]}, "schedule: expected 10 fractions .* from step 10 to 100, found 2"),
        (
            {"schedule": [0.1, 0.8], "end_step": None},
            "end_step: expected the step of the last update .* list, found none",
        ),
        ({"schedule": [0.1, 1.0], "end_step": 20}, r"schedule\[1\]: expected a fraction of zeros .*, found 1"),
        (
            {"schedule": [0.1, 0.7], "end_step": 20},
            "schedule: expected its last value to be target_sparsity, 0.8, found 0.7",
        ),
    ],
)
def test_a_bad_value_is_refused(change, message):
    with pytest.raises(SpecError, match=message) as caught:
        PruningSpec(**{**GOOD, **change})
    assert "\n" not in str(caught.value)


def test_errors_are_ours_and_value_errors():
    assert issubclass(SpecError, GraphMaskerError)
    assert issubclass(SpecError, ValueError)


def test_a_single_pattern_is_a_list_of_one():
    assert PruningSpec(**GOOD, include="conv").include == ("conv",)


def test_specs_are_frozen():
    with pytest.raises(FrozenInstanceError):
        PruningSpec(**GOOD).frequency = 3


def test_left_out_values_are_taken_from_what_says_them():
    assert PruningSpec(begin_step=0, end_step=9, structure="2:4").target_sparsity == 0.5
    assert PruningSpec(begin_step=0, end_step=10, schedule=[0.1, 0.6]).target_sparsity == 0.6
    assert PruningSpec(0.5, 3, schedule="one_shot").last_step == 3
    assert PruningSpec(0.5, 3, schedule="constant").last_step is None
    assert PruningSpec(0.5, 3, 9).last_step == 9


def test_the_curve_is_where_sparsity_rises():
    assert PruningSpec(0.5, 3, 9).curve == (3, 9)
    assert PruningSpec(0.5, 3, sparsity_end_step=20).curve == (3, 20)
    assert PruningSpec(0.5, 3, 9, sparsity_begin_step=1, sparsity_end_step=20).curve == (1, 20)
    assert PruningSpec(0.5, 3, 9, schedule="constant").curve == (3, 3)
    assert PruningSpec(0.5, 3, schedule="one_shot").curve == (3, 3)
    assert PruningSpec(0.5, 3, 13, schedule=[0.1, 0.5]).curve == (3, 13)


def test_a_callable_is_called_at_each_update_and_kept_as_its_values():
    asked = []

    def schedule(step):
        asked.append(step)
        return np.float32(step) / np.float32(128)

    spec = PruningSpec(begin_step=8, end_step=64, frequency=25, schedule=schedule)
    assert asked == [8, 33, 58, 64]
    assert spec.schedule == spec.values == (8 / 128, 33 / 128, 58 / 128, 64 / 128)
    assert all(type(value) is float for value in spec.values)
    assert spec.target_sparsity == 0.5
    again = PruningSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert hash(again) == hash(spec)
    assert replace(spec, criterion="taylor").values == spec.values
    assert len(asked) == 4


@pytest.mark.parametrize(
    "schedule, change, message",
    [
        (lambda step: 1.0, {}, "schedule at step 10: expected a fraction of zeros with 0 <= s < 1, found 1"),
        (
            lambda step: -0.5 if step > 50 else 0.0,
            {},
            "schedule at step 60: expected a fraction of zeros .* found -0.5",
        ),
        (lambda step: None, {}, "schedule at step 10: expected a number, found None"),
        (lambda step: 0.5, {}, "schedule: expected its last value to be target_sparsity, 0.8, found 0.5"),
        (
            lambda step: 0.8,
            {"end_step": None},
            "end_step: expected the step of the last update where schedule is a callable",
        ),
        (
            lambda step: 0.8,
            {"end_step": 100_010, "frequency": 1},
            "schedule: expected at most 100000 updates where it is a callable, found 100001; raise frequency",
        ),
    ],
)
def test_a_bad_callable_is_refused(schedule, change, message):
    with pytest.raises(SpecError, match=message):
        PruningSpec(**{**GOOD, **change}, schedule=schedule)


def test_what_is_found_is_shown_shortly():
    with pytest.raises(SpecError) as caught:
        PruningSpec(**GOOD, include=[3] * 1000)
    assert len(str(caught.value)) < 200
    with pytest.raises(SpecError) as caught:
        PruningSpec(**GOOD, criterion=np.zeros([20, 20]))
    assert len(str(caught.value).splitlines()) == 1


def test_plans_keep_the_whole_spec():
    rules = [{"match": "a", "structure": {"block": [4, -1]}, "criterion": "taylor"}, {"match": "b", "exclude": True}]
    spec = PruningSpec(**GOOD, rules=rules, structure={"channel": "l2"}, sparsity_end_step=90, threshold_decay=0.5)
    assert MaskPlan.from_json(MaskPlan((), (), spec).to_json()).spec == spec
    listed = PruningSpec(begin_step=0, end_step=20, schedule=lambda step: step / 100)
    assert MaskPlan.from_json(MaskPlan((), (), listed).to_json()).spec == listed


@settings(max_examples=200, deadline=None)
@given(plain_specs())
def test_every_spec_round_trips(plain):
    spec = PruningSpec.from_dict(plain)
    text = json.dumps(spec.to_dict())
    assert PruningSpec.from_dict(json.loads(text)) == spec
    assert PruningSpec.from_dict(parse_yaml(yaml.safe_dump(spec.to_dict()))) == spec
    assert json.dumps(PruningSpec.from_dict(json.loads(text)).to_dict()) == text
    assert PruningSpec(**{field.name: getattr(spec, field.name) for field in fields(spec)}) == spec


@settings(max_examples=50, deadline=None)
@given(plain_specs(), st.sampled_from([field.name for field in fields(PruningSpec)]))
def test_a_spec_that_differs_in_one_field_is_another(plain, name):
    """What the round trip compares with would notice a field that is lost."""
    spec = PruningSpec.from_dict(plain)
    other = copy.copy(spec)
    object.__setattr__(other, name, "another value")
    assert other != spec


def test_dictionary_round_trip():
    spec = PruningSpec(**GOOD, frequency=7, initial_sparsity=0.1, exponent=1, include=["a"], exclude=["b", "c"])
    assert PruningSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_unknown_and_missing_keys_are_named():
    with pytest.raises(SpecError, match="unknown key sparsity: allowed are target_sparsity, begin_step"):
        PruningSpec.from_dict({**GOOD, "sparsity": 0.5})
    with pytest.raises(SpecError, match="missing end_step: a spec needs target_sparsity, begin_step, end_step"):
        PruningSpec.from_dict({"target_sparsity": 0.5, "begin_step": 1})
