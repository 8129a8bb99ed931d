"""The ops by which savers save and restore: those of a graph that was built before, whoever holds its savers.

weight, other -> SaveV2 ..> control_dependency          what a saver runs to save
Const -> RestoreV2 -> Assign(weight) ..> restore_all    and to restore
"""

from typing import Any, Collection, Dict, FrozenSet, List, NamedTuple, Sequence, Set

import tensorflow.compat.v1 as tf
from tensorflow.core.framework import attr_value_pb2
from tensorflow.python.framework import tensor_util

from graph_masker.tf_compat.restoring import ops_run_by


class SaveOp(NamedTuple):
    """An op of a graph by which a saver saves.

    Attributes:
        op: itself.
        variables: names of the variables behind what it saves, in order, or of other ops.
        sources: all ops that make the name of its file.
    """

    op: Any
    variables: List[str]
    sources: Set[Any]


# The attribute that holds the types of what is saved, in this format of checkpoints and in the first one.
SAVED_TYPES = {"SaveV2": "dtypes", "SaveSlices": "T"}
# The first of their inputs that is a tensor to save: file name, keys and parts come before.
FIRST_SAVED = 3
# What stands between a variable and what is saved or restored.
_PASSES = ("Identity", "ReadVariableOp", "Reshape")


def save_ops(graph: Any) -> List[SaveOp]:
    """Returns the ops of a graph by which savers save; not those that nothing waits for, which no saver runs."""
    found = [op for op in graph.get_operations() if op.type in SAVED_TYPES and op._control_outputs]
    return [
        SaveOp(op, [_source(tensor).op.name for tensor in op.inputs[FIRST_SAVED:]], _made_by(op.inputs[0].op))
        for op in found
    ]


def _source(tensor: Any) -> Any:
    """Returns what a tensor is read or restored from."""
    while tensor.op.type in _PASSES:
        tensor = tensor.op.inputs[0]
    return tensor


def _made_by(op: Any) -> Set[Any]:
    waiting, found = [op], set()
    while waiting:
        op = waiting.pop()
        if op not in found:
            found.add(op)
            waiting.extend(tensor.op for tensor in op.inputs)
    return found


def replace_save(save: SaveOp, names: Sequence[str], parts: Sequence[str], tensors: Sequence[Any]) -> bool:
    """Makes what waits for an op that saves wait for one in its place, which saves more.

    An op cannot be given more inputs than it has. The first one stays, and nothing runs it.

    Args:
        save: the op.
        names: keys of what to save besides.
        parts: of the keys' tensors, as savers write them.
        tensors: values.

    Returns:
        whether it was done: not where the op gets its keys from anything else than a constant.
    """
    op, graph = save.op, save.op.graph
    texts = [tensor_util.constant_value(op.inputs[number]) for number in (1, 2)]
    if any(text is None for text in texts):
        return False
    with graph.as_default(), graph.control_dependencies(None), graph.name_scope(None), graph.device(op.device or None):
        strings = [
            tf.constant([*text.tolist(), *(item.encode() for item in more)], name=f"{op.name}/{name}")
            for text, more, name in zip(texts, (names, parts), ("tensor_names", "shape_and_slices"))
        ]
        inputs = [op.inputs[0], *strings, *op.inputs[FIRST_SAVED:], *tensors]
        types = attr_value_pb2.AttrValue()
        types.list.type.extend(tensor.dtype.base_dtype.as_datatype_enum for tensor in inputs[FIRST_SAVED:])
        with graph.control_dependencies(op.control_inputs):
            longer = graph.create_op(op.type, inputs, [], name=op.name, attrs={SAVED_TYPES[op.type]: types})
    for waiting in list(op._control_outputs):
        others = [longer if other is op else other for other in waiting.control_inputs]
        waiting._remove_all_control_inputs()
        waiting._add_control_inputs(others)
    return True


class RestoreOp(NamedTuple):
    """How a saver restores a variable.

    Attributes:
        filename: the tensor with the prefix of the checkpoint.
        device: where it is read.
        group: the op that waits for the variable to be set.
        variables: names of all variables that the group waits for.
    """

    filename: Any
    device: str
    group: Any
    variables: FrozenSet[str]


def restore_ops(variable: Any, sources: Set[Any]) -> List[RestoreOp]:
    """Returns how the saver whose files' names are made by some ops restores a variable."""
    found = []
    for op in variable.op.outputs[0].consumers():
        if op.type not in ("Assign", "AssignVariableOp"):
            continue
        restore = _source(op.inputs[1]).op
        if restore.type not in ("RestoreV2", "RestoreSlice") or restore.inputs[0].op not in sources:
            continue
        for group in op._control_outputs:
            if group.type == "NoOp":
                held = frozenset(other.inputs[0].op.name for other in group.control_inputs if other.inputs)
                found.append(RestoreOp(restore.inputs[0], restore.device, group, held))
    return found


def restore_with(restore: RestoreOp, names: Sequence[str], parts: Sequence[str], variables: Sequence[Any]) -> None:
    """Makes the op that waits until variables are restored wait until others are, too.

    Args:
        restore: how one of the first is restored.
        names: keys of the others.
        parts: of the keys' tensors, as savers write them.
        variables: the others.
    """
    graph = restore.group.graph
    scope = f"{restore.group.name}_masks"
    types = [variable.dtype.base_dtype for variable in variables]
    with graph.as_default(), graph.control_dependencies(None), graph.name_scope(None), graph.name_scope(scope):
        with graph.device(restore.device or None):
            values = tf.raw_ops.RestoreV2(
                prefix=restore.filename, tensor_names=list(names), shape_and_slices=list(parts), dtypes=types
            )
        assigned = [variable.assign(value, read_value=False) for variable, value in zip(variables, values)]
    restore.group._add_control_inputs([getattr(item, "op", item) for item in assigned])


def restored_by(restore_op: Any, names: Collection[str]) -> Dict[str, Any]:
    """Returns, by name, the tensors that some variables are set to when an op runs."""
    return {
        op.inputs[0].op.name: op.inputs[1]
        for op in ops_run_by(restore_op)
        if op.type in ("Assign", "AssignVariableOp") and op.inputs[0].op.name in names
    }
