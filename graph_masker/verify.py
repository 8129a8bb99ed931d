"""The guarantees of a masked graph, as checks that run. They know a plan's raw readers, but no rules."""

from collections import deque
from typing import Any, Dict, Iterable, List, Mapping, Optional, Set, Tuple

import networkx as nx

from graph_masker import tf_compat
from graph_masker.errors import VerificationError
from graph_masker.plan import MaskPlan, Site
from graph_masker.sites import Consumer
from graph_masker.view import GraphView, Node, OpName, TensorRef, products_of, variable_behind

Originals = Mapping[OpName, Node]


def verify_masked(
    graph: Any, plan: MaskPlan, outputs: Iterable[str] = (), originals: Optional[Originals] = None
) -> None:
    """Checks a masked graph against its plan.

    Every site has its mask, threshold and product, of the weight's shape; the product multiplies the mask and
    that weight, nothing else (G1); every consumer's weight comes from a product (G2); no path leads from a masked
    variable's raw value to `outputs` (G2); every variable has one mask, and every mask one variable (G4); nothing is
    multiplied by a mask twice (G5); every original op is there, with its type and number of inputs (G7).

    Args:
        graph: a `tf.Graph` that `apply_plan` has been applied to.
        plan: the plan it was applied with.
        outputs: names of the model's output and loss tensors. Without them only consumers are checked.
        originals: what `originals_of` returned before.

    Raises:
        VerificationError: a guarantee does not hold; the message names the ops concerned.
    """
    verify_view(tf_compat.view_of_graph(graph), plan, outputs, originals)


def verify_view(
    view: GraphView, plan: MaskPlan, outputs: Iterable[str] = (), originals: Optional[Originals] = None
) -> None:
    """Does what `verify_masked` does, for a graph in a file as well."""
    _check_pairs(plan)
    products: Set[OpName] = set()
    for site in plan.sites:
        _check_product(view, site)
        own = _products(view, site)
        _check_consumers(view, site, own)
        _check_once(view, site, own)
        products |= own
    _check_no_bypass(view, plan, products, [_tensor(name) for name in outputs])
    for name, original in (originals or {}).items():
        node = view.nodes.get(name)
        if node is not original and (node is None or _form(node) != _form(original)):
            op_type, inputs = _form(original)
            raise VerificationError(f"{name}: expected the original {op_type} of {inputs} inputs, found {node}")


def originals_of(view: GraphView) -> Originals:
    """Returns what must survive masking: every op's name, with its type and number of inputs."""
    return dict(view.nodes)


def _form(node: Node) -> Tuple[str, int]:
    return node.op_type, len(node.inputs)


def is_regularized(view: GraphView, plan: MaskPlan, output: str) -> bool:
    """Tells whether a tensor is computed from raw weights, too, as a loss with weight decay is."""
    walls = {name for site in plan.sites for name in _products(view, site)}
    reached = view.ancestors([_tensor(output).op], walls)
    return any(site.variable in reached for site in plan.sites)


def _check_pairs(plan: MaskPlan) -> None:
    masks: Dict[OpName, OpName] = {}
    for site in plan.sites:
        if masks.setdefault(site.mask, site.variable) != site.variable:
            raise VerificationError(f"{site.mask}: expected one weight, found {masks[site.mask]} and {site.variable}")


def _check_once(view: GraphView, site: Site, products: Set[OpName]) -> None:
    """No product is multiplied by its mask again."""
    for product in products:
        for edge in view.edges_from(product):
            node = view.nodes[edge.op]
            if node.op_type == "Mul" and variable_behind(view.nodes, node.inputs[1 - edge.port].op) == site.mask:
                raise VerificationError(f"{edge.op}: multiplies {product} by {site.mask} a second time")


def _tensor(name: str) -> TensorRef:
    op, _, output = name.partition(":")
    return TensorRef(op, int(output or 0))


def _products(view: GraphView, site: Site) -> Set[OpName]:
    return set(products_of(view.nodes, view.edges, site.variable, site.mask))


def _check_product(view: GraphView, site: Site) -> None:
    for name in (site.variable, *site.state, site.masked_weight):
        if name not in view.nodes:
            raise VerificationError(f"{site.variable}: expected an op '{name}', found none; mask the graph anew")
    mask_shape = view.attribute(site.mask, "shape")
    if mask_shape != site.shape:
        raise VerificationError(f"{site.mask}: expected the weight's shape {site.shape}, found {mask_shape}")
    node = view.nodes[site.masked_weight]
    sources = {variable_behind(view.nodes, tensor.op) for tensor in node.inputs}
    if node.op_type != "Mul" or sources != {site.mask, site.variable}:
        raise VerificationError(
            f"{site.masked_weight}: expected the product of {site.mask} and {site.variable}, found "
            f"{node.op_type} of {', '.join(sorted(sources))}"
        )


def _check_consumers(view: GraphView, site: Site, products: Set[OpName]) -> None:
    """The weight input of each consumer must meet a product before it meets the variable."""
    for consumer in site.consumers:
        tensor = view.nodes[consumer.op].inputs[consumer.port]
        if consumer.inside and variable_behind(view.nodes, tensor.op) == site.variable:
            _check_inside(view, site, consumer)
            continue
        met = _nearest(view, tensor.op, {*products, site.variable})
        if met == site.variable:
            raise VerificationError(
                f"{consumer.op}: reads {site.variable} past its mask; expected {site.masked_weight} on the way"
            )
        if met is None:
            raise VerificationError(f"{consumer.op}: expected its weight from {site.masked_weight}, found no path")


def _nearest(view: GraphView, op: OpName, wanted: Set[OpName]) -> Optional[OpName]:
    """Returns which of some ops an op computes from by the fewest steps."""
    seen = {op}
    queue = deque([op])
    while queue:
        op = queue.popleft()
        if op in wanted:
            return op
        for tensor in view.nodes[op].inputs:
            if tensor.op not in seen:
                seen.add(tensor.op)
                queue.append(tensor.op)
    return None


def _check_inside(view: GraphView, site: Site, consumer: Consumer) -> None:
    """A function body that has the weight's handle must multiply what it reads."""
    if not _takes_mask(view, consumer.op, site):
        raise VerificationError(
            f"{consumer.op}: expected the body that it runs to multiply {site.variable} by {site.mask}, "
            "found one that does not take the mask"
        )


def _takes_mask(view: GraphView, op: OpName, site: Site) -> bool:
    return any(variable_behind(view.nodes, tensor.op) == site.mask for tensor in view.nodes[op].inputs)


def _check_no_bypass(view: GraphView, plan: MaskPlan, products: Set[OpName], outputs: List[TensorRef]) -> None:
    masked = {site.variable: site for site in plan.sites}
    walls = products | {name for site in plan.sites for name in site.raw_readers}
    walls |= {copy.name for site in plan.sites for copy in site.copies}
    seen: Set[OpName] = set()
    stack = [tensor.op for tensor in outputs]
    while stack:
        op = stack.pop()
        if op in seen or op in walls:
            continue
        seen.add(op)
        if op in masked:
            raise VerificationError(_bypass(view, op, walls, [tensor.op for tensor in outputs]))
        for tensor in view.nodes[op].inputs:
            site = masked.get(variable_behind(view.nodes, tensor.op))
            # A body that takes weight and mask multiplies them; what it consumes has been checked.
            if site is None or not view.calls(op) or not _takes_mask(view, op, site):
                stack.append(tensor.op)


def _bypass(view: GraphView, variable: OpName, walls: Set[OpName], outputs: List[OpName]) -> str:
    network = view.to_networkx()
    network.remove_nodes_from(walls)
    for output in outputs:
        if output in network and nx.has_path(network, variable, output):
            path = nx.shortest_path(network, variable, output)
            shown = [*path[:4], "...", path[-1]] if len(path) > 6 else path
            return f"{variable}: expected no path past its mask, found {' -> '.join(shown)}"
    return f"{variable}: expected no path past its mask to the outputs, found one"
