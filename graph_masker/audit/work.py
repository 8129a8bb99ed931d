"""At how many positions each kernel is used: multiply-adds are its entries times that."""

from typing import Any, Iterable, Optional, Tuple

from graph_masker.shapes import Shape, Shapes
from graph_masker.shapes.arithmetic import product
from graph_masker.shapes.rules import axes_of
from graph_masker.sites import Consumer
from graph_masker.view import TensorRef

_CONVOLUTIONS = frozenset({"Conv2D", "Conv3D", "DepthwiseConv2dNative"})
# Used forward these are transposed: their kernel is laid at every position of what they read.
_TRANSPOSED = frozenset({"Conv2DBackpropInput", "Conv3DBackpropInputV2", "DepthwiseConv2dNativeBackpropInput"})
_BATCHED = frozenset({"BatchMatMul", "BatchMatMulV2"})
# One row, of one step, at a time.
_BY_ROWS = frozenset({"MatMul", "SparseMatMul", "LSTMBlockCell", "BlockLSTM", "GRUBlockCell"})

Count = Tuple[Optional[int], str]


class Work:
    """Counts positions in one graph."""

    def __init__(self, graph_def: Any, shapes: Shapes) -> None:
        self._nodes = {node.name: node for node in graph_def.node}
        self._shapes = shapes

    def positions(self, consumers: Iterable[Consumer], entries: int) -> Count:
        """Returns at how many positions all consumers together use a kernel, or None and why that is not known.

        Args:
            consumers: of the weight, autodiff's left out.
            entries: of the weight.
        """
        total = 0
        for consumer in consumers:
            count, reason = self._of(consumer, entries)
            if count is None:
                return None, reason
            total += count
        return total, ""

    def _of(self, consumer: Consumer, entries: int) -> Count:
        if consumer.inside:
            return None, f"'{consumer.op}' reads it inside a function"
        tensors = [_tensor(text) for text in self._nodes[consumer.op].input if not text.startswith("^")]
        read = product(self._shapes.of(tensors[consumer.port]) or (None,))
        if read is None:
            return None, f"what '{consumer.op}' reads of it is of unknown shape"
        if read != entries:
            return None, f"'{consumer.op}' reads {read:,} entries, not the weight as it is"
        if consumer.op_type in _CONVOLUTIONS:
            return self._spatial(consumer.op, TensorRef(consumer.op), tensors[0])
        if consumer.op_type in _TRANSPOSED:
            return self._spatial(consumer.op, tensors[2], None)
        if consumer.op_type in _BATCHED:
            return self._rows(consumer, tensors[consumer.port])
        if consumer.op_type in _BY_ROWS:
            return 1, ""
        return None, f"no rule counts the work of {consumer.op_type}"

    def _spatial(self, op: str, tensor: TensorRef, data: Optional[TensorRef]) -> Count:
        """Counts the positions of an image of positions; `data` is what a convolution reads."""
        shape: Shape = self._shapes.of(tensor)
        if shape is not None:
            axes, _ = axes_of(self._nodes[op].attr["data_format"].s.decode("utf-8", "replace"), len(shape))
            count = product((*(shape[axis] for axis in axes), self._images(data)))
            if count is not None:
                return count, ""
        return None, f"the size of what '{op}' works on is not known"

    def _images(self, data: Optional[TensorRef]) -> Optional[int]:
        """Counts the images that each image is cut into for a dilated convolution."""
        node = None if data is None else self._nodes[data.op]
        if node is None or node.op != "SpaceToBatchND":
            return 1
        return product(self._shapes.numbers(_tensor(node.input[1])) or (None,))

    def _rows(self, consumer: Consumer, weight: TensorRef) -> Count:
        shape, kernel = self._shapes.of(TensorRef(consumer.op)), self._shapes.of(weight)
        reason = f"the shape of what '{consumer.op}' puts out is not known"
        if shape is None or kernel is None or len(shape) < 2:
            return None, reason
        rows = shape[-2] if consumer.port == 1 else shape[-1]
        if len(shape) == 2:
            return 1, ""
        # A weight with matrices of its own for each item is used once for all of them.
        count = rows if len(kernel) > 2 else product((*shape[1:-2], rows))
        return count, "" if count is not None else reason


def _tensor(text: str) -> TensorRef:
    name, _, output = text.partition(":")
    return TensorRef(name, int(output or 0))
