"""Convolutions, plain and transposed.

Kernel layouts: Conv2D ``[kh, kw, cin, cout]``, Conv3D ``[kd, kh, kw, cin, cout]``; a transposed convolution
is the op ``Conv2DBackpropInput`` used forward, with a kernel ``[kh, kw, cout, cin]``, and likewise in 3-D.
"""

from rewriters.rule import Adjoint, WeightRule

RULES = (
    WeightRule(
        "Conv2D",
        weight_inputs=(1,),
        family="conv",
        data_input=0,
        adjoint=Adjoint("Conv2DBackpropInput", 2, "Conv2DBackpropFilter", (0, 2)),
    ),
    WeightRule(
        "Conv2DBackpropInput",
        weight_inputs=(1,),
        family="conv",
        data_input=2,
        output_axes=((-2,),),
        adjoint=Adjoint("Conv2D", 0, "Conv2DBackpropFilter", (0, 2)),
    ),
    WeightRule(
        "Conv3D",
        weight_inputs=(1,),
        family="conv",
        data_input=0,
        adjoint=Adjoint("Conv3DBackpropInputV2", 2, "Conv3DBackpropFilterV2", (0, 2)),
    ),
    WeightRule(
        "Conv3DBackpropInputV2",
        weight_inputs=(1,),
        family="conv",
        data_input=2,
        output_axes=((-2,),),
        adjoint=Adjoint("Conv3D", 0, "Conv3DBackpropFilterV2", (0, 2)),
    ),
)
