"""Compares MetaGraphs node by node. Sums of gradients are matched by what they add up, not by their numbers."""

import re
from typing import Any, Dict, List

from graph_masker import tf_compat
from graph_masker.unmasking.naming import Names

# Sharded savers name temporary files at random.
_TEMPORARY = re.compile(rb"_temp_[0-9a-f]{32}")
_SUM = re.compile(r"(^|.*/)AddN(_\d+)?$")


def differences(found: Any, expected: Any) -> List[str]:
    """Returns one line for each thing that differs between two MetaGraphDefs.

    TensorFlow numbers the sums that a gradient call makes in the order in which it comes by them; a graph that had
    masks comes by them in another. A sum is taken for that which adds up the same tensors in the same order.
    """
    copy = type(found)()
    copy.CopyFrom(found)
    names = Names(_matching_sums(copy.graph_def, expected.graph_def))
    names.apply(copy.graph_def)
    lines = graph_differences(copy.graph_def, expected.graph_def)
    for key in sorted(set(copy.collection_def) | set(expected.collection_def)):
        one, other = _collection(copy, key, names), _collection(expected, key, Names({}))
        if one != other:
            lines.append(f"collection {key}: {str(one)[:300]} against {str(other)[:300]}")
    for field in ("saver_def", "signature_def", "asset_file_def"):
        if str(getattr(copy, field)) != str(getattr(expected, field)):
            lines.append(f"{field}: {getattr(copy, field)} against {getattr(expected, field)}")
    kinds = [{op.name for op in item.meta_info_def.stripped_op_list.op} for item in (copy, expected)]
    if kinds[0] != kinds[1]:
        lines.append(f"op types: {kinds[0] ^ kinds[1]}")
    return lines


def graph_differences(found: Any, expected: Any) -> List[str]:
    """Returns one line for each thing that differs between two GraphDefs; names of functions count, bodies do not."""
    lines = []
    ours, theirs = ({node.name: node for node in graph_def.node} for graph_def in (found, expected))
    lines.extend(
        f"{name}: only found, {ours[name].op} of {list(ours[name].input)[:4]}" for name in set(ours) - set(theirs)
    )
    lines.extend(
        f"{name}: missing, {theirs[name].op} of {list(theirs[name].input)[:4]}" for name in set(theirs) - set(ours)
    )
    for name in sorted(set(ours) & set(theirs)):
        one, other = _plain(ours[name]), _plain(theirs[name])
        lines.extend(
            f"{name}: {key} {one.get(key)!r} against {other.get(key)!r}"[:400]
            for key in sorted(set(one) | set(other))
            if one.get(key) != other.get(key)
        )
    functions = [{function.signature.name for function in item.library.function} for item in (found, expected)]
    if functions[0] != functions[1]:
        lines.append(f"functions: {functions[0] ^ functions[1]}")
    if str(found.versions) != str(expected.versions):
        lines.append(f"versions: {found.versions} against {expected.versions}")
    return lines


def _plain(node: Any) -> Dict[str, Any]:
    serialized = {key: value.SerializeToString(deterministic=True) for key, value in node.attr.items()}
    values = {f"attribute {key}": _TEMPORARY.sub(b"_temp", value) for key, value in serialized.items()}
    inputs = [text for text in node.input if not text.startswith("^")]
    controls = {text for text in node.input if text.startswith("^")}
    return {**values, "op": node.op, "device": node.device, "inputs": inputs, "control inputs": controls}


def _matching_sums(found: Any, expected: Any) -> Dict[str, str]:
    sums = [[node for node in item.node if node.op == "AddN" and _SUM.match(node.name)] for item in (found, expected)]
    by_inputs = {tuple(node.input): node.name for node in sums[1]}
    names: Dict[str, str] = {}
    matched = True
    while matched:
        matched = False
        renaming = Names(names)
        for node in sums[0]:
            inputs = tuple(renaming.of_input(text) for text in node.input)
            if node.name not in names and inputs in by_inputs:
                names[node.name] = by_inputs.pop(inputs)
                matched = True
                break
    return {name: other for name, other in names.items() if name != other}


def _collection(meta_graph: Any, key: str, names: Names) -> Any:
    if key not in meta_graph.collection_def:
        return None
    collection = meta_graph.collection_def[key]
    if collection.WhichOneof("kind") == "node_list":
        return [names.of_input(name) for name in collection.node_list.value]
    kind = tf_compat.kind_of_collection(key)
    if kind is None:
        return collection
    return [_context(kind.FromString(value), names) for value in collection.bytes_list.value]


def _context(definition: Any, names: Names) -> Any:
    """Returns a loop's or cond's definition with its values in no order; any other as it is."""
    if not isinstance(definition, (tf_compat.CondContextDef, tf_compat.WhileContextDef)):
        return definition
    values = definition.values_def
    inside = {names.of_input(name) for name in values.values}
    external = {names.of_input(name): names.of_input(other) for name, other in values.external_values.items()}
    nested = [_context(getattr(item, item.WhichOneof("ctxt")), names) for item in definition.nested_contexts]
    definition.ClearField("values_def")
    definition.ClearField("nested_contexts")
    return definition, inside, external, nested
