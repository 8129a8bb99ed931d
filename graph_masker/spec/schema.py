"""The JSON Schema (draft-07) of spec files, so that editors complete, explain and check them.

It holds what a schema can say of single keys and of the kinds of schedule. What ties several keys together, such as
begin_step < end_step, is checked when the spec is read.
"""

import json
from typing import Any, Dict, List

from graph_masker.spec.settings import ALLOCATIONS, CRITERIA, CURVES, LAST_STEP, MOST_VALUES, ONE_SHOT, POLYNOMIAL
from graph_masker.spec.structure import NORMS, POOLINGS

Schema = Dict[str, Any]

_SPARSITY: Schema = {"type": "number", "minimum": 0, "exclusiveMaximum": 1}
_N_OF_M: Schema = {"type": "string", "pattern": r"^\s*[0-9]+\s*:\s*[0-9]+\s*$"}


def schema_text() -> str:
    """Returns the schema as the text that its file holds."""
    return json.dumps(json_schema(), indent=2) + "\n"


def json_schema() -> Schema:
    """Returns the JSON Schema (draft-07) of what `PruningSpec.from_dict` takes."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "graph_masker pruning spec",
        "description": "How sparse the weights of a model become, when, in what shape, and which of them.",
        "type": "object",
        "properties": _properties(),
        "required": ["begin_step"],
        "additionalProperties": False,
        "allOf": _conditions(),
        "definitions": {"structure": _structure(), "rule": _rule()},
    }


def _properties() -> Schema:
    return {
        "target_sparsity": {
            **_told(
                _or_null(_SPARSITY),
                "Fraction of zeros in each masked weight at the end of the schedule, 0 <= s < 1. It may be left out "
                "where structure (n:m) or schedule (its last value) says it.",
            ),
            "examples": [0.8, 0.9],
        },
        "begin_step": _told(_steps(0), "Global step of the first mask update."),
        "end_step": _told(
            _or_null(_steps(1)),
            "Global step of the last mask update; the target is reached there. null: masks go on being updated, and "
            "sparsity_end_step says where the target is reached.",
        ),
        "frequency": _told(_steps(1), "Global steps between two mask updates.", 10),
        "initial_sparsity": _told(_SPARSITY, "Fraction of zeros at which the polynomial begins.", 0.0),
        "exponent": _told(
            {"type": "number", "exclusiveMinimum": 0},
            "Of the polynomial schedule. 3 is Zhu & Gupta (2017), equation 1; 1 is a straight line.",
            3.0,
        ),
        "include": _told(_texts("regex"), "Where given, only variables in whose name one of these is found.", []),
        "exclude": _told(_texts("regex"), "Variables in whose name one of these is found stay dense.", []),
        "also": {
            **_told(_texts(), "Families of ops that are masked only on request.", []),
            "examples": [["depthwise"]],
        },
        "schedule": _told(
            {
                "anyOf": [
                    {"enum": list(CURVES)},
                    {"type": "array", "items": _SPARSITY, "minItems": 2, "maxItems": MOST_VALUES},
                ]
            },
            "polynomial; constant: the target from begin_step on; one_shot: one update, at begin_step, at the target; "
            "or a list of fractions of zeros, one for each update.",
            POLYNOMIAL,
        ),
        "sparsity_begin_step": _told(
            _or_null(_steps(0)), "Global step where the polynomial begins. null: at begin_step.", None
        ),
        "sparsity_end_step": _told(
            _or_null(_steps(1)), "Global step where the polynomial reaches the target. null: at end_step.", None
        ),
        "threshold_decay": _told(
            {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
            "Share of the previous threshold in the new one. Above 0 counts are not exact.",
            0.0,
        ),
        "continue_from_masks": _told(
            {"type": "boolean"},
            "A weight whose restored mask is sparser than the schedule asks for stays that sparse.",
            True,
        ),
        "structure": _told(
            _reference("structure"),
            "What is pruned as one: element; n:m (n of every m are kept); channel; or a block.",
            "element",
        ),
        "allocation": _told(
            {"enum": list(ALLOCATIONS)},
            "How the target is shared out. uniform: it is that of each weight; global: of a group of weights, which "
            "share one threshold; erk: of all weights, by Erdos-Renyi-Kernel (Evci et al. 2020).",
            "uniform",
        ),
        "criterion": _told({"enum": list(CRITERIA)}, "What says which entries go.", "magnitude"),
        "max_sparsity": _told(
            {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "Under global and erk no weight gets sparser than this fraction of zeros.",
            1.0,
        ),
        "rules": _told(
            {"type": "array", "items": {"$ref": "#/definitions/rule"}},
            "What differs for some weights. The first rule that matches a weight applies.",
            [],
        ),
    }


def _conditions() -> List[Schema]:
    """A polynomial needs an end; others refuse what belongs to it; the target is needed unless something implies it."""
    curve_keys = ("sparsity_begin_step", "sparsity_end_step")
    is_polynomial = {"properties": {"schedule": {"const": POLYNOMIAL}}}
    is_one_shot = {"properties": {"schedule": {"const": ONE_SHOT}}, "required": ["schedule"]}
    has_end = {"anyOf": [{"required": [key], "properties": {key: _steps(1)}} for key in ("end_step", curve_keys[1])]}
    no_curve = {
        "properties": {
            **{key: {"type": "null"} for key in curve_keys},
            "initial_sparsity": {"const": 0},
            "exponent": {"const": 3},
        }
    }
    once = {"properties": {"end_step": {"type": "null"}, "frequency": {"const": 10}}}
    says_target = {
        "anyOf": [
            {"properties": {"structure": _N_OF_M}, "required": ["structure"]},
            {"properties": {"schedule": {"type": "array"}}, "required": ["schedule"]},
        ]
    }
    has_target = {"properties": {"target_sparsity": {"type": "number"}}, "required": ["target_sparsity"]}
    return [
        {"if": is_polynomial, "then": has_end, "else": no_curve},
        {"if": is_one_shot, "then": once},
        {"if": says_target, "else": has_target},
    ]


def _structure() -> Schema:
    size = {"type": "integer", "anyOf": [{"const": -1}, {"minimum": 1}]}
    return {
        "anyOf": [
            {"enum": ["element", "channel"]},
            {**_N_OF_M, "examples": ["2:4"]},
            _object({"channel": {"enum": list(NORMS)}}, ["channel"]),
            _object(
                {
                    "block": _told(
                        {"type": "array", "items": size, "minItems": 2, "maxItems": 2},
                        "[height, width] on the weight seen as a matrix [fan-in, fan-out]; -1: the whole axis.",
                    ),
                    "pooling": _told({"enum": list(POOLINGS)}, "A block's score, of its entries' scores.", "avg"),
                    "matrices_only": _told(
                        {"type": "boolean"},
                        "Weights without exactly two axes longer than 1 are pruned by element, as "
                        "tf.contrib.model_pruning does.",
                        False,
                    ),
                },
                ["block"],
            ),
        ]
    }


def _rule() -> Schema:
    return _object(
        {
            "match": _told({"type": "string", "format": "regex"}, "Regular expression, searched in a variable's name."),
            "sparsity": _told(_or_null(_SPARSITY), "Target for these weights. Left out: target_sparsity."),
            "exclude": _told({"type": "boolean"}, "These weights stay dense.", False),
            "structure": _told({"anyOf": [_reference("structure"), {"type": "null"}]}, "Left out: the spec's."),
            "criterion": _told({"enum": [*CRITERIA, None]}, "Left out: the spec's."),
            "group": _told(
                {"type": ["string", "null"], "minLength": 1}, "Under global allocation: who shares a threshold."
            ),
            "optional": _told({"type": "boolean"}, "It is no mistake if no weight's name matches.", False),
        },
        ["match"],
    )


def _told(schema: Schema, description: str, *default: Any) -> Schema:
    return {"description": description, **schema, **({"default": default[0]} if default else {})}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _steps(least: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": LAST_STEP}


def _texts(form: str = "") -> Schema:
    item = {"type": "string", **({"format": form} if form else {})}
    return {"anyOf": [item, {"type": "array", "items": item}]}


def _object(properties: Schema, required: List[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _reference(name: str) -> Schema:
    # Beside a $ref, draft-07 ignores every other key.
    return {"allOf": [{"$ref": f"#/definitions/{name}"}]}
