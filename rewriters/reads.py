"""Ops that a weight passes on its way from the variable to the op that consumes it."""

from rewriters.rule import ReadRule

RULES = (
    ReadRule("Identity", alias=True),
    ReadRule("ReadVariableOp", alias=True),
    ReadRule("Print", alias=True),
    ReadRule("Cast"),
    ReadRule("Enter"),
    ReadRule("Switch", outputs=(0, 1)),
    ReadRule("ExpandDims"),
    ReadRule("Squeeze"),
    ReadRule("Reshape"),
    ReadRule("Transpose"),
)
