"""Adds what masking needs per weight: a mask, a threshold and their product."""

from typing import Any, Dict, NamedTuple, Sequence

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.naming import whole_name
from graph_masker.plan import Site

# Index-parallel collections of tf.contrib.model_pruning; its tools, and RigL's optimizers, read them.
WEIGHTS, MASKS, THRESHOLDS, MASKED_WEIGHTS = "kernel", "masks", "thresholds", "masked_weights"


class Masked(NamedTuple):
    """What masks a weight: mask `[shape of the weight]`, threshold `[]` and product."""

    mask: Any
    threshold: Any
    product: Any


def add_masks(graph: Any, sites: Sequence[Site], variables: Dict[str, Any]) -> Dict[str, Masked]:
    """Adds masks, thresholds and products; returns them by the weights' names.

    Args:
        graph: the graph.
        sites: the weights that have no mask yet; their names are free.
        variables: the graph's variables by name; takes in the new ones.
    """
    with tf_compat.Nodes(graph) as nodes:
        constants = _Constants(graph, nodes)
        return {site.variable: _add_mask(graph, nodes, constants, site, variables) for site in sites}


class _Constants:
    """What initial values are made of, once per device: a third of the ops, were it once per weight."""

    def __init__(self, graph: Any, nodes: tf_compat.Nodes) -> None:
        self._graph = graph
        self._nodes = nodes
        self._known: Dict[Any, Any] = {}

    def of(self, name: str, dtype: Any, values: Sequence[Any], shape: Sequence[int], like: Any) -> Any:
        """Returns a constant on the device of `like`."""
        key = (like.device, dtype, tuple(values), tuple(shape))
        if key not in self._known:
            with self._graph.name_scope(None):
                free = self._graph.unique_name(f"model_pruning/initial/{name}")
            self._known[key] = self._nodes.constant(free, dtype, values, shape, like)
        return self._known[key]


def _add_mask(
    graph: Any, nodes: tf_compat.Nodes, constants: _Constants, site: Site, variables: Dict[str, Any]
) -> Masked:
    weight = variables[site.variable]
    like, dtype, is_resource = weight.op, weight.dtype.base_dtype, site.kind == "resource"
    dims = constants.of("shape", tf.int32, site.shape, [len(site.shape)], like)
    one = constants.of("one", dtype, [1.0], [], like)
    name = f"{site.mask}/Initializer/ones"
    ones = nodes.add(name, "Fill", [dims, one], like, T=dtype, index_type=tf.int32).outputs[0]
    mask = variables[site.mask] = nodes.variable(site.mask, dtype, site.shape, ones, is_resource, like)
    # The parts of a partitioned weight share one, and so do the copies of a mirrored one: nothing computes with it.
    if site.threshold not in variables:
        zero = constants.of("zero", dtype, [0.0], [], like)
        variables[site.threshold] = nodes.variable(site.threshold, dtype, [], zero, is_resource, like)
    threshold = variables[site.threshold]
    if site.part is not None:
        tf_compat.set_slice(mask, site.part._replace(full_name=whole_name(site.mask)), site.shape)
    # The mask is written first, as contrib's layers have it.
    inputs = [tf_compat.read_of(mask), _read_of(graph, site, weight)]
    product = nodes.add(site.masked_weight, "Mul", inputs, like, T=dtype).outputs[0]
    for key, item in ((WEIGHTS, weight), (MASKS, mask), (THRESHOLDS, threshold), (MASKED_WEIGHTS, product)):
        graph.add_to_collection(key, item)
    return Masked(mask, threshold, product)


def _read_of(graph: Any, site: Site, weight: Any) -> Any:
    """The read that the product multiplies: one that the graph has, so that evaluation reads the weight once."""
    for read in site.reads:
        tensor = graph.get_tensor_by_name(read.tensor)
        if read.shared and not tensor.dtype._is_ref_dtype:
            return tensor
    with tf_compat.outside_everything(graph, like=weight.op):
        return tf.convert_to_tensor(weight)
