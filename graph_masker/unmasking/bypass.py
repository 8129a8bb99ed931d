"""Makes the readers of masked weights and of masked gradients read what the original graph had them read."""

import re
from typing import Dict, Iterator, List, Optional, Sequence, Set, Tuple

from graph_masker.errors import SourceError
from graph_masker.unmasking.definition import Definition, OpName, Reader, attrs_without_shapes, data_inputs, op_of
from graph_masker.unmasking.ours import Ours
from graph_masker.view import PLAIN_READS, VARIABLE_OPS

_GRADIENT = re.compile(r"_grad(_\d+)?/")


class Bypass:
    """The way around masks, in one graph.

    Attributes:
        kept: reads within a product's scope that now serve the model itself.
    """

    def __init__(self, definition: Definition, ours: Ours, source: str) -> None:
        self.kept: Set[OpName] = set()
        self._definition = definition
        self._ours = ours
        self._source = source
        self._first = min(definition.order[name] for name in ours.masks)
        self._scopes: Dict[str, List[OpName]] = {}

    def apply(self) -> None:
        """Bypasses gathers, gradients, products and copies, in this order.

        Raises:
            SourceError: what the original graph had cannot be told.
        """
        self._gathers()
        self._scopes = self._gradient_scopes()
        for scope, names in self._scopes.items():
            self._gradient(scope, names)
        for name in [name for name in self._definition.nodes if name not in self._definition.removed]:
            self._lone_gradient(name)
        reads = {name: self._reads_of(name) for name in self._ours.products}
        for name, candidates in reads.items():
            self._product(name, candidates)
        self._copies()

    def _behind(self, op: OpName) -> OpName:
        nodes = self._definition.nodes
        while nodes[op].op in PLAIN_READS and data_inputs(nodes[op]):
            op = op_of(nodes[op].input[0])
        return op

    def _gathers(self) -> None:
        """Rows of the product that were put in the place of rows gathered through a handle."""
        definition = self._definition
        for name in [name for name in definition.nodes if name.endswith("/masked")]:
            original = definition.nodes.get(name[: -len("/masked")])
            node = definition.nodes[name]
            if original is not None and original.op.startswith("ResourceGather") and node.op.startswith("Gather"):
                definition.replace(name, original.name)
                definition.removed.update(other for other in definition.nodes if other.startswith(f"{name}/"))

    def _gradient_scopes(self) -> Dict[str, List[OpName]]:
        """Returns the ops of the gradients of products, by the name scope that autodiff gave them."""
        found: Dict[str, List[OpName]] = {}
        for name in self._definition.nodes:
            for match in _GRADIENT.finditer(name):
                head = name[: match.start()]
                while head and head not in self._ours.products:
                    head = head.partition("/")[2]
                if head:
                    found.setdefault(name[: match.end()], []).append(name)
                    break
        return found

    def _gradient(self, scope: str, names: List[OpName]) -> None:
        definition, inside = self._definition, set(names)
        for name in names:
            result = ""
            for reader in tuple(definition.data_readers(name)):
                if reader.node.name in inside:
                    continue
                result = result or self._unmasked(name, inside)
                definition.move(reader, result)
            if result:
                definition.instead[name] = result
        for name in names:
            if name not in definition.instead and definition.nodes[name].op == "Mul":
                definition.instead[name] = self._unmasked(name, inside)
        definition.removed |= inside

    def _unmasked(self, name: OpName, inside: Set[OpName]) -> str:
        """Returns the tensor that a result within a gradient scope would be without the mask."""
        terms = list(self._terms(name, inside))
        if len(terms) == 1:
            return terms[0]
        for node in self._definition.nodes.values():
            if node.op == "AddN" and node.name not in inside and sorted(data_inputs(node)) == sorted(terms):
                return str(node.name)
        raise SourceError(
            f"{self._source}: '{name}' adds up parts of a gradient that the original graph added up otherwise; build "
            "that graph by the model's own code"
        )

    def _terms(self, name: OpName, inside: Set[OpName]) -> Iterator[str]:
        node = self._definition.nodes[name]
        if node.op == "Mul":
            texts = [text for text in node.input if not self._is_factor(text)]
        elif node.op == "UnsortedSegmentSum":
            raise SourceError(
                f"{self._source}: '{name}' sums gradients of gathered rows, which the original graph applied row by "
                "row; build that graph by the model's own code"
            )
        else:
            texts = data_inputs(node) if node.op == "AddN" else data_inputs(node)[:1]
        for text in texts:
            if op_of(text) in inside:
                yield from self._terms(op_of(text), inside)
            else:
                yield text

    def _is_factor(self, text: str) -> bool:
        """Tells whether a factor of a gradient is a mask or a weight, or the stack that one was put on in a loop."""
        source = self._behind(op_of(text))
        if self._definition.nodes[source].op == "StackPopV2":
            return True
        return self._definition.nodes[source].op in VARIABLE_OPS

    def _lone_gradient(self, name: OpName) -> None:
        """A gradient that was masked where it leaves a loop or cond, or under another name than autodiff's."""
        definition, node = self._definition, self._definition.nodes[name]
        if node.op != "Mul" or name in self._ours.products or self._ours.owns(name):
            return
        one, other = node.input[0], node.input[1]
        for mask, value in ((one, other), (other, one)):
            if self._behind(op_of(mask)) in self._ours.masks and self._behind(op_of(value)) not in self._ours.state:
                definition.replace(name, value)
                return

    def _reads_of(self, product: OpName) -> List[OpName]:
        """Returns the reads of the raw weight that readers of a product may have read, in order of creation."""
        definition, record = self._definition, self._ours.products[product]
        node = definition.nodes[product]
        raw = next((text for text in node.input if self._behind(op_of(text)) == record.variable), None)
        if raw is None:
            raise SourceError(f"{self._source}: expected '{product}' to multiply '{record.variable}', found other ops")
        own = op_of(raw)
        if own == record.variable or self._is_inside(node):
            return [raw]
        idle = [
            reader.node.name
            for reader in definition.data_readers(record.variable)
            if reader.node.op == "ReadVariableOp"
            and not reader.node.name.startswith(f"{record.variable}/")
            and not [text for text in reader.node.input if text.startswith("^")]
            and not definition.is_read(reader.node.name)
        ]
        made = definition.order[record.mask] < definition.order[own] < definition.order[product]
        if made and definition.nodes[own].op == "ReadVariableOp" and not self._ours.owns(own):
            # Made for the product alone. Without any other, readers inside loops and conds have their own.
            definition.removed.add(own)
            definition.instead[own] = record.variable
            return sorted(idle, key=definition.order.__getitem__) or [raw]
        return sorted({*idle, own}, key=definition.order.__getitem__) if ":" not in raw else [raw]

    def _is_inside(self, node: object) -> bool:
        """Tells whether a product lies in a loop or cond: there each read has its own."""
        sources = {self._definition.nodes[op_of(text)].op for text in node.input}  # type: ignore[attr-defined]
        return bool(sources & {"Enter", "Switch", "RefEnter", "RefSwitch", "StackPopV2"})

    def _product(self, product: OpName, reads: Sequence[str]) -> None:
        definition = self._definition
        readers = list(definition.data_readers(product))
        forward = {reader.node.name for reader in readers}
        for reader in readers:
            text = self._read_for(self._forward_of(reader.node.name, forward), reads)
            definition.move(reader, text)
            self._keep(op_of(text))
        definition.removed.add(product)
        definition.instead[product] = reads[0]

    def _keep(self, op: OpName) -> None:
        self._definition.removed.discard(op)
        if self._ours.owns(op):
            self.kept.add(op)

    def _forward_of(self, name: OpName, others: Set[OpName]) -> OpName:
        """Returns the op whose gradient an op belongs to; itself, where it is no gradient's."""
        found = name
        for match in _GRADIENT.finditer(name):
            head = name[: match.start()]
            while head and head not in others:
                head = head.partition("/")[2]
            if head and head != name:
                found = head
        return found

    def _read_for(self, reader: OpName, reads: Sequence[str]) -> str:
        """Returns the read of a reader: the one named after it, or else the latest before it."""
        if len(reads) == 1:
            return reads[0]
        named = [read for read in reads if read.startswith(f"{reader}/")]
        before = [read for read in reads if self._definition.order[read] < self._definition.order[reader]]
        return (named or before or list(reads))[-1]

    def _copies(self) -> None:
        """Copies of readers, which had the raw weight for a regularizer's sake: now they equal what they copy."""
        definition = self._definition
        for name in list(definition.nodes):
            original = self._original_of(name)
            if original is not None:
                for reader in tuple(definition.readers(name)):
                    text = reader.node.input[reader.index]
                    definition.move(reader, text.replace(name, original, 1))
                definition.removed.add(name)
                definition.instead[name] = original

    def _original_of(self, name: OpName) -> Optional[OpName]:
        nodes = self._definition.nodes
        original = name[: -len("/raw")] if name.endswith("/raw") else ""
        if original not in nodes or self._definition.order[name] < self._first:
            return None
        twin, node = nodes[name], nodes[original]
        is_same = (twin.op, list(twin.input)) == (node.op, list(node.input))
        return original if is_same and attrs_without_shapes(twin) == attrs_without_shapes(node) else None


def orphaned(definition: Definition, names: Sequence[OpName]) -> Tuple[OpName, ...]:
    """Returns those of some ops that were read, and by nothing that stays."""
    return tuple(name for name in names if not definition.is_read(name))


__all__ = ["Bypass", "Reader", "orphaned"]
