"""Matrix products. Either side can be the weight, transposed or not."""

from rewriters.rule import Adjoint, WeightRule

RULES = (
    WeightRule(
        "MatMul",
        weight_inputs=(0, 1),
        family="matmul",
        adjoint=Adjoint("MatMul", None, "MatMul", (0, 1)),
    ),
    WeightRule(
        "BatchMatMul",
        weight_inputs=(0, 1),
        family="matmul",
        adjoint=Adjoint("BatchMatMul", None, "BatchMatMul", (0, 1)),
    ),
    WeightRule(
        "BatchMatMulV2",
        weight_inputs=(0, 1),
        family="matmul",
        adjoint=Adjoint("BatchMatMulV2", None, "BatchMatMulV2", (0, 1)),
    ),
    WeightRule("SparseMatMul", weight_inputs=(0, 1), family="matmul"),
    # A sparse matrix, of indices, values and shape, times a dense one, which can be the weight.
    WeightRule("SparseTensorDenseMatMul", weight_inputs=(3,), family="matmul", data_input=1),
)
