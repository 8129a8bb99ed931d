"""Makes the readers of masked weights and of masked gradients read what the original graph had them read."""

import re
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from graph_masker.errors import SourceError
from graph_masker.unmasking.definition import Definition, OpName, attrs_without_shapes, data_inputs, op_of
from graph_masker.unmasking.ours import Ours
from graph_masker.view import PLAIN_READS, VARIABLE_OPS

_GRADIENT = re.compile(r"_grad(_\d+)?/")


class _Reads(NamedTuple):
    """Reads of a raw weight that readers of a product may have read, in order of creation.

    Attributes:
        plain: those of a resource variable that see it at no particular moment.
        likely: those that now nothing reads, and the product's own.
    """

    plain: List[str]
    likely: List[str]


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
        # Sums that were masked, with the product whose gradient they are.
        self._sums: Dict[OpName, OpName] = {}

    def apply(self) -> None:
        """Bypasses gathers, gradients, products and copies, in this order.

        Raises:
            SourceError: what the original graph had cannot be told.
        """
        self._gathers()
        gradients = self._gradients()
        scoped = {name for _, names in gradients for name in names}
        scoped |= self._definition.removed
        for name in [name for name in self._definition.nodes if name not in scoped]:
            self._lone_gradient(name)
        for product, names in gradients:
            self._gradient(product, names)
        reads = {name: self._reads_of(name) for name in self._ours.products}
        added_once = {name for name, candidates in reads.items() if self._product(name, candidates)}
        for total, product in self._sums.items():
            if product in added_once:
                self._add_at_once(total)
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

    def _gradients(self) -> List[Tuple[OpName, List[OpName]]]:
        """Returns the ops of each gradient of a product: those of the name scope that autodiff gave them."""
        found: Dict[str, Tuple[OpName, List[OpName]]] = {}
        for name in self._definition.nodes:
            for match in _GRADIENT.finditer(name):
                head = name[: match.start()]
                while head and head not in self._ours.products:
                    head = head.partition("/")[2]
                if head:
                    found.setdefault(name[: match.end()], (head, []))[1].append(name)
                    break
        return list(found.values())

    def _gradient(self, product: OpName, names: List[OpName]) -> None:
        definition, inside = self._definition, set(names)
        for name in names:
            outside = [reader for reader in definition.data_readers(name) if reader.node.name not in inside]
            if outside:
                definition.instead[name] = self._unmasked(name, inside)
            elif definition.nodes[name].op == "Mul":
                # Others may be colocated with it.
                definition.instead[name] = next(self._terms(name, inside))
            for reader in outside:
                definition.move(reader, definition.instead[name])
                if definition.nodes[op_of(definition.instead[name])].op == "AddN":
                    self._sums[op_of(definition.instead[name])] = product
        definition.removed |= inside

    def _unmasked(self, name: OpName, inside: Set[OpName]) -> str:
        """Returns the tensor that a result within a gradient scope would be without the mask."""
        terms = list(self._terms(name, inside))
        if len(terms) == 1:
            return terms[0]
        held = sorted(map(self._held, terms))
        for node in self._definition.nodes.values():
            if node.op == "AddN" and node.name not in inside and sorted(map(self._held, data_inputs(node))) == held:
                return str(node.name)
        raise SourceError(
            f"{self._source}: '{name}' adds up parts of a gradient that the original graph added up otherwise; build "
            "that graph by the model's own code"
        )

    def _held(self, text: str) -> str:
        """Returns the tensor whose value a tensor holds."""
        node = self._definition.nodes[op_of(text)]
        return self._held(node.input[0]) if node.op == "Identity" else text

    def _terms(self, name: OpName, inside: Set[OpName]) -> Iterator[str]:
        node = self._definition.nodes[name]
        if node.op == "Mul":
            texts = [text for text in data_inputs(node) if not self._is_factor(text)]
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

    def _reads_of(self, product: OpName) -> _Reads:
        definition, record = self._definition, self._ours.products[product]
        node = definition.nodes[product]
        raw = next((text for text in node.input if self._behind(op_of(text)) == record.variable), None)
        if raw is None:
            raise SourceError(f"{self._source}: expected '{product}' to multiply '{record.variable}', found other ops")
        own = op_of(raw)
        if own == record.variable or self._is_inside(node) or ":" in raw:
            return _Reads([raw], [raw])
        plain = [
            reader.node.name
            for reader in definition.data_readers(record.variable)
            if reader.node.op == "ReadVariableOp"
            and not reader.node.name.startswith(f"{record.variable}/")
            and not [text for text in reader.node.input if text.startswith("^")]
        ]
        likely = {name for name in plain if not definition.is_read(name)}
        is_added = definition.order[record.mask] < definition.order[own] < definition.order[product]
        if is_added and definition.nodes[own].op == "ReadVariableOp" and not self._ours.owns(own):
            # Made for the product alone. Where there is no other, all readers are inside loops and conds.
            definition.removed.add(own)
            definition.instead[own] = record.variable
            plain.remove(own)
        else:
            likely.add(own)
        return _Reads(plain, sorted(likely or {own}, key=definition.order.__getitem__))

    def _is_inside(self, node: object) -> bool:
        """Tells whether a product lies in a loop or cond: there each read has its own."""
        sources = {self._definition.nodes[op_of(text)].op for text in node.input}  # type: ignore[attr-defined]
        return bool(sources & {"Enter", "Switch", "RefEnter", "RefSwitch", "StackPopV2"})

    def _product(self, product: OpName, reads: _Reads) -> bool:
        """Bypasses a product; returns whether the original graph adds up all parts of the weight's gradient at once.

        It does, unless there are several reads of which one has several readers: those come first.
        """
        definition, counts = self._definition, dict.fromkeys([*reads.plain, *reads.likely], 0)
        readers = list(definition.data_readers(product))
        forward = {reader.node.name for reader in readers}
        for reader in readers:
            origin = self._forward_of(reader.node.name, forward)
            text = self._read_for(origin, reads)
            counts[text] += origin == reader.node.name
            definition.move(reader, text)
            self._keep(op_of(text))
        definition.removed.add(product)
        definition.instead[product] = reads.likely[0]
        is_resource = definition.nodes[self._ours.products[product].variable].op == "VarHandleOp"
        return not is_resource or max(counts.values()) < 2

    def _add_at_once(self, total: OpName) -> None:
        """Adds the terms of a sum where the sum itself is added to something else."""
        definition = self._definition
        readers = list(definition.readers(total))
        if len(readers) != 1 or readers[0].node.op != "AddN":
            return
        outer = readers[0].node
        texts = [text for text in outer.input if op_of(text) != total] + list(definition.nodes[total].input)
        texts.sort(key=lambda text: definition.order[op_of(text)])
        del outer.input[:]
        outer.input.extend(texts)
        definition.note(outer)
        outer.attr["N"].i = len(texts)
        first = definition.nodes[op_of(texts[0])]
        groups = list(first.attr["_class"].list.s) if "_class" in first.attr else [f"loc:@{first.name}".encode()]
        if "_class" in outer.attr:
            outer.attr["_class"].list.s[:] = groups
        definition.removed.add(total)
        definition.instead[total] = outer.name

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

    def _read_for(self, reader: OpName, reads: _Reads) -> str:
        """Returns the read of a reader: the one named after it, or else the latest likely one before it."""
        named = [read for read in reads.plain if read.startswith(f"{reader}/")]
        if named or len(reads.likely) == 1:
            return (named or reads.likely)[-1]
        order = self._definition.order
        before = [read for read in reads.likely if order[read] < order[reader]]
        return (before or reads.likely)[-1]

    def _copies(self) -> None:
        """Copies of readers, which had the raw weight for a regularizer's sake: now they equal what they copy."""
        definition = self._definition
        for name in list(definition.nodes):
            original = self._original_of(name)
            if original is not None:
                for reader in tuple(definition.readers(name)):
                    text = reader.node.input[reader.port]
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
