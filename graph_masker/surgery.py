"""Applies a plan to a graph: adds masks, thresholds and products, and moves edges. Nothing is renamed or removed.

before   weights -> read ------------------------> Conv2D
after    weights -> read -> masked_weight (Mul) -> Conv2D
                    mask ---^
"""

import operator
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.accumulators import Accumulators, criterion_of
from graph_masker.errors import SurgeryError
from graph_masker.plan import MaskPlan, Site
from graph_masker.sites.gradients import GradientSum
from graph_masker.sites.readers import Copy, Read
from graph_masker.state import MASKED_WEIGHTS, MASKS, THRESHOLDS, WEIGHTS, Masked, add_masks

_COLLECTIONS = (WEIGHTS, MASKS, THRESHOLDS, MASKED_WEIGHTS, tf.GraphKeys.GLOBAL_VARIABLES)


@dataclass(frozen=True)
class MaskedVariable:
    """A site in a live graph: its variable, mask `[shape of the weight]` and threshold `[]`."""

    site: Site
    weight: Any
    mask: Any
    threshold: Any


def apply_plan(
    graph: Any,
    plan: MaskPlan,
    replaced: Optional[Dict[str, Any]] = None,
    accumulators: Optional[Accumulators] = None,
) -> Tuple[MaskedVariable, ...]:
    """Masks a graph as planned and returns one `MaskedVariable` per site, in the plan's order.

    Args:
        graph: a `tf.Graph`.
        plan: what to do.
        replaced: takes in the masked gradients, by the name of the tensor that each replaces.
        accumulators: of the graph's criteria.

    Raises:
        SurgeryError: the plan does not fit the graph, or the graph is finalized. The graph is as it was.

    Any other error takes edges and collections back, too; ops cannot be removed from a graph and stay, unused.
    """
    if graph.finalized:
        raise SurgeryError("the graph is finalized; mask it before a session or a hook finalizes it")
    variables = {variable.op.name: variable for variable in tf_compat.variables_of(graph)}
    accumulators = accumulators or Accumulators(graph)
    for site in plan.sites:
        _check_site(graph, site, variables)
        inside = [read.tensor for read in site.reads if not read.shared]
        if accumulators.active and inside:
            check_criterion(site, f"'{inside[0]}'")
    moved: List[Tuple[Any, int, Any]] = []
    collections = tf_compat.collections_of(graph, _COLLECTIONS)
    try:
        new = add_masks(graph, [site for site in plan.sites if not site.masked], variables)
        masked = tuple(
            _mask_site(
                graph, site, variables[site.variable], new.get(site.variable) or _known(graph, site, variables), moved
            )
            for site in plan.sites
        )
        for item in masked:
            for gradient in item.site.gradients:
                tensor = _mask_gradient(graph, gradient, item.site, accumulators, moved)
                if replaced is not None:
                    replaced[gradient.result] = tensor
        return masked
    except Exception:
        for op, index, tensor in reversed(moved):
            tf_compat.update_input(op, index, tensor)
        for key, items in collections.items():
            graph.get_collection_ref(key)[:] = items
        raise


def changes(plan: MaskPlan) -> bool:
    """Tells whether applying a plan adds or moves anything."""
    return any(not site.masked or site.reads or site.copies or site.gathers or site.gradients for site in plan.sites)


def _check_site(graph: Any, site: Site, variables: Dict[str, Any]) -> None:
    needed = [site.variable, site.mask, site.threshold] if site.masked else [site.variable]
    for name in needed:
        if name not in variables:
            raise SurgeryError(
                f"{name}: expected a variable of the graph's global variables, found none; a graph imported "
                "without its collections cannot be masked"
            )
    shares_threshold = site.has_whole and site.threshold in variables
    own = (site.mask, site.masked_weight) if shares_threshold else (site.mask, site.threshold, site.masked_weight)
    for name in () if site.masked else own:
        if tf_compat.has_op(graph, name):
            raise SurgeryError(f"{name}: expected a free name for {site.variable}, found an op of that name")
    for read in site.reads:
        for op, index in read.reroutes:
            found = graph.get_operation_by_name(op).inputs[index].name
            if found != read.tensor:
                raise SurgeryError(f"{op}: expected input {index} to be '{read.tensor}', found '{found}'; plan anew")


def check_criterion(site: Site, where: str) -> None:
    """Raises where a criterion does not get to see all of a weight's gradient.

    Args:
        site: a weight that is read within a loop, a cond or a function body.
        where: that read, for the message.

    Raises:
        SurgeryError: its criterion needs the gradient.
    """
    criterion = criterion_of(site)
    if criterion.contribution is not None:
        raise SurgeryError(
            f"{site.variable}: criterion {criterion.name} needs its gradient outside of loops, conds and function "
            f"bodies, but it is read inside one ({where}); give it criterion magnitude by a rule, or exclude it"
        )


def _known(graph: Any, site: Site, variables: Dict[str, Any]) -> Masked:
    product = graph.get_tensor_by_name(f"{site.masked_weight}:0")
    return Masked(variables[site.mask], variables[site.threshold], product)


def _mask_site(
    graph: Any, site: Site, weight: Any, masked: Masked, moved: List[Tuple[Any, int, Any]]
) -> MaskedVariable:
    mask, threshold, product = masked
    twins: Dict[Any, Any] = {}
    for copy in site.copies:
        _copy(graph, copy, twins, moved)
    for read in site.reads:
        source = product if read.shared else _own_product(graph, site, read, mask)
        for name, index in read.reroutes:
            _move(graph.get_operation_by_name(name), index, source, moved)
    for name in site.gathers:
        _replace_gather(graph.get_operation_by_name(name), product, f"{name}/masked/", moved)
    return MaskedVariable(site, weight, mask, threshold)


def _mask_gradient(
    graph: Any, gradient: GradientSum, site: Site, accumulators: Accumulators, moved: List[Tuple[Any, int, Any]]
) -> Any:
    """Makes the readers of a weight's gradient read what they would have read, had the graph been masked first.

    Names are those that autodiff would have given, because Grappler sorts the inputs of a sum by their names, and
    with the order its last bits change.
    """
    product = graph.get_operation_by_name(site.masked_weight)
    name = graph.unique_name(f"{gradient.scope}{product.name}_grad")
    result = graph.get_tensor_by_name(gradient.result)
    readers = [(op, index) for op in result.consumers() for index, tensor in enumerate(op.inputs) if tensor is result]
    # The mask is written first, the read after it.
    read = product.inputs[1].op.name
    levels: Dict[str, List[Any]] = {}
    with tf_compat.in_context_of(graph, result.op):
        for number, summand in enumerate(gradient.summands):
            terms = [graph.get_tensor_by_name(item) for item in summand.tensors]
            total = terms[0]
            if len(terms) > 1:
                total = result if _is_sum_of(result, terms) else tf.add_n(terms, name=f"{name}/sum")
            if summand.kind != "raw":
                own = f"{name}/Mul_1/" if summand.kind == "shared" else f"{terms[0].op.name}/masked"
                total = accumulators.masked(site, product, total, own)
            # Autodiff adds up for each read first, and then for the variable, in the order in which sums are done.
            key = summand.read or (read if summand.kind == "shared" else str(number))
            levels[key] = [*levels.pop(key, []), total]
        masked = _added([_added(level, f"{name}/with_raw") for level in levels.values()], f"{name}/with_raw")
    for op, index in readers:
        _move(op, index, masked, moved)
    return masked


def _added(tensors: List[Any], name: str) -> Any:
    return tensors[0] if len(tensors) == 1 else tf.add_n(tensors, name=name)


def _is_sum_of(tensor: Any, terms: List[Any]) -> bool:
    inputs = list(tensor.op.inputs)
    return tensor.op.type == "AddN" and len(inputs) == len(terms) and all(map(operator.is_, inputs, terms))


def mask_body(body: Any, item: MaskedVariable, reads: Sequence[Read]) -> None:
    """Masks what a function body reads of a weight, while the body is being built.

    Args:
        body: its graph.
        item: the weight; its mask is captured.
        reads: of the body.
    """
    for read in reads:
        tensor = body.get_tensor_by_name(read.tensor)
        with body.as_default(), body.control_dependencies(None):
            # Nothing is to differentiate the product by its mask.
            mask = tf.stop_gradient(tf.convert_to_tensor(item.mask))
        with tf_compat.in_context_of(body, tensor.op):
            product = tf.multiply(mask, tensor, name="masked_weight")
        for name, index in read.reroutes:
            tf_compat.update_input(body.get_operation_by_name(name), index, product)


def _move(op: Any, index: int, tensor: Any, moved: List[Tuple[Any, int, Any]]) -> None:
    moved.append((op, index, op.inputs[index]))
    tf_compat.update_input(op, index, tensor)


def _copy(graph: Any, copy: Copy, twins: Dict[Any, Any], moved: List[Tuple[Any, int, Any]]) -> None:
    """Gives the regularizers behind an op a copy of it, made before the op itself moves to the masked weight."""
    op = graph.get_operation_by_name(copy.op)
    twin = tf_compat.twin_of(op, [twins.get(tensor, tensor) for tensor in op.inputs], f"{copy.name}/")
    twins.update(zip(op.outputs, twin.outputs))
    for name, index in copy.moves:
        reader = graph.get_operation_by_name(name)
        _move(reader, index, twins[reader.inputs[index]], moved)


def _replace_gather(op: Any, product: Any, name: str, moved: List[Tuple[Any, int, Any]]) -> None:
    """Makes the readers of rows gathered through a handle read rows of the product."""
    with tf_compat.in_context_of(op.graph, op):
        if op.type == "ResourceGather":
            batch_dims = op.get_attr("batch_dims")
            rows = tf.gather(product, op.inputs[1], axis=batch_dims, batch_dims=batch_dims, name=name)
        else:
            rows = tf.gather_nd(product, op.inputs[1], name=name)
    for reader in op.outputs[0].consumers():
        for index, tensor in enumerate(reader.inputs):
            if tensor is op.outputs[0]:
                _move(reader, index, rows, moved)


def _own_product(graph: Any, site: Site, read: Read, mask: Any) -> Any:
    tensor = graph.get_tensor_by_name(read.tensor)
    name = f"{site.masked_weight}_{_count(graph, site)}"
    with tf_compat.outside_everything(graph, like=mask.op), tf.name_scope(f"{name}/mask/"):
        mask_value = tf.convert_to_tensor(mask)
    with tf_compat.in_context_of(graph, tensor.op):
        return tf.multiply(mask_value, tensor, name=f"{name}/")


def _count(graph: Any, site: Site) -> int:
    number = 1
    while tf_compat.has_op(graph, f"{site.masked_weight}_{number}"):
        number += 1
    return number
