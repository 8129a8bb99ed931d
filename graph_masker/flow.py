"""Views are built here: of the ops and edges that are read from a graph, and of what its collections name."""

from types import MappingProxyType
from typing import Any, Callable, Dict, FrozenSet, Iterable, List, Mapping, Optional, Tuple

from graph_masker.naming import threshold_of
from graph_masker.view import (
    VARIABLE_OPS,
    Call,
    Edge,
    GraphView,
    MaskRecord,
    Node,
    OpName,
    Slice,
    TensorRef,
    products_of,
    variable_behind,
)

# Makes named tuples without the call of a Python function that their class would be: a graph has tens of thousands.
_new: Callable[..., Any] = tuple.__new__
# Inputs of an op that are better looked up: a saver's op reads all variables.
_MANY = 32


class Flow:
    """Ops and the edges between them, as they are read from a graph.

    Edges are made when they are asked for: an object for each of a graph's would be the garbage collector's to look at
    for as long as the model is being built.

    Attributes:
        nodes, by_type: see `GraphView`.
        readers: by op name, the names of the ops that read it, once for each input.
    """

    def __init__(self, ops: Iterable[Tuple[OpName, str, Tuple[TensorRef, ...]]] = ()) -> None:
        """Args: tuples (name, op type, data inputs), in order of creation."""
        self.nodes: Dict[OpName, Node] = {}
        self.readers: Dict[OpName, List[OpName]] = {}
        # By op, as they were when asked for: one for each of its readers.
        self._edges: Dict[OpName, List[Edge]] = {}
        # By op with many inputs, those that each other op gives it.
        self._sources: Dict[OpName, Dict[OpName, List[Tuple[int, TensorRef]]]] = {}
        self.by_type: Dict[str, List[OpName]] = {}
        self.extend(ops)

    def extend(self, ops: Iterable[Tuple[OpName, str, Tuple[TensorRef, ...]]]) -> None:
        """Adds ops, created after all others: tuples (name, op type, data inputs)."""
        nodes, by_type, readers = self.nodes, self.by_type, self.readers
        for name, op_type, inputs in ops:
            nodes[name] = _new(Node, (name, op_type, inputs, len(nodes)))
            if op_type in by_type:
                by_type[op_type].append(name)
            else:
                by_type[op_type] = [name]
            for source, _ in inputs:
                if source in readers:
                    readers[source].append(name)
                else:
                    readers[source] = [name]

    def reconnect(self, name: OpName, inputs: Tuple[TensorRef, ...]) -> None:
        """Gives an op other inputs."""
        node = self.nodes[name]
        for source in {tensor.op for tensor in node.inputs}:
            self.readers[source] = [reader for reader in self.readers[source] if reader != name]
            self._edges.pop(source, None)
        self.nodes[name] = node._replace(inputs=inputs)
        self._sources.pop(name, None)
        for source, _ in inputs:
            self.readers.setdefault(source, []).append(name)
            self._edges.pop(source, None)

    def edges_from(self, op: OpName) -> List[Edge]:
        """Returns the edges that leave an op."""
        names = self.readers.get(op, ())
        known = self._edges.get(op)
        if known is None or len(known) != len(names):
            # An op that reads another twice is named twice.
            known = self._edges[op] = [
                _new(Edge, (tensor, name, port))
                for name in dict.fromkeys(names)
                for port, tensor in self._inputs_from(name, op)
            ]
        return known

    def _inputs_from(self, name: OpName, source: OpName) -> Iterable[Tuple[int, TensorRef]]:
        inputs = self.nodes[name].inputs
        if len(inputs) < _MANY:
            return [(port, tensor) for port, tensor in enumerate(inputs) if tensor[0] == source]
        found = self._sources.get(name)
        if found is None:
            found = self._sources[name] = {}
            for port, tensor in enumerate(inputs):
                found.setdefault(tensor[0], []).append((port, tensor))
        return found.get(source, ())


def build_view(
    flow: Flow,
    collections: Mapping[str, List[str]],
    slices: Mapping[OpName, Slice],
    mirrors: Mapping[OpName, OpName],
    values: Iterable[OpName],
    attribute: Callable[[OpName, str], Any],
    shape: Callable[[TensorRef], Optional[Tuple[int, ...]]],
    is_scalar: Callable[[TensorRef], bool],
    is_controlled: Callable[[OpName], bool],
    constant: Callable[[OpName], Optional[Tuple[int, ...]]],
    calls: Callable[[OpName], Tuple[Call, ...]],
    has_functions: bool = True,
    masks: Optional[Mapping[OpName, MaskRecord]] = None,
) -> GraphView:
    """Builds a view of a flow; what is done to the flow later shows in the view.

    Args:
        flow: the ops and edges.
        collections: names held by the collections that analysis reads: tensors and variables by name.
        slices: see `GraphView`.
        mirrors: see `GraphView`; collections hold the first copies alone.
        values: see `GraphView`.
        attribute: see `GraphView`.
        shape: see `GraphView`.
        is_scalar: see `GraphView`.
        is_controlled: see `GraphView`.
        constant: see `GraphView`.
        calls: see `GraphView`.
        has_functions: see `GraphView`.
        masks: see `GraphView`; None where the collections tell.
    """
    return GraphView(
        nodes=flow.nodes,
        readers=flow.readers,
        edges=flow.edges_from,
        by_type=flow.by_type,
        trainable=_op_names(collections.get("trainable_variables", []), mirrors),
        local=_op_names(collections.get("local_variables", []), mirrors),
        saved=_op_names(collections.get("variables", []), mirrors),
        regularization=frozenset(collections.get("regularization_losses", [])),
        masks=_mask_records(flow.nodes, flow.edges_from, collections) if masks is None else masks,
        slices=slices,
        mirrors=mirrors,
        values=frozenset(values),
        attribute=attribute,
        shape=shape,
        is_scalar=is_scalar,
        is_controlled=is_controlled,
        constant=constant,
        calls=calls,
        has_functions=has_functions,
    )


def derived_view(
    inner: GraphView,
    retyped: Mapping[OpName, str],
    collections: Mapping[str, List[str]],
    attribute: Callable[[OpName, str], Any],
    masks: Optional[Mapping[OpName, MaskRecord]] = None,
) -> GraphView:
    """Builds a view of a graph in which some ops count as others: what stands for variables, as variables.

    Args:
        inner: view of the graph as it is.
        retyped: op types by op name.
        collections: see `build_view`.
        attribute: see `GraphView`.
        masks: see `build_view`.
    """
    return build_view(
        Flow((node.name, retyped.get(node.name, node.op_type), node.inputs) for node in inner.nodes.values()),
        collections,
        {},
        inner.mirrors,
        (),
        attribute,
        inner.shape,
        inner.is_scalar,
        inner.is_controlled,
        inner.constant,
        inner.calls,
        inner.has_functions,
        masks,
    )


def _op_names(names: Iterable[str], mirrors: Mapping[OpName, OpName] = MappingProxyType({})) -> FrozenSet[OpName]:
    found = frozenset(name.split(":")[0] for name in names)
    return found.union(copy for copy, first in mirrors.items() if first in found) if mirrors else found


def _mask_records(
    nodes: Mapping[OpName, Node], edges: Callable[[OpName], List[Edge]], collections: Mapping[str, List[str]]
) -> Dict[OpName, MaskRecord]:
    """Finds the masks that the graph holds: products of a mask and a weight, as the collections name them.

    The collections are those of tf.contrib.model_pruning. Their names are common words, so that a model may keep
    things of its own in them; only what is a product of two variables, one of them a mask, counts.
    """
    masks = _op_names(collections.get("masks", []))
    records: Dict[OpName, MaskRecord] = {}
    for product in _op_names(collections.get("masked_weights", [])):
        if product not in nodes or nodes[product].op_type != "Mul":
            continue
        sources = [variable_behind(nodes, tensor.op) for tensor in nodes[product].inputs]
        for mask, variable in (sources, sources[::-1]):
            threshold = threshold_of(mask)
            is_pair = nodes[mask].op_type in VARIABLE_OPS and nodes[variable].op_type in VARIABLE_OPS
            if is_pair and mask in masks and variable not in masks and threshold in nodes:
                records[product] = MaskRecord(variable, mask, threshold, product)
    for record in tuple(records.values()):
        for product in products_of(nodes, edges, record.variable, record.mask):
            records.setdefault(product, record)
    return records
