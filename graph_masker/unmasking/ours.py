"""What of a masked graph is pruning's: variables, the name scopes that only they have, and all that reads them."""

import re
from typing import Any, Dict, FrozenSet, Iterator, Set

from graph_masker.accumulators import COUNTERS, accumulators_of
from graph_masker.errors import SourceError
from graph_masker.plan import LAST_UPDATE_STEP
from graph_masker.sites.effects import ignores_value, is_write
from graph_masker.steps import OWN_STEP
from graph_masker.unmasking.definition import Definition, OpName, data_inputs, op_of
from graph_masker.view import PLAIN_READS, GraphView, MaskRecord

# contrib's Pruning opens its scope more than once.
_UPDATES = re.compile(r"model_pruning(_\d+)?$")
# Ops that take any number of inputs, of which each stands for itself.
SLOTTED = frozenset({"SaveV2", "Save", "SaveSlices", "Pack", "MergeSummary"})
_CHECKS = frozenset({"IsVariableInitialized", "VarIsInitializedOp"})


class Ours:
    """Names of what pruning added.

    Attributes:
        products: what masks multiply, by the name of the product.
        state: variables.
        masks: the masks among them.
    """

    def __init__(self, products: Dict[OpName, MaskRecord], state: FrozenSet[OpName]) -> None:
        self.products = products
        self.state = state
        self.masks = frozenset(record.mask for record in products.values())
        # By scope: ops share them.
        self._owned: Dict[str, bool] = {"": False}

    def owns(self, name: OpName) -> bool:
        """Tells whether a name lies in a scope that only pruning has."""
        found = self._owned.get(name)
        if found is None:
            found = name in self.state or name in self.products or _UPDATES.match(name) is not None
            found = self._owned[name] = found or self.owns(name.rpartition("/")[0])
        return found


def prefixes(name: OpName) -> Iterator[str]:
    """Yields a name and the scopes that it lies in, the outermost first."""
    position = name.find("/")
    while position >= 0:
        yield name[:position]
        position = name.find("/", position + 1)
    yield name


def find_ours(view: GraphView) -> Ours:
    """Finds pruning's variables and products in a graph that its collections tell of."""
    records = dict(view.masks)
    found: Set[OpName] = {LAST_UPDATE_STEP, *COUNTERS, OWN_STEP}
    for record in records.values():
        found |= {record.mask, record.threshold, *accumulators_of(record.mask)}
    return Ours(records, frozenset(name for name in found if name in view.nodes and view.is_variable(name)))


def _is_entry(definition: Definition, name: OpName, listing: Any, state: FrozenSet[OpName]) -> bool:
    """Tells whether what an op lists may be left out of it: any tensor of a saver, but of a stack only checks."""
    return listing.op != "Pack" or _is_check(definition, name, state)


def _is_check(definition: Definition, name: OpName, state: FrozenSet[OpName]) -> bool:
    """Tells whether an op says that one of some variables is initialized, or several, copies of a mirrored one."""
    node = definition.nodes[name]
    if node.op == "LogicalAnd":
        return all(_is_check(definition, op_of(text), state) for text in data_inputs(node))
    return node.op in _CHECKS and op_of(node.input[0]) in state


def remove_ours(definition: Definition, ours: Ours, kept: Set[OpName], source: str) -> None:
    """Removes pruning's variables and everything that computes with them.

    Args:
        definition: a graph whose products and gradients are bypassed.
        ours: what pruning added.
        kept: what stays though it lies in pruning's scopes: reads that products made themselves.
        source: what the graph was read from, for messages.

    Raises:
        SourceError: an op of the model computes with a mask.
    """
    owned = {name for name in definition.nodes if name not in kept and ours.owns(name)}
    stack = [*ours.state, *(name for name in owned if name not in definition.removed)]
    definition.removed |= owned
    seen = set(stack)
    while stack:
        name = stack.pop()
        for reader in tuple(definition.data_readers(name)):
            node = reader.node
            if node.name in seen or (node.op in SLOTTED and _is_entry(definition, name, node, ours.state)):
                continue
            if is_write(node.op) and op_of(node.input[0]) not in definition.removed:
                raise SourceError(
                    f"{source}: '{node.name}' writes '{op_of(node.input[0])}' from pruning's variables, so that the "
                    "graph without them is not known; build it by the model's own code"
                )
            is_handed_on = node.op in PLAIN_READS or _is_check(definition, node.name, ours.state)
            if not (node.name in owned or is_handed_on or ignores_value(node.op)):
                raise SourceError(
                    f"{source}: {node.op} '{node.name}' computes with pruning's variables, so that the graph without "
                    "them is not known; build it by the model's own code"
                )
            seen.add(node.name)
            stack.append(node.name)
    definition.removed |= seen
