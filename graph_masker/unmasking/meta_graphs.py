"""Turns the MetaGraph of a masked model into that of the original one."""

from typing import AbstractSet, Any, List, Optional

from google.protobuf.message import DecodeError

from graph_masker import tf_compat
from graph_masker.errors import SourceError
from graph_masker.naming import whole_name
from graph_masker.unmasking.bodies import unmask_bodies
from graph_masker.unmasking.bypass import Bypass
from graph_masker.unmasking.definition import Definition, op_of
from graph_masker.unmasking.libraries import drop_functions
from graph_masker.unmasking.listings import update_listings
from graph_masker.unmasking.naming import Names, closed_gaps, names_outside
from graph_masker.unmasking.ours import Ours, find_ours, remove_ours
from graph_masker.unmasking.savers import original_savers
from graph_masker.unmasking.slots import remove_entries, remove_saved


def unmask_meta_graph(meta_graph: Any, source: str = "the graph") -> Any:
    """Returns the MetaGraph of the original model.

    Consumers read the raw weights again, gradients are no longer masked, and masks, thresholds, their update, and what
    initializes, saves and restores them are gone. Ops have the names that the original model's code gives them.

    Args:
        meta_graph: a MetaGraphDef, ours or contrib's; it stays as it is.
        source: what it was read from, for messages.

    Raises:
        SourceError: nothing in it is masked, or what the original graph had cannot be told.
    """
    found = type(meta_graph)()
    found.CopyFrom(meta_graph)
    try:
        _unmask(found, source)
    except DecodeError as error:
        raise SourceError(f"{source}: expected a MetaGraph, found a damaged collection; write it anew") from error
    return found


def _unmask(found: Any, source: str) -> None:
    ours = find_ours(tf_compat.view_of_meta_graph(found))
    if not ours.products:
        raise SourceError(f"{source}: expected a masked graph, found no masked weight in it; nothing to take out")
    definition = Definition(found.graph_def)
    _bypass_inits(definition, ours)
    unmask_bodies(definition, ours, source)
    bypass = Bypass(definition, ours, source)
    bypass.apply()
    remove_ours(definition, ours, bypass.kept, source)
    original_savers(definition, found)
    remove_entries(definition, [*ours.state, *map(whole_name, ours.state)])
    _check(definition, source)
    drop_functions(definition)
    definition.finish()
    names = _names(definition, ours, bypass)
    names.apply(found.graph_def)

    def current(name: str, replaced: bool = True) -> Optional[str]:
        name = definition.in_place_of(name) if replaced else name
        return None if op_of(name) in definition.removed else names.of_input(name)

    update_listings(found, ours, current)


def without_saved(meta_graph: Any, keys: AbstractSet[str]) -> Any:
    """Returns a MetaGraph whose savers neither save nor restore what checkpoints hold under some keys."""
    found = type(meta_graph)()
    found.CopyFrom(meta_graph)
    if keys:
        definition = Definition(found.graph_def)
        remove_saved(definition, keys)
        definition.finish()
        # Nothing but ops of savers has other names, and only SaverDefs tell of these.
        Names(closed_gaps(definition.nodes, definition.removed)).apply(found.graph_def)
    return found


def _bypass_inits(definition: Definition, ours: Ours) -> None:
    """An init op that was completed with the masks' initializers waits for the original one."""
    for node in definition.nodes.values():
        if node.op != "NoOp" or not ours.owns(node.name):
            continue
        waits, seen = [text[1:] for text in node.input], {node.name}
        outside: List[str] = []
        while waits:
            name = waits.pop()
            if name in seen:
                continue
            seen.add(name)
            if ours.owns(name):
                waits.extend(text[1:] for text in definition.nodes[name].input if text.startswith("^"))
            else:
                outside.append(name)
        if len(outside) == 1 and node.name.rpartition("/")[2].startswith("init"):
            definition.instead[node.name] = outside[0]


def _check(definition: Definition, source: str) -> None:
    for node in definition.nodes.values():
        if node.name not in definition.removed:
            for text in node.input:
                if not text.startswith("^") and op_of(text) in definition.removed:
                    raise SourceError(
                        f"{source}: '{node.name}' computes with '{op_of(text)}', which pruning added, so that the "
                        "graph without it is not known; build it by the model's own code"
                    )


def _names(definition: Definition, ours: Ours, bypass: Bypass) -> Names:
    numbered = [name for name in definition.removed if not ours.owns(name)]
    renamed = closed_gaps(definition.nodes, numbered)
    renamed.update(names_outside(bypass.kept, ours, definition.nodes))
    return Names(renamed)
