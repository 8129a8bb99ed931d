"""Takes masks out of frozen graphs, in which weights and masks are constants: each product becomes a constant."""

import re
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Deque, Dict, List, NamedTuple, Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker.errors import SourceError
from graph_masker.naming import threshold_of
from graph_masker.unmasking.definition import Definition, OpName, data_inputs, op_of
from graph_masker.unmasking.naming import Names, names_outside
from graph_masker.unmasking.ours import Ours, remove_ours
from graph_masker.view import PLAIN_READS, MaskRecord

_PRODUCT = re.compile(r"(^|/)masked_weight(_\d+)?$")
_MASK = re.compile(r"(^|/|_)mask(/part_\d+)?$")
_GATHERS = frozenset({"GatherV2", "GatherNd"})


class StrippedWeight(NamedTuple):
    """One weight that was multiplied by its mask: its name, number of entries and of zeros in the mask."""

    variable: str
    entries: int
    zeros: int


def strip_graph(graph_def: Any, source: str = "the graph") -> Tuple[StrippedWeight, ...]:
    """Multiplies masks into weights and takes them out of a frozen graph, in place; returns the weights.

    Args:
        graph_def: a GraphDef whose variables are constants.
        source: what it was read from, for messages.

    Raises:
        SourceError: nothing in it is masked, or a mask holds other values than zeros and ones.
    """
    definition = Definition(graph_def)
    records = {name: found for name in definition.nodes for found in [_record(definition, name)] if found is not None}
    if not records:
        raise SourceError(
            f"{source}: expected a masked graph, found no product of a constant mask and a constant weight in it; "
            "nothing to strip"
        )
    thresholds = {record.threshold for record in records.values()} & set(definition.nodes)
    ours = Ours(records, frozenset({record.mask for record in records.values()} | thresholds))
    weights = _fold(definition, ours, source)
    renamed = _gathers(definition, ours)
    kept = set()
    for product, record in records.items():
        raw = _raw(definition, product, record.variable)
        definition.replace(product, raw)
        # A weight read in a loop or cond came in by an op in the product's scope.
        kept |= {op_of(raw)} if ours.owns(op_of(raw)) else set()
    remove_ours(definition, ours, kept, source)
    definition.finish()
    renamed.update(names_outside(sorted(kept), ours, definition.nodes))
    Names(renamed).apply(graph_def)
    return weights


def _record(definition: Definition, name: OpName) -> Optional[MaskRecord]:
    """Returns the mask and the weight that an op multiplies; None where it multiplies others.

    `tf_compat.view_of_frozen_graph` finds the same, and much else, which takes longer than to strip the graph.
    """
    node = definition.nodes[name]
    if node.op != "Mul" or not _PRODUCT.search(name):
        return None
    one, other = (_behind(definition, op_of(text)) for text in data_inputs(node))
    for mask, weight in ((one, other), (other, one)):
        is_pair = all(definition.nodes[item].op == "Const" for item in (mask, weight))
        if is_pair and _MASK.search(mask) and not _MASK.search(weight):
            return MaskRecord(weight, mask, threshold_of(mask), name)
    return None


def _behind(definition: Definition, op: OpName) -> OpName:
    while definition.nodes[op].op in PLAIN_READS:
        op = op_of(definition.nodes[op].input[0])
    return op


def _raw(definition: Definition, product: OpName, weight: OpName) -> str:
    texts = data_inputs(definition.nodes[product])
    return next(text for text in texts if _behind(definition, op_of(text)) == weight)


def _fold(definition: Definition, ours: Ours, source: str) -> Tuple[StrippedWeight, ...]:
    masks: Dict[OpName, OpName] = {}
    found: List[StrippedWeight] = []
    for record in ours.products.values():
        if masks.setdefault(record.variable, record.mask) != record.mask:
            raise SourceError(f"{source}: expected one mask of '{record.variable}', found several; strip it elsewhere")
    # Bytes of one weight are taken out of the graph and put back while numpy works on the next.
    with ThreadPoolExecutor(1) as other:
        waiting: Deque[Tuple[OpName, bool, Future[Tuple[np.ndarray, int]]]] = deque()
        for weight, mask in masks.items():
            tensors = [definition.nodes[name].attr["value"].tensor for name in (mask, weight)]
            (factor, _), (value, is_plain) = map(_array, tensors)
            if factor.shape != value.shape or factor.dtype != value.dtype:
                raise SourceError(
                    f"{source}: expected mask '{mask}' to be {value.dtype}{list(value.shape)} as its weight, found "
                    f"{factor.dtype}{list(factor.shape)}; freeze the graph anew"
                )
            waiting.append((weight, is_plain, other.submit(_folded, factor, value, mask, source)))
            if len(waiting) > 1:
                found.append(_put_back(definition, *waiting.popleft()))
        found.extend(_put_back(definition, *item) for item in waiting)
    return tuple(found)


def _folded(factor: np.ndarray, value: np.ndarray, mask: OpName, source: str) -> Tuple[np.ndarray, int]:
    """Returns mask times weight, and how many entries of the mask are ones."""
    kept = int(np.count_nonzero(factor == 1))
    if np.count_nonzero(factor != 0) != kept:
        raise SourceError(f"{source}: expected zeros and ones in '{mask}', found others; freeze the graph anew")
    return product_of(factor, value), kept


def _put_back(
    definition: Definition, weight: OpName, is_plain: bool, folded: "Future[Tuple[np.ndarray, int]]"
) -> StrippedWeight:
    product, kept = folded.result()
    tensor = definition.nodes[weight].attr["value"].tensor
    if is_plain:
        tensor.tensor_content = product.tobytes()
    else:
        tensor.CopyFrom(tf.make_tensor_proto(product))
    return StrippedWeight(weight, product.size, product.size - kept)


def _array(tensor: Any) -> Tuple[np.ndarray, bool]:
    """Returns a tensor's value, and whether it holds its entries one after the other, as they are in memory."""
    dtype, content = tf.as_dtype(tensor.dtype), tensor.tensor_content
    if len(content) <= dtype.size:
        return tf.make_ndarray(tensor), False
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    return np.frombuffer(content, dtype.as_numpy_dtype).reshape(shape), True


def product_of(mask: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Returns mask * weight, with the bits that TensorFlow gives them."""
    with np.errstate(invalid="ignore"):  # TensorFlow says nothing of zero times infinity either.
        if weight.dtype == tf.bfloat16.as_numpy_dtype:
            # numpy cannot multiply it; in float32 every such product is exact.
            return (mask.astype(np.float32) * weight.astype(np.float32)).astype(weight.dtype)
        return mask * weight


def _gathers(definition: Definition, ours: Ours) -> Dict[str, str]:
    """Rows of the product in the place of rows gathered through a handle get that op's name again."""
    renamed = {}
    for product in ours.products:
        for reader in definition.data_readers(product):
            name, is_gather = reader.node.name, reader.node.op in _GATHERS
            original = name[: -len("/masked")]
            if is_gather and name.endswith("/masked") and original not in definition.nodes:
                renamed[name] = original
    return renamed
