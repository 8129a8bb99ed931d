"""The JSON Schema says what the dataclass does, as far as a schema can."""

import copy
import json
from dataclasses import fields
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_masker.errors import SpecError
from graph_masker.spec import PruningSpec, Rule, json_schema
from graph_masker.spec.pruning_spec import _LEFT_OUT
from graph_masker.spec.schema import schema_text
from graph_masker.spec.structure import Block, plain_structure
from tests.helpers.specs import plain_specs

ROOT = Path(__file__).parent.parent.parent
VALIDATOR = jsonschema.Draft7Validator(json_schema())


def _accepted_by_dataclass(plain):
    try:
        PruningSpec.from_dict(plain)
    except SpecError:
        return False
    return True


def test_it_is_a_schema_of_draft_7():
    jsonschema.Draft7Validator.check_schema(json_schema())
    assert json_schema()["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_the_file_is_what_the_code_says():
    text = (ROOT / "docs" / "pruning-spec.schema.json").read_text()
    remedy = "stale: run `.venv/bin/python -m graph_masker.spec > docs/pruning-spec.schema.json`"
    assert text == schema_text(), remedy
    assert json.loads(text) == json_schema()


def test_every_field_is_there_with_its_default_and_no_other():
    properties = json_schema()["properties"]
    assert list(properties) == [field.name for field in fields(PruningSpec)]
    for field in fields(PruningSpec):
        assert properties[field.name]["description"].endswith("."), field.name
        if field.name in ("target_sparsity", "begin_step", "end_step"):
            assert field.default is _LEFT_OUT or field.default is None
            assert "default" not in properties[field.name]
        else:
            default = plain_structure(field.default) if field.name == "structure" else field.default
            default = list(default) if isinstance(default, tuple) else default
            found = properties[field.name]["default"]
            assert (found, type(found)) == (default, type(default)), field.name


def test_every_field_of_a_rule_and_of_a_block_is_there():
    definitions = json_schema()["definitions"]
    assert list(definitions["rule"]["properties"]) == [field.name for field in fields(Rule)]
    (block,) = [form for form in definitions["structure"]["anyOf"] if "block" in form.get("properties", {})]
    sizes_apart = [field.name for field in fields(Block) if field.name not in ("height", "width")]
    assert list(block["properties"]) == ["block", *sizes_apart]


@settings(max_examples=200, deadline=None)
@given(plain_specs())
def test_what_the_dataclass_takes_the_schema_takes(plain):
    assert [error.message for error in VALIDATOR.iter_errors(plain)] == []
    written = PruningSpec.from_dict(plain).to_dict()
    assert [error.message for error in VALIDATOR.iter_errors(written)] == []


CHANGES = (
    [("target_sparsity", value) for value in (1.0, -0.1, "0.5", None, True, [0.5])]
    + [
        (name, value)
        for name in ("begin_step", "end_step", "frequency", "sparsity_begin_step", "sparsity_end_step")
        for value in (-1, 0.5, "5", True, 2**31, 0)
    ]
    + [
        ("exponent", 0),
        ("exponent", "3"),
        ("threshold_decay", 1),
        ("max_sparsity", 0),
        ("max_sparsity", 1.5),
        ("continue_from_masks", "yes"),
        ("allocation", "layerwise"),
        ("criterion", "size"),
        ("schedule", "cubic"),
        ("schedule", [0.5]),
        ("schedule", [0.5, 1.0]),
        ("schedule", []),
        ("include", [3]),
        ("also", {"a": 1}),
        ("structure", "rows"),
        ("structure", {"block": [4]}),
        ("structure", {"block": [0, 1]}),
        ("structure", {"channel": "l3"}),
        ("structure", {"block": [4, 1], "pooling": "AVG"}),
        ("structure", 124),
        ("structure", None),
        ("rules", {"match": "a"}),
        ("rules", [{"sparsity": 0.5}]),
        ("rules", [{"match": 3}]),
        ("rules", [{"match": "a", "s": 1}]),
        ("rules", [{"match": "a", "sparsity": 1}]),
        ("rules", [{"match": "a", "group": ""}]),
        ("unknown", 1),
    ]
)


@settings(max_examples=300, deadline=None)
@given(plain_specs(), st.sampled_from(CHANGES))
def test_what_the_schema_refuses_the_dataclass_refuses(plain, change):
    plain = {**plain, change[0]: change[1]}
    if not VALIDATOR.is_valid(plain):
        assert not _accepted_by_dataclass(plain)


BASE = {"target_sparsity": 0.5, "begin_step": 10, "end_step": 100}


@pytest.mark.parametrize(
    "plain",
    [{**BASE, name: value} for name, value in CHANGES if value not in (0, None) or name in ("exponent", "max_sparsity")]
    + [
        {"target_sparsity": 0.5, "end_step": 9},
        {"target_sparsity": 0.5, "begin_step": 9},
        {"begin_step": 10, "end_step": 100},
        {"begin_step": 10, "end_step": 100, "structure": "channel", "target_sparsity": None},
        {**BASE, "schedule": "one_shot"},
        {"target_sparsity": 0.5, "begin_step": 9, "schedule": "one_shot", "frequency": 5},
        {**BASE, "schedule": "constant", "initial_sparsity": 0.1},
        {**BASE, "schedule": "constant", "sparsity_end_step": 50},
        {**BASE, "schedule": "constant", "exponent": 2},
    ],
    ids=str,
)
def test_the_schema_refuses(plain):
    """Each of these is bad by one key or kind of schedule, which a schema can tell."""
    assert not VALIDATOR.is_valid(plain)
    assert not _accepted_by_dataclass(plain)


def test_a_schema_without_a_limit_would_be_noticed():
    loose = copy.deepcopy(json_schema())
    del loose["properties"]["target_sparsity"]["exclusiveMaximum"]
    plain = {**BASE, "target_sparsity": 1.0}
    assert jsonschema.Draft7Validator(loose).is_valid(plain)
    assert not VALIDATOR.is_valid(plain)
