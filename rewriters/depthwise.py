"""Depthwise convolutions: kernels ``[kh, kw, cin, multiplier]``.

They hold a small share of a model's entries and lose accuracy early, so they are masked only on request.
"""

from rewriters.rule import Adjoint, WeightRule

RULES = (
    WeightRule(
        "DepthwiseConv2dNative",
        weight_inputs=(1,),
        family="depthwise",
        data_input=0,
        output_axes=((-2, -1),),
        on_request=True,
        adjoint=Adjoint("DepthwiseConv2dNativeBackpropInput", 2, "DepthwiseConv2dNativeBackpropFilter", (0, 2)),
    ),
    WeightRule(
        "DepthwiseConv2dNativeBackpropInput",
        weight_inputs=(1,),
        family="depthwise",
        data_input=2,
        output_axes=((-2,),),
        on_request=True,
        adjoint=Adjoint("DepthwiseConv2dNative", 0, "DepthwiseConv2dNativeBackpropFilter", (0, 2)),
    ),
)
