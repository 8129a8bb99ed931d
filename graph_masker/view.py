"""A read-only view of a graph's data flow, the same for a `tf.Graph` and for a MetaGraph's protocol buffer.

Built in one pass, and for a live graph brought up to date by reading what has changed. Adjacency is kept in plain
dicts, because a networkx multigraph of a 40,000-op training graph takes longer to build than the whole analysis;
`GraphView.to_networkx` gives one where its algorithms are wanted.
"""

from dataclasses import dataclass
from typing import (
    AbstractSet,
    Any,
    Callable,
    Collection,
    Dict,
    FrozenSet,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import networkx as nx

# What the view of a frozen graph calls a constant that stands where a variable was.
FROZEN_WEIGHT = "_FrozenWeight"
# The argument of a function stands for the variable whose handle or value is handed to it.
VARIABLE_OPS = frozenset({"VariableV2", "Variable", "VarHandleOp", "_Arg", FROZEN_WEIGHT})
# A variable's value passes these unchanged, into a loop or cond too.
PLAIN_READS = frozenset({"Identity", "ReadVariableOp", "Enter", "Switch", "RefEnter", "RefSwitch"})

OpName = str


class TensorRef(NamedTuple):
    """One output of one op."""

    op: OpName
    output: int = 0

    @property
    def name(self) -> str:
        """TensorFlow's tensor name, such as ``conv/weights/read:0``."""
        return f"{self.op}:{self.output}"


class Edge(NamedTuple):
    """One input of one op: `tensor` flows into input `port` of `op`."""

    tensor: TensorRef
    op: OpName
    port: int


class Node(NamedTuple):
    """One op: its name, type, data inputs and place in the order of creation."""

    name: OpName
    op_type: str
    inputs: Tuple[TensorRef, ...]
    order: int


class Slice(NamedTuple):
    """What part of a partitioned variable a variable is.

    Attributes:
        full_name: name of the whole; checkpoints hold it under this key.
        full_shape: shape of the whole.
        offset: index of the part's first entry in the whole, per axis.
    """

    full_name: str
    full_shape: Tuple[int, ...]
    offset: Tuple[int, ...]


@dataclass(frozen=True)
class MaskRecord:
    """A mask that the graph already holds, ours or contrib's, as its collections tell."""

    variable: OpName
    mask: OpName
    threshold: OpName
    masked_weight: OpName


class Body(NamedTuple):
    """A function's body: its arguments, ops of type ``_Arg`` in its view, and the tensors that it returns."""

    name: str
    args: Tuple[OpName, ...]
    outputs: Tuple[TensorRef, ...]
    view: "GraphView"


class Call(NamedTuple):
    """A body that an op runs, and the op's inputs that are the body's arguments, in order."""

    body: Body
    ports: Tuple[int, ...]


@dataclass(frozen=True)
class GraphView:
    """Ops, edges and the facts about them that analysis needs. Nothing here changes a graph.

    Attributes:
        nodes: by op name, in order of creation.
        readers: by op name, the names of the ops that read it.
        edges: the edges that leave an op.
        by_type: op names by op type.
        trainable, local, saved: op names in the collections of trainable, local and global variables.
        regularization: names of tensors in the regularization-losses collection.
        masks: masks already present, by the name of a product op; a weight read in a loop or cond has several.
        slices: of the variables that are parts of partitioned ones.
        mirrors: copies, on further devices, of mirrored variables, each with the first one.
        values: ops that TensorFlow takes for the value of a variable whenever that is asked for.
        attribute: ``attribute(op name, key)`` gives ``shape`` and ``dtype`` of a variable.
        shape: a tensor's shape where it is fully known, else None.
        is_scalar: tells whether a tensor is a scalar; also where a file does not say of what shape it is.
        is_controlled: tells whether an op has control inputs.
        constant: the whole numbers of a constant vector; None where an op is none.
        calls: the bodies that an op runs: of a call, both branches of an If, condition and body of a While.
        has_functions: whether there are function bodies at all.
    """

    nodes: Mapping[OpName, Node]
    readers: Mapping[OpName, List[OpName]]
    edges: Callable[[OpName], List[Edge]]
    by_type: Mapping[str, List[OpName]]
    trainable: FrozenSet[OpName]
    local: FrozenSet[OpName]
    saved: FrozenSet[OpName]
    regularization: FrozenSet[str]
    masks: Mapping[OpName, MaskRecord]
    slices: Mapping[OpName, Slice]
    mirrors: Mapping[OpName, OpName]
    values: FrozenSet[OpName]
    attribute: Callable[[OpName, str], Any]
    shape: Callable[[TensorRef], Optional[Tuple[int, ...]]]
    is_scalar: Callable[[TensorRef], bool]
    is_controlled: Callable[[OpName], bool]
    constant: Callable[[OpName], Optional[Tuple[int, ...]]]
    calls: Callable[[OpName], Tuple[Call, ...]]
    has_functions: bool

    def edges_from(self, op: OpName, output: Optional[int] = None) -> List[Edge]:
        """Returns the edges that leave an op, or one of its outputs."""
        edges = self.edges(op)
        return edges if output is None else [edge for edge in edges if edge.tensor.output == output]

    def is_variable(self, op: OpName) -> bool:
        """Tells whether an op is a variable, ref or resource."""
        return self.nodes[op].op_type in VARIABLE_OPS

    def variables(self) -> List[OpName]:
        """Returns the variables' op names in order of creation."""
        return self.ops_of(VARIABLE_OPS)

    def ops_of(self, types: Iterable[str]) -> List[OpName]:
        """Returns the names of all ops of some types, in order of creation."""
        names = [name for op_type in types for name in self.by_type.get(op_type, ())]
        return sorted(names, key=lambda name: self.nodes[name].order)

    def ops_with_calls(self) -> List[OpName]:
        """Returns the names of all ops that run function bodies, in order of creation."""
        return [name for name in self.nodes if self.calls(name)] if self.has_functions else []

    def op_ending(self, path: str) -> Optional[OpName]:
        """Returns the longest ending of a path, cut at a slash, that is the name of an op."""
        found = "/"
        while found and path not in self.nodes:
            _, found, path = path.partition("/")
        return path if found else None

    def ancestors(self, ops: Collection[OpName], walls: AbstractSet[OpName] = frozenset()) -> FrozenSet[OpName]:
        """Returns the ops and everything that they are computed from without passing a wall."""
        nodes, seen, stack = self.nodes, set(ops), list(ops)
        while stack:
            for source, _ in nodes[stack.pop()].inputs:
                if source not in seen and source not in walls:
                    seen.add(source)
                    stack.append(source)
        return frozenset(seen)

    def descendants(self, ops: Collection[OpName]) -> FrozenSet[OpName]:
        """Returns the ops and everything computed from them."""
        readers, seen, stack = self.readers, set(ops), list(ops)
        while stack:
            for reader in readers.get(stack.pop(), ()):
                if reader not in seen:
                    seen.add(reader)
                    stack.append(reader)
        return frozenset(seen)

    def mask_state(self) -> FrozenSet[OpName]:
        """Returns the variables that are masks or thresholds."""
        return frozenset(name for record in self.masks.values() for name in (record.mask, record.threshold))

    def weight_of_mask(self) -> Dict[OpName, OpName]:
        """Returns weights by their masks."""
        return {record.mask: record.variable for record in self.masks.values()}

    def to_networkx(self) -> "nx.DiGraph":
        """Returns the data flow as a networkx DiGraph: nodes are op names with attribute ``op_type``."""
        graph = nx.DiGraph()
        graph.add_nodes_from((node.name, {"op_type": node.op_type}) for node in self.nodes.values())
        graph.add_edges_from((source.op, node.name) for node in self.nodes.values() for source in node.inputs)
        return graph


def cut(whole: Any, offset: Sequence[int], shape: Sequence[int]) -> Any:
    """Returns the part of an array that begins at an offset and is of a shape."""
    return whole[tuple(slice(start, start + size) for start, size in zip(offset, shape))]


def products_of(
    nodes: Mapping[OpName, Node], edges: Callable[[OpName], List[Edge]], variable: OpName, mask: OpName
) -> Iterator[OpName]:
    """Yields the ops that multiply a mask and its weight.

    There can be several: a read in a loop or cond has its own, and so has each use of a shared layer of contrib's.
    """
    stack = [mask]
    while stack:
        for edge in edges(stack.pop()):
            node = nodes[edge.op]
            if node.op_type in PLAIN_READS:
                stack.append(edge.op)
            elif node.op_type == "Mul" and variable_behind(nodes, node.inputs[1 - edge.port].op) == variable:
                yield edge.op


def variable_behind(nodes: Mapping[OpName, Node], op: OpName) -> OpName:
    """Follows plain reads back from an op to what they read: the variable, where that is all there is between."""
    while nodes[op].op_type in PLAIN_READS:
        op = nodes[op].inputs[0].op
    return op
