"""What a graph holds, as plain data that can be compared."""

from typing import Any, Dict, Tuple

Snapshot = Dict[str, Tuple[str, Tuple[str, ...], Tuple[str, ...]]]


def snapshot(graph: Any) -> Snapshot:
    """Returns type, data inputs and control inputs of every op."""
    return {
        op.name: (op.type, tuple(t.name for t in op.inputs), tuple(c.name for c in op.control_inputs))
        for op in graph.get_operations()
    }


def collection_names(graph: Any) -> Dict[str, Tuple[str, ...]]:
    """Returns the names held by every collection."""
    keys = graph.get_all_collection_keys()
    return {key: tuple(str(getattr(item, "name", item)) for item in graph.get_collection(key)) for key in keys}
