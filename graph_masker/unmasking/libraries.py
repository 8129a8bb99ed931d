"""Function libraries: what only pruning's ops called goes with them."""

from typing import Any, Dict, Iterable, Set

from graph_masker.unmasking.definition import Definition

# What TensorFlow asks of readers of a graph, once it has functions.
_WITH_FUNCTIONS = 12


def drop_functions(definition: Definition) -> None:
    """Removes the functions that removed ops called, and nothing that stays calls."""
    library = definition.graph_def.library
    by_name = {function.signature.name: function for function in library.function}
    gone = _called((node for name, node in definition.nodes.items() if name in definition.removed), by_name)
    kept = _called((node for name, node in definition.nodes.items() if name not in definition.removed), by_name)
    left = [function for function in library.function if function.signature.name not in gone - kept]
    if len(left) < len(library.function):
        copy = type(library)(gradient=library.gradient)
        copy.function.extend(left)
        library.CopyFrom(copy)
        if not left and definition.graph_def.versions.min_consumer == _WITH_FUNCTIONS:
            definition.graph_def.versions.ClearField("min_consumer")


def _called(nodes: Iterable[Any], library: Dict[str, Any]) -> Set[str]:
    """Returns the functions that nodes call, and those that these call."""
    found: Set[str] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        names = {node.op, *(value.func.name for value in node.attr.values() if value.HasField("func"))}
        names.update(func.name for value in node.attr.values() for func in value.list.func)
        for name in (names & set(library)) - found if library else ():
            found.add(name)
            stack.extend(library[name].node_def)
    return found
