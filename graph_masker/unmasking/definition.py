"""A GraphDef under edit: who reads what, what goes, and what takes its place."""

from typing import Any, Dict, Iterator, List, NamedTuple, Set, Tuple

OpName = str


class Reader(NamedTuple):
    """Input number `port` of a node; control inputs count, too."""

    node: Any
    port: int


def op_of(text: str) -> OpName:
    """Returns the op that an input names: ``^op``, ``op`` or ``op:1``."""
    return text.lstrip("^").partition(":")[0]


def output_of(text: str) -> int:
    """Returns which output of its op an input names."""
    return int(text.partition(":")[2] or 0)


def data_inputs(node: Any) -> List[str]:
    """Returns the inputs of a node that carry data."""
    return [text for text in node.input if not text.startswith("^")]


def attrs_without_shapes(node: Any) -> Dict[str, bytes]:
    """Returns the attributes of a node, as bytes that can be compared; shapes that were inferred are left out."""
    attrs = node.attr.items()
    return {key: value.SerializeToString(deterministic=True) for key, value in attrs if key != "_output_shapes"}


class Definition:
    """A GraphDef, edited in place. What is removed stays until `finish`, so that it can still be asked about.

    Attributes:
        nodes: by name, in order of creation.
        order: place in it.
        removed: names of the nodes that go.
        instead: for some nodes that go, the tensor that takes the place of their result.
    """

    def __init__(self, graph_def: Any) -> None:
        self.graph_def = graph_def
        self.nodes: Dict[OpName, Any] = {node.name: node for node in graph_def.node}
        self.order = {name: number for number, name in enumerate(self.nodes)}
        self.removed: Set[OpName] = set()
        self.instead: Dict[OpName, str] = {}
        self._readers: Dict[OpName, List[Tuple[OpName, int]]] = {}
        for node in graph_def.node:
            self.note(node)

    def readers(self, op: OpName) -> Iterator[Reader]:
        """Yields the inputs that read an op now, in order of creation; those of removed nodes are left out."""
        for name, index in dict.fromkeys(self._readers.get(op, ())):
            node = self.nodes[name]
            if name not in self.removed and index < len(node.input) and op_of(node.input[index]) == op:
                yield Reader(node, index)

    def data_readers(self, op: OpName) -> Iterator[Reader]:
        """Yields those of `readers` that read data."""
        return (reader for reader in self.readers(op) if not reader.node.input[reader.port].startswith("^"))

    def is_read(self, op: OpName) -> bool:
        """Tells whether anything that stays reads an op."""
        return next(self.readers(op), None) is not None

    def move(self, reader: Reader, text: str) -> None:
        """Makes one input read something else."""
        reader.node.input[reader.port] = text
        self._readers.setdefault(op_of(text), []).append((reader.node.name, reader.port))

    def note(self, node: Any) -> None:
        """Takes note of a node's inputs, which were set anew."""
        for index, text in enumerate(node.input):
            self._readers.setdefault(op_of(text), []).append((node.name, index))

    def replace(self, op: OpName, text: str) -> None:
        """Makes the readers of an op's first output read a tensor in its place; the op goes."""
        for reader in tuple(self.data_readers(op)):
            self.move(reader, text)
        self.removed.add(op)
        self.instead[op] = text

    def in_place_of(self, text: str) -> str:
        """Returns what takes the place of a tensor: itself, where it stays or nothing does."""
        while op_of(text) in self.instead:
            found = self.instead[op_of(text)]
            # What takes the place of an op as a whole has outputs as that has.
            text = found if ":" in found else found + text[len(op_of(text)) :]
        return text

    def finish(self) -> None:
        """Takes out what was removed: nodes, control inputs from them, and colocation with them."""
        for node in self.graph_def.node:
            if node.name in self.removed:
                continue
            if any(text.startswith("^") and text[1:] in self.removed for text in node.input):
                kept = [text for text in node.input if not (text.startswith("^") and text[1:] in self.removed)]
                del node.input[:]
                node.input.extend(kept)
            if "_class" in node.attr:
                self._colocate(node)
        nodes = self.graph_def.node
        # In place, and run by run: weights may be large, and copies take time.
        end = len(nodes)
        while end:
            start = end
            while start and nodes[start - 1].name in self.removed:
                start -= 1
            if start < end:
                del nodes[start:end]
            end = max(start - 1, 0)
        self.nodes = {node.name: node for node in nodes}

    def _colocate(self, node: Any) -> None:
        groups = list(node.attr["_class"].list.s)
        if not any(_colocated_with(group) in self.removed for group in groups):
            return
        found: Dict[bytes, None] = {}
        for group in groups:
            found.update(dict.fromkeys(self._group_of(group)))
        if found:
            del node.attr["_class"].list.s[:]
            node.attr["_class"].list.s.extend(found)
        else:
            del node.attr["_class"]

    def _group_of(self, group: bytes) -> List[bytes]:
        """Returns the colocation groups of what takes the place of a removed op."""
        name = _colocated_with(group)
        if name not in self.removed:
            return [group]
        place = op_of(self.in_place_of(name))
        if place in self.removed:
            return []
        own = list(self.nodes[place].attr["_class"].list.s) if "_class" in self.nodes[place].attr else []
        if any(_colocated_with(item) in self.removed for item in own):
            return [item for other in own for item in self._group_of(other)]
        return own or [f"loc:@{place}".encode()]


def _colocated_with(group: bytes) -> str:
    return group[len(b"loc:@") :].decode() if group.startswith(b"loc:@") else ""
