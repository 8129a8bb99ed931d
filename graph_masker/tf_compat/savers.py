"""Savers: what they hold, and how they take in more."""

import contextlib
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import tensorflow.compat.v1 as tf
from tensorflow.python.ops import variables as variables_lib
from tensorflow.python.training.saving import saveable_object, saveable_object_util
from tensorflow.python.training.tracking import base as trackable

from graph_masker.tf_compat.distribution import copies_of, first_copy, variables_of, whole_of
from graph_masker.tf_compat.nodes import Nodes
from graph_masker.tf_compat.variables import saved_name


@contextlib.contextmanager
def quick_restores(graph: Any, is_ours: Callable[[str], bool]) -> Iterator[None]:
    """While open, savers get the ops that restore some variables of a graph at a fraction of what making each costs.

    A saver assigns every variable that it holds by an op of its own. TensorFlow's way to make one takes longer than all
    else that is done for a mask.

    Args:
        graph: the graph.
        is_ours: tells of a variable's name whether it is one of them; reference variables only.
    """
    original = saveable_object_util.ReferenceVariableSaveable.restore

    def restore(self: Any, restored_tensors: Sequence[Any], restored_shapes: Any) -> Any:
        if restored_shapes is not None or self.op.graph is not graph or not is_ours(self.op.op.name):
            return original(self, restored_tensors, restored_shapes)
        value = restored_tensors[0]
        with Nodes(graph) as nodes:
            # Of a partitioned variable's parts `self.op` is the variable, of others its buffer.
            inputs = [self.op.op.outputs[0], value]
            return nodes.add(graph.unique_name("Assign"), "Assign", inputs, self.op.op, T=value.dtype).outputs[0]

    saveable_object_util.ReferenceVariableSaveable.restore = restore
    try:
        yield
    finally:
        saveable_object_util.ReferenceVariableSaveable.restore = original


def saver_variables(saver: Any) -> List[Any]:
    """Returns the variables that a built saver saves."""
    items = saver._var_list
    found = items.values() if isinstance(items, dict) else items or []
    return [variable for item in found for variable in _parts(item)]


def _parts(item: Any) -> List[Any]:
    """Returns the variables of a saver's item: itself, or those that it consists of or saves."""
    if isinstance(item, saveable_object.SaveableObject):
        # It holds the variable, or its handle, or a reference to its buffer: all have the variable's op.
        op = getattr(getattr(item, "handle_op", item.op), "op", None)
        variables = variables_of(getattr(op, "graph", tf.get_default_graph()))
        return [next((variable for variable in variables if variable.op is op), item)]
    return list(item) if isinstance(item, (list, tuple, variables_lib.PartitionedVariable)) else [first_copy(item)]


def saver_is_built(saver: Any) -> bool:
    """Tells whether a saver has its ops. One that has not will take in all variables when it gets them."""
    return bool(saver._is_built)


def saver_holds_copies(saver: Any) -> bool:
    """Tells whether a saver holds single copies of variables that have been mirrored since it was made."""
    items = saver._var_list
    return any(whole_of(item) is not item for item in (items.values() if isinstance(items, dict) else items or ()))


def _with_wholes(items: Any) -> Any:
    """Returns a saver's items with mirrored variables in place of their copies."""
    if isinstance(items, dict):
        found = {key: whole_of(item) for key, item in items.items()}
        return {key: whole for key, whole in found.items() if copies_of(whole)[0].op.name == key or whole is items[key]}
    return list({id(whole_of(item)): whole_of(item) for item in items or ()}.values())


def extend_saver(saver: Any, variables: Sequence[Any]) -> None:
    """Makes a built saver hold more variables. In place: hooks may hold the same saver."""
    items = saver._var_list = _with_wholes(saver._var_list)
    if isinstance(items, dict):
        added: Dict[str, Any] = {}
        for variable in variables:
            name = saved_name(variable)
            if name == variable.op.name:
                added[name] = whole_of(variable)
            else:
                added.setdefault(name, []).append(variable)
        saver._var_list = {**items, **added}
    else:
        saver._var_list = [*items, *map(whole_of, variables)]
    saver.saver_def = None
    saver._is_built = False
    saver.build()


def saver_entries(saver: Any) -> List[Tuple[str, Any]]:
    """Returns the variables that a saver holds, each with its key in checkpoints."""
    items = saver._var_list
    if isinstance(items, dict):
        return [(key, variable) for key, item in items.items() for variable in _parts(item)]
    return [(_key_of(item, variable), variable) for item in _to_restore(items) for variable in _parts(item)]


def _key_of(item: Any, variable: Any) -> str:
    return str(item.name) if isinstance(item, saveable_object.SaveableObject) else saved_name(variable)


def _to_restore(items: Any) -> List[Any]:
    """Leaves out what a saver saves and never restores, such as the graph of objects that tf.train.Checkpoint adds."""
    return [item for item in items or [] if not isinstance(item, trackable.NoRestoreSaveable)]


def saver_has_only_variables(saver: Any) -> bool:
    """Tells whether a saver is built and holds nothing but variables: no table, iterator or other object."""
    return saver_is_built(saver) and all(isinstance(variable, tf.Variable) for _, variable in saver_entries(saver))


def saver_reshapes(saver: Any) -> bool:
    """Tells whether a saver gives restored values the shape of their variables."""
    return bool(saver._reshape)


def saver_prefix(saver: Any, save_path: str, step: Optional[int]) -> str:
    """Returns the prefix of the checkpoint that a saver writes for a path and a step."""
    if step is None:
        return save_path
    return f"{save_path}-{step:08d}" if saver._pad_step_number else f"{save_path}-{step}"


def saver_ops(saver: Any) -> Tuple[str, str]:
    """Returns the names of the op by which a built saver restores, and of the tensor that it gives a prefix to."""
    return str(saver.saver_def.restore_op_name), str(saver.saver_def.filename_tensor_name)
