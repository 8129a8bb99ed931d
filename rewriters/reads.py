"""Ops that a weight passes on its way from the variable to the op that consumes it."""

from rewriters.rule import ReadRule

_ALIASES = (
    ReadRule("Identity", alias=True, adjoint=""),
    ReadRule("ReadVariableOp", alias=True, adjoint=""),
    ReadRule("Print", alias=True, adjoint=""),
    ReadRule("CheckNumerics", alias=True, adjoint=""),
)

# The same value, with another gradient: tf.stop_gradient, tf.custom_gradient.
_OTHER_GRADIENTS = (
    ReadRule("StopGradient"),
    ReadRule("IdentityN", parallel=True),
)

# A ref variable's buffer enters loops and conds through the ops whose names begin with Ref.
_CONTROL_FLOW = (
    ReadRule("Enter", control_flow=True, adjoint="Exit"),
    ReadRule("RefEnter", control_flow=True, adjoint="Exit"),
    ReadRule("Switch", control_flow=True, all_outputs=True, adjoint="Merge"),
    ReadRule("RefSwitch", control_flow=True, all_outputs=True, adjoint="Merge"),
    # Where a cond ends: quantization that starts late. What a loop's Merge hands on depends on data.
    ReadRule("Merge", value_inputs=(), joins=True),
)

_SHAPES = (
    ReadRule("Cast", adjoint="Cast"),
    ReadRule("ExpandDims", adjoint="Reshape"),
    ReadRule("Squeeze", adjoint="Reshape"),
    ReadRule("Reshape", adjoint="Reshape"),
    ReadRule("Transpose", adjoint="Transpose"),
    ReadRule("Tile"),
)

_PARTS = (
    ReadRule("Split", value_inputs=(1,), all_outputs=True, adjoint="ConcatV2"),
    ReadRule("SplitV", all_outputs=True, adjoint="ConcatV2"),
    ReadRule("Unpack", all_outputs=True, adjoint="Pack"),
    ReadRule("Slice", adjoint="Pad"),
    ReadRule("StridedSlice", adjoint="StridedSliceGrad"),
    ReadRule("ConcatV2", value_inputs=(-1,), joins=True, adjoint="Slice"),
    ReadRule("Concat", value_inputs=(0,), joins=True, adjoint="Slice"),
    ReadRule("Pack", value_inputs=(), joins=True, adjoint="Unpack"),
)

# Zero is one of the values that they round to.
_QUANTIZATION = (
    ReadRule("FakeQuantWithMinMaxArgs", adjoint="FakeQuantWithMinMaxArgsGradient"),
    ReadRule("FakeQuantWithMinMaxVars", adjoint="FakeQuantWithMinMaxVarsGradient"),
    ReadRule("FakeQuantWithMinMaxVarsPerChannel", adjoint="FakeQuantWithMinMaxVarsPerChannelGradient"),
)

# Weight normalisation, spectral normalisation, folded batch normalisation, binary and ternary weights.
_ELEMENTWISE = (
    ReadRule("Mul", value_inputs=(0, 1), scales=True),
    ReadRule("RealDiv", scales=True),
    ReadRule("Div", scales=True),
    ReadRule("Neg", adjoint="Neg"),
    ReadRule("Sign"),
    ReadRule("Round"),
)

RULES = (*_ALIASES, *_OTHER_GRADIENTS, *_CONTROL_FLOW, *_SHAPES, *_PARTS, *_QUANTIZATION, *_ELEMENTWISE)
