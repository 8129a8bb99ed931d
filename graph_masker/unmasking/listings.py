"""Brings what a MetaGraph says of its graph up to date: collections, SaverDefs, signatures, list of op types."""

from collections import Counter
from typing import Any, Callable, List, Optional

from graph_masker import tf_compat
from graph_masker.state import MASKED_WEIGHTS, MASKS, THRESHOLDS, WEIGHTS
from graph_masker.unmasking.definition import op_of
from graph_masker.unmasking.ours import Ours

# Returns what a tensor or op is now called; of one that is gone, what takes its place, unless told otherwise, or None.
Current = Callable[..., Optional[str]]


def update_listings(meta_graph: Any, ours: Ours, current: Current) -> None:
    """Updates all but the graph of a MetaGraph, in place.

    Args:
        meta_graph: with the new graph.
        ours: what pruning had added.
        current: see `Current`.
    """
    _remove_own_entries(meta_graph, ours)
    for key in sorted(meta_graph.collection_def):
        collection = meta_graph.collection_def[key]
        kind = collection.WhichOneof("kind")
        if kind == "node_list":
            _set(collection.node_list.value, [current(name) for name in collection.node_list.value])
        elif kind == "bytes_list":
            _set(collection.bytes_list.value, [_updated(key, value, current) for value in collection.bytes_list.value])
        if kind is None or not getattr(collection, kind).value:
            del meta_graph.collection_def[key]
    if meta_graph.HasField("saver_def"):
        update_saver(meta_graph.saver_def, current)
    for signature in meta_graph.signature_def.values():
        for info in (*signature.inputs.values(), *signature.outputs.values()):
            if info.WhichOneof("encoding") == "name":
                info.name = current(info.name) or info.name
    _update_op_types(meta_graph)


def _set(values: Any, found: List[Any]) -> None:
    kept = [value for value in found if value is not None]
    if kept != list(values):
        del values[:]
        values.extend(kept)


def _remove_own_entries(meta_graph: Any, ours: Ours) -> None:
    """Takes away what pruning's collections hold of its own; of its list of weights, one entry for each of a mask.

    contrib's layers add one whenever they are used.
    """
    variables = {record.mask: record.variable for record in ours.products.values()}
    listed = [op_of(name) for name in tf_compat.names_in_collection(meta_graph, MASKS)]
    weights = Counter(variables[mask] for mask in listed if mask in variables)
    for key in (MASKS, THRESHOLDS, MASKED_WEIGHTS, WEIGHTS):
        if key not in meta_graph.collection_def:
            continue
        collection = meta_graph.collection_def[key]
        values = getattr(collection, collection.WhichOneof("kind") or "node_list").value
        kept = []
        for value, name in zip(values, tf_compat.names_in_collection(meta_graph, key)):
            op = op_of(name)
            if key == WEIGHTS and weights[op]:
                weights[op] -= 1
            elif op not in ours.state and op not in ours.products:
                kept.append(value)
        _set(values, kept)


def _updated(key: str, value: bytes, current: Current) -> Optional[bytes]:
    kind = tf_compat.kind_of_collection(key)
    if kind is tf_compat.VariableDef:
        return _updated_variable(value, current)
    if kind is tf_compat.SaverDef:
        saver = kind.FromString(value)
        update_saver(saver, current)
        return bytes(saver.SerializeToString(deterministic=True))
    if kind in (tf_compat.CondContextDef, tf_compat.WhileContextDef):
        context = kind.FromString(value)
        _update_context(context, current)
        return bytes(context.SerializeToString(deterministic=True))
    return value


def _updated_variable(value: bytes, current: Current) -> Optional[bytes]:
    definition = tf_compat.VariableDef.FromString(value)
    if current(definition.variable_name) is None:
        return None
    for field in ("variable_name", "initializer_name", "snapshot_name", "initial_value_name"):
        name = getattr(definition, field)
        if name:
            setattr(definition, field, current(name) or name)
    return bytes(definition.SerializeToString(deterministic=True))


def update_saver(saver: Any, current: Current) -> None:
    """Updates the names that a SaverDef holds, in place."""
    for field in ("filename_tensor_name", "save_tensor_name", "restore_op_name"):
        name = getattr(saver, field)
        setattr(saver, field, current(name) or name)


def _update_context(context: Any, current: Current) -> None:
    """Updates a loop's or cond's list of the tensors that belong to it, and those of what is nested in it."""
    values = context.values_def
    outer = set(values.external_values.values())
    _set(values.values, [current(name, name in outer) for name in values.values])
    external = {}
    for inside, outside in values.external_values.items():
        one, other = current(inside, inside in outer), current(outside)
        if one is not None and other is not None:
            external[one] = other
    values.external_values.clear()
    values.external_values.update(external)
    for field in ("loop_exit_names", "loop_enter_names"):
        if field in context.DESCRIPTOR.fields_by_name:
            names = getattr(context, field)
            _set(names, [current(name) for name in names])
    for nested in context.nested_contexts:
        kind = nested.WhichOneof("ctxt")
        if kind is not None:
            _update_context(getattr(nested, kind), current)


def _update_op_types(meta_graph: Any) -> None:
    library = meta_graph.graph_def.library.function
    used = {node.op for node in meta_graph.graph_def.node}
    used |= {node.op for function in library for node in function.node_def}
    operations = meta_graph.meta_info_def.stripped_op_list.op
    kept = [operation for operation in operations if operation.name in used]
    if len(kept) < len(operations):
        del operations[:]
        operations.extend(kept)
