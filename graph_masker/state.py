"""Adds what masking needs per weight: a mask, a threshold and their product, of all weights at once."""

from typing import Any, Dict, NamedTuple, Sequence

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.plan import Site
from graph_masker.view import whole_name

# Index-parallel collections of tf.contrib.model_pruning; its tools, and RigL's optimizers, read them.
WEIGHTS, MASKS, THRESHOLDS, MASKED_WEIGHTS = "kernel", "masks", "thresholds", "masked_weights"


class Masked(NamedTuple):
    """What masks a weight: mask `[shape of the weight]`, threshold `[]` and product."""

    mask: Any
    threshold: Any
    product: Any


class _Names(NamedTuple):
    """Ops of a variable: what it starts from, and what reads it."""

    initial: str
    read: str


def add_masks(graph: Any, sites: Sequence[Site], variables: Dict[str, Any]) -> Dict[str, Masked]:
    """Adds masks, thresholds and products; returns them by the weights' names.

    Args:
        graph: the graph.
        sites: the weights that have no mask yet; their names are free.
        variables: the graph's variables by name; takes in the new ones.
    """
    nodes = tf_compat.Nodes(graph)
    added: Dict[str, _Names] = {}
    for site in sites:
        weight = variables[site.variable]
        dtype, use_resource = weight.dtype.base_dtype, site.kind == "resource"
        name = f"{site.mask}/Initializer/ones"
        dims = nodes.constant(f"{name}/dims", tf.int32, site.shape, [len(site.shape)], weight.op)
        one = nodes.constant(f"{name}/value", dtype, [1.0], [], weight.op)
        nodes.add(name, "Fill", [dims, one], weight.op, T=dtype, index_type=tf.int32)
        read = nodes.variable(site.mask, dtype, site.shape, name, use_resource, weight.op)
        added[site.mask] = _Names(name, read)
        # The parts of a partitioned weight share one.
        if site.threshold not in variables and site.threshold not in added:
            name = nodes.constant(f"{site.threshold}/Initializer/zeros", dtype, [0.0], [], weight.op)
            own = nodes.variable(site.threshold, dtype, [], name, use_resource, weight.op)
            added[site.threshold] = _Names(name, own)
        # The mask is written first, as contrib's layers have it.
        inputs = [read, _read_of(graph, site, weight)]
        nodes.add(site.masked_weight, "Mul", inputs, weight.op, T=dtype)
    nodes.create()
    return {site.variable: _collected(graph, site, added, variables) for site in sites}


def _read_of(graph: Any, site: Site, weight: Any) -> str:
    """The read that the product multiplies: one that the graph has, so that evaluation reads the weight once."""
    for read in site.reads:
        if read.shared and not graph.get_tensor_by_name(read.tensor).dtype._is_ref_dtype:
            return read.tensor
    with tf_compat.outside_everything(graph, like=weight.op):
        return str(tf.convert_to_tensor(weight).name)


def _collected(graph: Any, site: Site, added: Dict[str, _Names], variables: Dict[str, Any]) -> Masked:
    for name in (site.mask, site.threshold):
        if name not in variables:
            names = added[name]
            is_resource = site.kind == "resource"
            variables[name] = tf_compat.variable_of(graph, name, names.read, names.initial, is_resource)
    mask, threshold = variables[site.mask], variables[site.threshold]
    if site.part is not None:
        tf_compat.set_slice(mask, site.part._replace(full_name=whole_name(site.mask)), site.shape)
    product = graph.get_tensor_by_name(f"{site.masked_weight}:0")
    items = ((WEIGHTS, variables[site.variable]), (MASKS, mask), (THRESHOLDS, threshold), (MASKED_WEIGHTS, product))
    for key, item in items:
        graph.add_to_collection(key, item)
    return Masked(mask, threshold, product)
