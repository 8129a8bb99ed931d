"""Matrix products. Either side can be the weight, transposed or not."""

from rewriters.rule import Adjoint, WeightRule

# A left operand makes the rows of the result, a right one its columns.
_SIDES = ((-2,), (-1,))

RULES = (
    WeightRule(
        "MatMul",
        weight_inputs=(0, 1),
        family="matmul",
        output_axes=_SIDES,
        transposed_by=("transpose_a", "transpose_b"),
        adjoint=Adjoint("MatMul", None, "MatMul", (0, 1)),
    ),
    WeightRule(
        "BatchMatMul",
        weight_inputs=(0, 1),
        family="matmul",
        output_axes=_SIDES,
        transposed_by=("adj_x", "adj_y"),
        adjoint=Adjoint("BatchMatMul", None, "BatchMatMul", (0, 1)),
    ),
    WeightRule(
        "BatchMatMulV2",
        weight_inputs=(0, 1),
        family="matmul",
        output_axes=_SIDES,
        transposed_by=("adj_x", "adj_y"),
        adjoint=Adjoint("BatchMatMulV2", None, "BatchMatMulV2", (0, 1)),
    ),
    WeightRule(
        "SparseMatMul",
        weight_inputs=(0, 1),
        family="matmul",
        output_axes=_SIDES,
        transposed_by=("transpose_a", "transpose_b"),
    ),
    # A sparse matrix, of indices, values and shape, times a dense one, which can be the weight.
    WeightRule(
        "SparseTensorDenseMatMul", weight_inputs=(3,), family="matmul", data_input=1, transposed_by=("adjoint_b",)
    ),
)
