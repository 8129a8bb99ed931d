"""What the shape of an op's output is, by the shapes of its inputs: a function per kind of op."""

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from graph_masker.shapes.arithmetic import Shape, Sizes, broadcast, common, product, window_positions

Numbers = Optional[Tuple[Optional[int], ...]]


class Call(NamedTuple):
    """An op, and what is known of what it reads.

    Attributes:
        node: its NodeDef.
        shapes: of its data inputs.
        numbers: ``numbers(index)`` gives the whole numbers in input `index`, None where they are not known.
    """

    node: Any
    shapes: Sequence[Shape]
    numbers: Callable[[int], Numbers]

    def text(self, key: str) -> str:
        """Returns an attribute that is a string."""
        return str(self.node.attr[key].s.decode("utf-8", "replace"))

    def whole(self, key: str) -> List[int]:
        """Returns an attribute that is a list of whole numbers."""
        return list(self.node.attr[key].list.i)

    def number(self, index: int) -> Optional[int]:
        """Returns the one whole number in an input."""
        found = self.numbers(index)
        return found[0] if found is not None and len(found) == 1 else None


Rule = Callable[[Call], Shape]


def _as_input(call: Call) -> Shape:
    return call.shapes[0]


def _elementwise(call: Call) -> Shape:
    return broadcast(call.shapes[0], call.shapes[1])


def _of_all(call: Call) -> Shape:
    # What flows around a loop is not known when what enters it is asked for.
    known = [shape for shape in call.shapes if shape is not None]
    return common(known)


def _convolution(call: Call) -> Shape:
    data, kernel = call.shapes[:2]
    if kernel is None or any(size is None for size in kernel[:-2]):
        return None
    window = [int(size or 0) for size in kernel[:-2]]
    is_depthwise = call.node.op == "DepthwiseConv2dNative"
    outputs = product(kernel[-2:]) if is_depthwise else kernel[-1]
    return _windows(call, data, window, outputs)


def _pooling(call: Call) -> Shape:
    data, sizes = call.shapes[0], call.whole("ksize")
    if data is None or len(sizes) != len(data):
        return None
    spatial, channels = axes_of(call.text("data_format"), len(data))
    return _windows(call, data, [sizes[axis] for axis in spatial], data[channels])


def axes_of(data_format: str, rank: int) -> Tuple[Sequence[int], int]:
    """Returns the spatial axes and that of the channels, of a tensor that convolutions and poolings read or make."""
    if data_format.startswith("NC"):
        return range(2, rank), 1
    return range(1, rank - 1), rank - 1


def _windows(call: Call, data: Shape, window: Sequence[int], outputs: Optional[int]) -> Shape:
    if data is None or len(data) != len(window) + 2:
        return None
    spatial, channels = axes_of(call.text("data_format"), len(data))
    strides, padding = call.whole("strides"), call.text("padding")
    dilations = call.whole("dilations") or [1] * len(data)
    added = call.whole("explicit_paddings") if padding == "EXPLICIT" else [0] * (2 * len(data))
    if not len(strides) == len(dilations) == len(added) // 2 == len(data):
        return None
    sizes: List[Optional[int]] = list(data)
    sizes[channels] = outputs
    for axis, size in zip(spatial, window):
        padded = data[axis]
        padded = None if padded is None else padded + added[2 * axis] + added[2 * axis + 1]
        sizes[axis] = window_positions(padded, size, strides[axis], dilations[axis], padding)
    return tuple(sizes)


def _as_told(call: Call) -> Shape:
    """The shape is the first input."""
    return call.numbers(0)


def _matrix_product(call: Call) -> Shape:
    left, right = call.shapes
    if left is None or right is None or min(len(left), len(right)) < 2:
        return None
    plain = call.node.op == "MatMul"
    first, second = ("transpose_a", "transpose_b") if plain else ("adj_x", "adj_y")
    rows = left[-1] if call.node.attr[first].b else left[-2]
    columns = right[-2] if call.node.attr[second].b else right[-1]
    before = broadcast(left[:-2], right[:-2])
    return None if before is None else (*before, rows, columns)


def _padded(call: Call) -> Shape:
    data, added = call.shapes[0], call.numbers(1)
    if data is None or added is None or len(added) != 2 * len(data):
        return None
    pairs = zip(data, added[::2], added[1::2])
    return tuple(None if None in trio else sum(int(item or 0) for item in trio) for trio in pairs)


def _concatenation(call: Call) -> Shape:
    parts, axis = call.shapes[:-1], call.number(len(call.shapes) - 1)
    if axis is None or not parts or parts[0] is None or not -len(parts[0]) <= axis < len(parts[0]):
        return None
    axis %= len(parts[0])
    if any(part is None or len(part) != len(parts[0]) for part in parts):
        return None
    sizes = [part[axis] for part in parts if part is not None]
    whole = None if None in sizes else sum(size or 0 for size in sizes)
    return tuple(whole if number == axis else size for number, size in enumerate(_known(parts)))


def _known(parts: Sequence[Shape]) -> Sizes:
    """Returns the sizes of parts of the same shape, each where any of them tells."""
    columns = zip(*(part for part in parts if part is not None))
    return tuple(next((size for size in column if size is not None), None) for column in columns)


def _resized(call: Call) -> Shape:
    data, size = call.shapes[0], call.numbers(1)
    if data is None or len(data) != 4:
        return None
    height, width = size if size is not None and len(size) == 2 else (None, None)
    return (data[0], height, width, data[3])


def _reduction(call: Call) -> Shape:
    data, axes = call.shapes[0], call.numbers(1)
    if data is None or axes is None or None in axes:
        return None
    gone = {(axis or 0) % len(data) for axis in axes} if data else set()
    if call.node.attr["keep_dims"].b:
        return tuple(1 if axis in gone else size for axis, size in enumerate(data))
    return tuple(size for axis, size in enumerate(data) if axis not in gone)


def _reshaped(call: Call) -> Shape:
    data, wanted = call.shapes[0], call.numbers(1)
    if wanted is None:
        return None
    if wanted.count(-1) == 1 and None not in wanted and data is not None and None not in data:
        whole, rest = product(data) or 0, product(size for size in wanted if size != -1) or 1
        return tuple(whole // rest if size == -1 else size for size in wanted)
    return tuple(None if size == -1 else size for size in wanted)


def _squeezed(call: Call) -> Shape:
    data = call.shapes[0]
    if data is None:
        return None
    axes = {axis % len(data) for axis in call.whole("squeeze_dims")} if data else set()
    if not axes and None in data:
        return None
    return tuple(size for axis, size in enumerate(data) if axis not in axes and (axes or size != 1))


def _expanded(call: Call) -> Shape:
    data, axis = call.shapes[0], call.number(1)
    if data is None or axis is None or not -len(data) - 1 <= axis <= len(data):
        return None
    axis %= len(data) + 1
    return (*data[:axis], 1, *data[axis:])


def _transposed(call: Call) -> Shape:
    data, order = call.shapes[0], call.numbers(1)
    if data is None or order is None or sorted(axis or 0 for axis in order) != list(range(len(data))):
        return None
    return tuple(data[axis or 0] for axis in order)


def _into_batch(call: Call) -> Shape:
    """SpaceToBatchND, by which dilated convolutions are made."""
    data, block, added = call.shapes[0], call.numbers(1), call.numbers(2)
    if data is None or block is None or added is None or len(added) != 2 * len(block) or len(data) <= len(block):
        return None
    if None in block or None in added or 0 in block:
        return None
    sizes = list(data)
    for axis, size in enumerate(block, 1):
        whole = sizes[axis]
        before, after = added[2 * axis - 2] or 0, added[2 * axis - 1] or 0
        sizes[axis] = None if whole is None else (whole + before + after) // (size or 1)
    sizes[0] = product((data[0], *block))
    return tuple(sizes)


def _out_of_batch(call: Call) -> Shape:
    data, block, cut = call.shapes[0], call.numbers(1), call.numbers(2)
    if data is None or block is None or cut is None or len(cut) != 2 * len(block) or len(data) <= len(block):
        return None
    if None in block or None in cut or 0 in block:
        return None
    sizes = list(data)
    for axis, size in enumerate(block, 1):
        whole = product((sizes[axis], size))
        before, after = cut[2 * axis - 2] or 0, cut[2 * axis - 1] or 0
        sizes[axis] = None if whole is None else whole - before - after
    sizes[0] = None if data[0] is None else data[0] // (product(block) or 1)
    return tuple(sizes)


def _sliced(call: Call) -> Shape:
    """StridedSlice without new axes and without ``...``."""
    data, begin, end, step = call.shapes[0], *(call.numbers(index) for index in (1, 2, 3))
    masks = {key: call.node.attr[key].i for key in ("begin_mask", "end_mask", "shrink_axis_mask")}
    if call.node.attr["new_axis_mask"].i or call.node.attr["ellipsis_mask"].i:
        return None
    if data is None or begin is None or end is None or step is None or not len(begin) == len(end) == len(step):
        return None
    sizes: List[Optional[int]] = []
    for axis, size in enumerate(data):
        if axis >= len(begin):
            sizes.append(size)
        elif not masks["shrink_axis_mask"] >> axis & 1:
            first = None if masks["begin_mask"] >> axis & 1 else begin[axis]
            last = None if masks["end_mask"] >> axis & 1 else end[axis]
            known = size is not None and step[axis] and (first is not None or masks["begin_mask"] >> axis & 1)
            known = known and (last is not None or masks["end_mask"] >> axis & 1)
            sizes.append(len(range(size or 0)[first : last : step[axis]]) if known else None)
    return tuple(sizes)


def _gathered(call: Call) -> Shape:
    """The elements of a TensorArray, as tf.map_fn stacks them."""
    element = call.node.attr["element_shape"].shape
    return None if element.unknown_rank else (None, *(None if dim.size < 0 else dim.size for dim in element.dim))


_SAME = """
    Identity Relu Relu6 Elu Selu LeakyRelu Sigmoid Tanh Softplus Softsign Softmax LogSoftmax BiasAdd LRN FusedBatchNorm
    FusedBatchNormV2 FusedBatchNormV3 StopGradient PreventGradient CheckNumerics Print Cast Neg Exp Log Sqrt Rsqrt
    Square Abs Sign Round Floor FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel
    PlaceholderWithDefault Enter Exit NextIteration Switch RefEnter RefIdentity RefSwitch Snapshot ZerosLike OnesLike
    ReadVariableOp ReverseV2 Erf Sin Cos
"""
_ELEMENTWISE = """
    Add AddV2 Sub Mul RealDiv Div Maximum Minimum Pow SquaredDifference FloorDiv FloorMod Greater GreaterEqual Less
    LessEqual Equal NotEqual LogicalAnd LogicalOr
"""
_AS_TOLD = "Conv2DBackpropInput Conv3DBackpropInputV2 Fill RandomUniform RandomStandardNormal TruncatedNormal"

RULES: Dict[str, Rule] = {
    **dict.fromkeys(_SAME.split(), _as_input),
    **dict.fromkeys(_ELEMENTWISE.split(), _elementwise),
    **dict.fromkeys(("Merge", "AddN", "RefMerge"), _of_all),
    **dict.fromkeys(("Conv2D", "Conv3D", "DepthwiseConv2dNative"), _convolution),
    **dict.fromkeys(("MaxPool", "AvgPool", "MaxPool3D", "AvgPool3D"), _pooling),
    **dict.fromkeys(_AS_TOLD.split(), _as_told),
    **dict.fromkeys(("MatMul", "BatchMatMul", "BatchMatMulV2"), _matrix_product),
    **dict.fromkeys(("Pad", "PadV2", "MirrorPad"), _padded),
    **dict.fromkeys(("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea"), _resized),
    **dict.fromkeys(("Mean", "Sum", "Max", "Min"), _reduction),
    "ConcatV2": _concatenation,
    "Reshape": _reshaped,
    "Squeeze": _squeezed,
    "ExpandDims": _expanded,
    "Transpose": _transposed,
    "SpaceToBatchND": _into_batch,
    "BatchToSpaceND": _out_of_batch,
    "StridedSlice": _sliced,
    "TensorArrayGatherV3": _gathered,
}
# All their outputs have the shape of the first; of the other ops only the first output has a rule.
SEVERAL_OUTPUTS = frozenset({"Switch", "RefSwitch"})
