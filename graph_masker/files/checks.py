"""Tells what is wrong with a graph from a file, before anything is concluded from it: files get damaged, and forged."""

from typing import Any, Iterator, Mapping, Optional, Set

import numpy as np
import tensorflow.compat.v1 as tf
from google.protobuf.message import DecodeError

from graph_masker import tf_compat
from graph_masker.view import VARIABLE_OPS

# Of a constant that is written as one value for all its entries: no graph has a larger one, but a forged one may.
_MOST_ENTRIES = 2**28
_VARIABLE_COLLECTIONS = ("variables", "trainable_variables", "local_variables", "model_variables")


def first_fault(graph_def: Any, collections: Mapping[str, Any]) -> Optional[str]:
    """Returns what is wrong with a graph, in words that follow "found"; None where nothing is.

    Args:
        graph_def: its GraphDef.
        collections: CollectionDef by key.
    """
    return next(_faults(graph_def, collections), None)


def _faults(graph_def: Any, collections: Mapping[str, Any]) -> Iterator[str]:
    names = {node.name for node in graph_def.node}
    if not names:
        yield "one without any op"
    if len(names) != len(graph_def.node) or "" in names:
        yield "ops without a name of their own"
    for node in graph_def.node:
        yield from _node_faults(node, names)
    for function in graph_def.library.function:
        for node in function.node_def:
            yield from _value_faults(node)
    for key in _VARIABLE_COLLECTIONS:
        if key in collections:
            for value in collections[key].bytes_list.value:
                try:
                    tf_compat.VariableDef.FromString(value)
                except DecodeError:
                    yield f"a damaged variable in collection '{key}'"


def _node_faults(node: Any, names: Set[str]) -> Iterator[str]:
    for text in node.input:
        name, _, output = text.lstrip("^").partition(":")
        if name not in names or not (output.isdigit() or not output):
            yield f"that '{node.name}' reads '{text}', which it lacks"
    expected = tf_compat.number_of_inputs(node)
    inputs = sum(not text.startswith("^") for text in node.input)
    if expected not in (None, inputs):
        yield f"that {node.op} '{node.name}' has {inputs} inputs where {expected} belong"
    yield from _value_faults(node)


def _value_faults(node: Any) -> Iterator[str]:
    if node.op in VARIABLE_OPS and _dtype(node.attr["dtype"].type) is None:
        yield f"variable '{node.name}' of no type"
    if node.op == "Const" and not is_tensor(node.attr["value"].tensor):
        yield f"constant '{node.name}' with a damaged value"


def is_tensor(tensor: Any) -> bool:
    """Tells whether a TensorProto has type and shape, and no more values than these ask for; the last may repeat."""
    dtype = _dtype(tensor.dtype)
    sizes = [int(dim.size) for dim in tensor.tensor_shape.dim]
    if dtype is None or tensor.tensor_shape.unknown_rank or min(sizes, default=0) < 0:
        return False
    entries = 1
    for size in sizes:
        entries *= size
    if tensor.tensor_content:
        size = int(np.dtype(dtype.as_numpy_dtype).itemsize) if dtype != tf.string else 0
        return bool(len(tensor.tensor_content) == entries * size)
    counts = [len(values) for field, values in tensor.ListFields() if field.name.endswith("_val")]
    wanted = entries * (2 if dtype.is_complex else 1)
    return len(counts) <= 1 and sum(counts) <= wanted and (entries <= _MOST_ENTRIES or sum(counts) == wanted)


def _dtype(number: int) -> Optional[tf.DType]:
    try:
        dtype = tf.as_dtype(number)
    except TypeError:
        return None
    return dtype if dtype.as_numpy_dtype is not None else None
