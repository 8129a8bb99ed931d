"""Views of frozen graphs, in which constants stand where the variables were."""

from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker.flow import derived_view
from graph_masker.naming import threshold_of
from graph_masker.tf_compat.views import view_of_meta_graph
from graph_masker.view import FROZEN_WEIGHT, GraphView, MaskRecord, Node, OpName, variable_behind


def view_of_frozen_graph(graph_def: Any) -> GraphView:
    """Returns a view of a GraphDef in which each constant that could be a weight, a bias or a scale is a variable.

    These are the floating-point ones of several entries. Masks are known by what they are: zeros and ones that multiply
    a constant of their shape, under a mask's name.
    """
    inner = view_of_meta_graph(tf.MetaGraphDef(graph_def=graph_def))
    tensors = {node.name: node.attr["value"].tensor for node in graph_def.node if node.op == "Const"}
    weights = possible_weights(graph_def)
    masks = _mask_records(inner.nodes, tensors, weights)
    state = {record.mask for record in masks.values()}

    def attribute(name: str, key: str) -> Any:
        if name not in weights:
            return inner.attribute(name, key)
        return weights[name] if key == "shape" else tf.as_dtype(tensors[name].dtype).name

    collections = {"trainable_variables": [name for name in weights if name not in state], "variables": list(weights)}
    return derived_view(inner, dict.fromkeys(weights, FROZEN_WEIGHT), collections, attribute, masks)


def possible_weights(graph_def: Any) -> Dict[OpName, Tuple[int, ...]]:
    """Returns the shapes of the constants of a frozen graph that could be weights, biases or scales, by name."""
    shapes = {node.name: _shape_of_weight(node.attr["value"].tensor) for node in graph_def.node if node.op == "Const"}
    return {name: shape for name, shape in shapes.items() if shape is not None}


def _shape_of_weight(tensor: Any) -> Optional[Tuple[int, ...]]:
    """Returns a constant's shape if it could be a weight's; None if not."""
    if not tf.as_dtype(tensor.dtype).is_floating:
        return None
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    return shape if np.prod(shape, dtype=np.int64) > 1 else None


def _mask_records(
    nodes: Mapping[OpName, Node], tensors: Mapping[OpName, Any], weights: Mapping[OpName, Tuple[int, ...]]
) -> Dict[OpName, MaskRecord]:
    records: Dict[OpName, MaskRecord] = {}
    binary: Dict[OpName, bool] = {}
    for node in nodes.values():
        if node.op_type != "Mul":
            continue
        sources = [variable_behind(nodes, tensor.op) for tensor in node.inputs]
        for mask, weight in (sources, sources[::-1]):
            if mask == weight or weights.get(mask) is None or weights.get(mask) != weights.get(weight):
                continue
            if threshold_of(mask) == mask or not _is_named_as_mask(mask):
                continue
            if mask not in binary:
                binary[mask] = _is_binary(tensors[mask])
            if binary[mask]:
                records[node.name] = MaskRecord(weight, mask, threshold_of(mask), node.name)
                break
    return records


def _is_named_as_mask(name: OpName) -> bool:
    return threshold_of(name)[: -len("threshold")] + "mask" == name


def _is_binary(tensor: Any) -> bool:
    values = tf.make_ndarray(tensor)
    return bool(np.all((values == 0) | (values == 1)))
