"""What a user asks for: how sparse, when, which weights, and in what shape. Validates itself; needs no TensorFlow."""

from graph_masker.spec.pruning_spec import PruningSpec
from graph_masker.spec.rules import Rule
from graph_masker.spec.schema import json_schema
from graph_masker.spec.settings import (
    ALLOCATIONS,
    CRITERIA,
    CURVES,
    DEFAULT_GROUP,
    ERK,
    GLOBAL,
    MAGNITUDE,
    MOVEMENT,
    TAYLOR,
    UNIFORM,
)
from graph_masker.spec.structure import NM, Block, Channel, Element, Structure
from graph_masker.spec.weights import WeightSpec

__all__ = [
    "ALLOCATIONS",
    "CRITERIA",
    "CURVES",
    "DEFAULT_GROUP",
    "ERK",
    "GLOBAL",
    "MAGNITUDE",
    "MOVEMENT",
    "NM",
    "TAYLOR",
    "UNIFORM",
    "Block",
    "Channel",
    "Element",
    "PruningSpec",
    "Rule",
    "Structure",
    "WeightSpec",
    "json_schema",
]
