"""Names: closes the gaps that removed ops leave among those that TensorFlow numbers."""

import itertools
import re
from typing import Any, Callable, Dict, Iterable, List, Set, Tuple

from graph_masker.unmasking.definition import OpName
from graph_masker.unmasking.ours import Ours, prefixes

_NUMBERED = re.compile(r"(.*?)(?:_([1-9]\d*))?$", re.DOTALL)


def closed_gaps(kept: Iterable[OpName], removed: Iterable[OpName]) -> Dict[str, str]:
    """Returns new names, of ops and of name scopes, such as TensorFlow gives where the removed ops never were.

    It names ops of one kind in a scope ``Assign``, ``Assign_1``, ``Assign_2`` in the order in which they are made.

    Args:
        kept: names of the ops that stay.
        removed: names of those that go, and that TensorFlow numbered.
    """
    living: Set[str] = {prefix for name in kept for prefix in prefixes(name)}
    gaps: Dict[Tuple[str, str], Set[int]] = {}
    for name in removed:
        for prefix in prefixes(name):
            if prefix not in living:
                scope, base, number = _parts(prefix)
                gaps.setdefault((scope, base), set()).add(number)
                break
    renamed: Dict[str, str] = {}
    for name in living:
        scope, base, number = _parts(name)
        before = sum(gap < number for gap in gaps.get((scope, base), ()))
        if before:
            found = f"{base}_{number - before}" if number > before else base
            renamed[name] = f"{scope}/{found}" if scope else found
    return renamed


def names_outside(kept: Iterable[OpName], ours: Ours, taken: Iterable[OpName]) -> Dict[str, str]:
    """Returns new names, beside the weights, of ops that stay though they lie in products' scopes.

    Args:
        kept: such ops.
        ours: what pruning added.
        taken: names of all ops; no new one is among them.
    """
    renamed: Dict[str, str] = {}
    used = set(taken)
    for name in kept:
        product = next(prefix for prefix in prefixes(name) if prefix in ours.products)
        base = free = (product.rpartition("/")[0] + name[len(product) :]).lstrip("/")
        for number in itertools.count(1):
            if free not in used:
                break
            free = f"{base}_{number}"
        used.add(free)
        renamed[name] = free
    return renamed


def _parts(name: str) -> Tuple[str, str, int]:
    scope, _, leaf = name.rpartition("/")
    match = _NUMBERED.match(leaf)
    assert match is not None, "matches anything"
    return scope, match.group(1), int(match.group(2) or 0)


class Names:
    """Renames ops, and whatever lies in renamed name scopes."""

    def __init__(self, renamed: Dict[str, str]) -> None:
        self._renamed = renamed
        self._known: Dict[str, str] = {}

    def of(self, name: OpName) -> OpName:
        """Returns the new name of an op or scope."""
        if name not in self._known:
            self._known[name] = self._find(name)
        return self._known[name]

    def _find(self, name: str) -> str:
        for prefix in reversed(list(prefixes(name))):
            if prefix in self._renamed:
                scope, _, leaf = self._renamed[prefix].rpartition("/")
                # The scope that it lies in may have another name, too.
                return (f"{self.of(scope)}/{leaf}" if scope else leaf) + name[len(prefix) :]
        return name

    def of_input(self, text: str) -> str:
        """Returns the new name of a tensor, a control input or an op."""
        sign, name = ("^", text[1:]) if text.startswith("^") else ("", text)
        name, colon, output = name.partition(":")
        return f"{sign}{self.of(name)}{colon}{output}"

    def apply(self, graph_def: Any) -> None:
        """Renames the nodes of a graph, in place."""
        if not self._renamed:
            return
        for node in graph_def.node:
            node.name = self.of(node.name)
            _map(node.input, self.of_input)
            if "_class" in node.attr:
                _map(node.attr["_class"].list.s, lambda group: b"loc:@" + self.of(group[5:].decode()).encode())


def _map(values: Any, change: Callable[[Any], Any]) -> None:
    found: List[Any] = [change(value) for value in values]
    if found != list(values):
        del values[:]
        values.extend(found)
