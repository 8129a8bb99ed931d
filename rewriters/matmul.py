"""Matrix products. Either side can be the weight, transposed or not."""

from rewriters.rule import Adjoint, WeightRule

RULES = (
    WeightRule(
        "MatMul",
        weight_inputs=(0, 1),
        family="matmul",
        adjoint=Adjoint("MatMul", None, "MatMul", (0, 1)),
    ),
)
