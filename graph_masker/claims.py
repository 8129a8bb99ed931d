"""What this process knows of graphs: which ones somebody masks, and which update of masks each has."""

import weakref
from typing import Any, FrozenSet, NamedTuple

from graph_masker.spec import PruningSpec

# Graphs that somebody masks: whoever follows all graphs leaves them alone.
_CLAIMED: "weakref.WeakSet[Any]" = weakref.WeakSet()


class Update(NamedTuple):
    """What an update does; a graph needs no second one that is equal.

    Attributes:
        spec: its schedule and all else.
        weights: names of those that it updates.
        step: what counts its steps: how, and the name of the variable.
        after: names of the ops that it waits for.
    """

    spec: PruningSpec
    weights: FrozenSet[str]
    step: str
    after: FrozenSet[str]


# The last update that this process has added to a graph, and its op.
_UPDATES: "weakref.WeakKeyDictionary[Any, Any]" = weakref.WeakKeyDictionary()


def claim(graph: Any) -> None:
    """Marks a graph as one that somebody masks."""
    _CLAIMED.add(graph)


def is_claimed(graph: Any) -> bool:
    """Tells whether a graph has been given to `claim`."""
    return graph in _CLAIMED


def note_update(graph: Any, update: Update, op: Any) -> None:
    """Takes note of the op that does an update."""
    _UPDATES[graph] = (update, weakref.ref(op))


def known_update(graph: Any, update: Update) -> Any:
    """Returns the op of an equal update that the graph has; None where it has none."""
    known, op = _UPDATES.get(graph, (None, None))
    return op() if op is not None and known == update else None
