"""Takes pruning's variables out of what lists many: savers, checks of what is initialized, merged summaries."""

from typing import AbstractSet, Any, Dict, FrozenSet, Iterable, List, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker.unmasking.definition import Definition, data_inputs, op_of, output_of

# By op type: the inputs that name what is saved or restored, and the first that is saved.
_SAVES = {"SaveV2": ((1, 2), 3), "Save": ((1,), 2), "SaveSlices": ((1, 2), 3)}
_TYPES = {"SaveV2": "dtypes", "Save": "T", "SaveSlices": "T", "RestoreV2": "dtypes"}
# What only hands on what is restored.
_HANDS_ON = frozenset({"Identity", "Reshape"})
_RESTORES = frozenset({"RestoreV2", "Restore", "RestoreSlice"})


def remove_entries(definition: Definition, names: Iterable[str]) -> None:
    """Removes what savers and the like hold of removed ops.

    Args:
        definition: a graph in which what saves, restores and checks pruning's variables is removed, but for the ops
            that list many.
        names: of pruning's variables, as lists of names hold them.
    """
    removed_names = frozenset(names)
    for node in list(definition.nodes.values()):
        if node.name in definition.removed:
            continue
        if node.op in _SAVES:
            _shorten_save(definition, node, _gone(definition, node, _SAVES[node.op][1]))
        elif node.op == "Pack":
            _shorten_pack(definition, node, removed_names)
        elif node.op == "MergeSummary":
            _shorten_inputs(definition, node, 0, _gone(definition, node, 0))
    for node in list(definition.nodes.values()):
        if node.op in _RESTORES and node.name not in definition.removed:
            _shorten_restore(definition, node)


def remove_saved(definition: Definition, keys: AbstractSet[str]) -> None:
    """Removes from savers what checkpoints hold under some keys, and the ops that restore it."""
    for node in list(definition.nodes.values()):
        if node.op == "SaveV2":
            names = _names_in(definition, node)
            _shorten_save(definition, node, [number for number, name in enumerate(names) if name in keys])
        elif node.op == "RestoreV2":
            names = _names_in(definition, node)
            for reader in tuple(definition.data_readers(node.name)):
                if names[output_of(reader.node.input[reader.port])] in keys:
                    _remove_writers(definition, reader.node)
            _shorten_restore(definition, node)


def _names_in(definition: Definition, node: Any) -> List[str]:
    constant = definition.nodes[op_of(node.input[1])]
    return [name.decode() for name in tf.make_ndarray(constant.attr["value"].tensor).tolist()]


def _remove_writers(definition: Definition, node: Any) -> None:
    """Removes an op that gets a restored value, and those that it hands it on to."""
    for reader in tuple(definition.data_readers(node.name)) if node.op in _HANDS_ON else ():
        _remove_writers(definition, reader.node)
    definition.removed.add(node.name)


def _gone(definition: Definition, node: Any, first: int) -> List[int]:
    """Returns which of a node's data inputs, counted from `first`, come from removed ops."""
    return [
        number
        for number, text in enumerate(data_inputs(node)[first:])
        if op_of(text) in definition.removed and op_of(definition.in_place_of(text)) in definition.removed
    ]


def _shorten_inputs(definition: Definition, node: Any, first: int, gone: Sequence[int]) -> None:
    """Takes inputs away, counted from `first`. With none left, the node goes."""
    if not gone:
        return
    for number in reversed(gone):
        del node.input[first + number]
    left = len(data_inputs(node)) - first
    if not left:
        definition.removed.add(node.name)
    if "N" in node.attr:
        node.attr["N"].i = left


def _shorten_save(definition: Definition, node: Any, gone: Sequence[int]) -> None:
    lists, first = _SAVES[node.op]
    _shorten_inputs(definition, node, first, gone)
    if gone:
        _shorten_lists(definition, node, [definition.nodes[op_of(node.input[index])] for index in lists], gone)


def _shorten_lists(definition: Definition, node: Any, constants: Sequence[Any], gone: Sequence[int]) -> None:
    for constant in constants:
        _shorten_constant(constant, gone)
    types = node.attr[_TYPES[node.op]].list.type
    for number in reversed(gone):
        del types[number]


def _shorten_constant(constant: Any, gone: Sequence[int]) -> None:
    values = np.delete(tf.make_ndarray(constant.attr["value"].tensor), list(gone))
    dtype = tf.as_dtype(constant.attr["dtype"].type)
    constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values, dtype, [len(values)]))
    if "_output_shapes" in constant.attr:
        constant.attr["_output_shapes"].list.shape[0].dim[0].size = len(values)


def _shorten_restore(definition: Definition, node: Any) -> None:
    """Takes away the outputs of a restore that only removed ops read."""
    read: Dict[int, List[Any]] = {}
    for reader in definition.data_readers(node.name):
        read.setdefault(output_of(reader.node.input[reader.port]), []).append(reader)
    for output, readers in tuple(read.items()):
        idle = [reader.node for reader in readers if _is_idle(definition, reader.node)]
        definition.removed.update(item.name for item in idle)
        read[output] = [reader for reader in readers if reader.node not in idle]
    names = [definition.nodes[op_of(text)] for text in data_inputs(node)[1:]]
    count = len(node.attr["dtypes"].list.type) if node.op == "RestoreV2" else 1
    gone = [output for output in range(count) if not read.get(output)]
    if not gone:
        return
    if len(gone) == count:
        definition.removed.update([node.name, *(name.name for name in names)])
        return
    _shorten_lists(definition, node, names, gone)
    if "_output_shapes" in node.attr:
        for output in reversed(gone):
            del node.attr["_output_shapes"].list.shape[output]
    for output, readers in read.items():
        place = output - sum(number < output for number in gone)
        for reader in readers:
            definition.move(reader, f"{node.name}:{place}" if place else node.name)


def _is_idle(definition: Definition, node: Any) -> bool:
    """Tells whether an op hands a restored value to removed ops only."""
    return node.op in _HANDS_ON and all(_is_idle(definition, r.node) for r in definition.data_readers(node.name))


def _shorten_pack(definition: Definition, node: Any, names: FrozenSet[str]) -> None:
    """A check of what is initialized packs one flag per variable, and has a constant with the variables' names."""
    count = node.attr["N"].i
    gone = _gone(definition, node, 0)
    _shorten_inputs(definition, node, 0, gone)
    if not gone:
        return
    scope = node.name.rpartition("/")[0] + "/"
    beside = [other for name, other in definition.nodes.items() if name.startswith(scope)]
    for other in beside:
        if other.op == "Const":
            _shorten_beside(other, count, gone, names)
        for shape in other.attr["_output_shapes"].list.shape if "_output_shapes" in other.attr else ():
            if len(shape.dim) == 1 and shape.dim[0].size == count:
                shape.dim[0].size = count - len(gone)


def _shorten_beside(constant: Any, count: int, gone: Sequence[int], names: FrozenSet[str]) -> None:
    tensor = constant.attr["value"].tensor
    if len(tensor.tensor_shape.dim) != 1:
        return
    if tensor.dtype == tf.string.as_datatype_enum and tensor.tensor_shape.dim[0].size == count:
        values = [value.decode() for value in tf.make_ndarray(tensor).tolist()]
        if all(values[number] in names for number in gone):
            _shorten_constant(constant, gone)
    elif tensor.dtype == tf.int32.as_datatype_enum and tf.make_ndarray(tensor).tolist() == [count]:
        values = np.array([count - len(gone)], np.int32)
        tensor.CopyFrom(tf.make_tensor_proto(values))
