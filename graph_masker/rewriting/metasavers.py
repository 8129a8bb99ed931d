"""Makes the savers of a MetaGraph hold the pruning state. Each keeps the names of its ops, whose nodes are changed.

    names, parts, weight, mask ... -> SaveV2                   where a weight is saved, its mask is: in the same shard
    filename, names, parts -> RestoreV2 -> Assign ..> restore_all

A saver that comes out of a file knows its ops, and no variables, so that it cannot be built anew with more of them.
"""

from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Set

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.errors import SourceError
from graph_masker.saving.wanted import State, missing_state
from graph_masker.tf_compat import SavedVariable
from graph_masker.view import GraphView, variable_behind


def weight_keys(meta_graph: Any, view: GraphView, path: str) -> Dict[str, str]:
    """Returns the keys under which the saver that comes with a MetaGraph saves each variable; empty without a saver.

    Args:
        meta_graph: the MetaGraph.
        view: of it.
        path: of its file, for messages.
    """
    if not meta_graph.HasField("saver_def"):
        return {}
    found: Dict[str, str] = {}
    for save in _Nodes(meta_graph, view, path).saves_of(meta_graph.saver_def):
        found.update(zip(save.variables, save.keys))
    return found


def extend_savers(meta_graph: Any, view: GraphView, state: State, path: str) -> None:
    """Adds to each saver the masks and thresholds of the weights that it saves. In place.

    What counts steps goes with the global step, as for savers in a live graph (`savers.include_state`).

    Args:
        meta_graph: the MetaGraph, with the masks in its graph.
        view: of it as it was without them.
        state: what savers are to take in.
        path: of the file, for messages.

    Raises:
        SourceError: a saver is made of other ops than TensorFlow's own savers are.
    """
    nodes = _Nodes(meta_graph, view, path)
    for saver in _savers(meta_graph):
        _extend(nodes, saver, state)


def _savers(meta_graph: Any) -> Iterator[Any]:
    known = set()
    for saver in tf_compat.savers_of_meta_graph(meta_graph):
        if saver.save_tensor_name not in known:
            known.add(saver.save_tensor_name)
            yield saver


class _Save(NamedTuple):
    """An op that saves, the variables behind what it saves, in order ("" for other things), and their keys."""

    node: Any
    variables: List[str]
    keys: List[str]


class _Nodes:
    """The nodes of a MetaGraph, by name."""

    def __init__(self, meta_graph: Any, view: GraphView, path: str) -> None:
        self._path = path
        self.by_name = {node.name: node for node in meta_graph.graph_def.node}
        self._graph = meta_graph.graph_def
        self._view = view

    def saves_of(self, saver: Any) -> List[_Save]:
        """Returns the ops by which a saver saves: several, where it writes several shards."""
        waiting = [saver.save_tensor_name.partition(":")[0]]
        seen: Set[str] = set()
        found: List[_Save] = []
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            node = self.by_name.get(name)
            if node is not None and node.op in tf_compat.SAVED_TYPES:
                found.append(self._save(node))
            elif node is not None:
                waiting.extend(text.lstrip("^").partition(":")[0] for text in node.input)
        if not found or saver.restore_op_name not in self.by_name:
            raise SourceError(
                f"{self._path}: expected a saver whose '{saver.save_tensor_name}' ends in a SaveV2 op, found none; "
                "export the graph with a tf.train.Saver of TensorFlow's own"
            )
        return sorted(found, key=lambda save: str(save.node.name))

    def _save(self, node: Any) -> _Save:
        variables = []
        for text in node.input[tf_compat.FIRST_SAVED :]:
            # Control inputs come last.
            if not text.startswith("^"):
                behind = variable_behind(self._view.nodes, text.partition(":")[0])
                variables.append(behind if self._view.is_variable(behind) else "")
        keys = [key.decode() for key in self._strings(node, 1)]
        if len(keys) != len(variables):
            raise SourceError(
                f"{self._path}: '{node.name}': expected a name for each of {len(variables)} tensors, found {len(keys)}"
                "; export the graph anew"
            )
        return _Save(node, variables, keys)

    def _strings(self, node: Any, port: int) -> List[bytes]:
        constant = self.by_name.get(node.input[port])
        if constant is None or constant.op != "Const":
            raise SourceError(
                f"{self._path}: '{node.name}': expected constant text in input {port}, found none; export the graph "
                "anew"
            )
        values: List[bytes] = tf.make_ndarray(constant.attr["value"].tensor).tolist()
        return values

    def extend_strings(self, node: Any, port: int, values: Sequence[str]) -> None:
        """Appends to the strings that an op reads; another op that reads the same ones reads what it read."""
        strings = [*self._strings(node, port), *(value.encode() for value in values)]
        constant = self.by_name[node.input[port]]
        if len(self._view.edges_from(constant.name)) > 1:
            original, constant = constant, self._graph.node.add()
            constant.CopyFrom(original)
            constant.name = self.free(f"{original.name}_masked")
            self.by_name[constant.name] = constant
            node.input[port] = constant.name
        constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(strings, tf.string, [len(strings)]))
        for shape in constant.attr["_output_shapes"].list.shape:
            shape.dim[0].size = len(strings)

    def free(self, name: str) -> str:
        """Returns a name that no op has, nor a scope."""
        number, found = 0, name
        while any(other == found or other.startswith(f"{found}/") for other in self.by_name):
            number += 1
            found = f"{name}_{number}"
        return found

    def add(self, name: str, op: str, inputs: Iterable[str], device: str, **attrs: Any) -> str:
        """Adds a node and returns its name. Attributes are given as AttrValues."""
        node = self._graph.node.add(name=name, op=op, input=inputs, device=device)
        for key, value in attrs.items():
            node.attr[key].CopyFrom(value)
        self.by_name[name] = node
        return name


def _extend(nodes: _Nodes, saver: Any, state: State) -> None:
    saves = nodes.saves_of(saver)
    for number, missing in missing_state([save.variables for save in saves], state):
        _save_more(nodes, saves[number].node, missing)
        _restore_more(nodes, saver, saves[number].node.device, missing)


def _save_more(nodes: _Nodes, save: Any, items: Sequence[SavedVariable]) -> None:
    nodes.extend_strings(save, 1, [item.key for item in items])
    nodes.extend_strings(save, 2, [item.part for item in items])
    waits = [text for text in save.input if text.startswith("^")]
    reads = [text for text in save.input if not text.startswith("^")]
    save.input[:] = [*reads, *(_input(item.value) for item in items), *waits]
    save.attr[tf_compat.SAVED_TYPES[save.op]].list.type.extend(item.dtype.as_datatype_enum for item in items)


def _restore_more(nodes: _Nodes, saver: Any, device: str, items: Sequence[SavedVariable]) -> None:
    restore_all = nodes.by_name[saver.restore_op_name]
    scope = saver.restore_op_name.rpartition("/")[0]
    name = nodes.free(f"{scope}/restore_masks" if scope else "restore_masks")
    constants = [
        nodes.add(f"{name}/{leaf}", "Const", (), device, **_constant(values))
        for leaf, values in (
            ("tensor_names", [item.key for item in items]),
            ("shape_and_slices", [item.part for item in items]),
        )
    ]
    types = tf.AttrValue()
    types.list.type.extend(item.dtype.as_datatype_enum for item in items)
    unknown = tf.AttrValue()
    for _ in items:
        unknown.list.shape.add(unknown_rank=True)
    inputs = [_input(saver.filename_tensor_name), *constants]
    restore = nodes.add(f"{name}/RestoreV2", "RestoreV2", inputs, device, dtypes=types, _output_shapes=unknown)
    for number, item in enumerate(items):
        restore_all.input.append(f"^{_assign(nodes, f'{name}/Assign_{number}', item, f'{restore}:{number}')}")


def _assign(nodes: _Nodes, name: str, item: SavedVariable, value: str) -> str:
    variable = nodes.by_name[item.name]
    dtype, place, yes = tf.AttrValue(type=item.dtype.as_datatype_enum), tf.AttrValue(), tf.AttrValue(b=True)
    place.list.s.append(f"loc:@{item.name}".encode())
    inputs = [_input(item.buffer), _input(value)]
    if item.is_resource:
        return nodes.add(name, "AssignVariableOp", inputs, variable.device, dtype=dtype, _class=place)
    shapes = variable.attr["_output_shapes"]
    options = {"T": dtype, "_class": place, "_output_shapes": shapes, "use_locking": yes, "validate_shape": yes}
    return nodes.add(name, "Assign", inputs, variable.device, **options)


def _constant(values: Sequence[str]) -> Dict[str, Any]:
    shapes = tf.AttrValue()
    shapes.list.shape.add().dim.add(size=len(values))
    tensor = tf.make_tensor_proto([value.encode() for value in values], tf.string, [len(values)])
    string = tf.AttrValue(type=tf.string.as_datatype_enum)
    return {"dtype": string, "value": tf.AttrValue(tensor=tensor), "_output_shapes": shapes}


def _input(tensor: str) -> str:
    """Returns a tensor's name as nodes have it among their inputs: without the number of a first output."""
    return tensor[: -len(":0")] if tensor.endswith(":0") else tensor
