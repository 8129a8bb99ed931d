"""MetaGraphs: in and out of a graph, and what their ops are."""

from typing import Any, Dict, Iterable, NamedTuple, Optional

import tensorflow.compat.v1 as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.core.protobuf import control_flow_pb2
from tensorflow.python import pywrap_tensorflow as c_api
from tensorflow.python.framework import meta_graph as meta_graph_lib
from tensorflow.python.framework import op_def_registry

from graph_masker.tf_compat.variables import buffer_of, part_of, read_of, saved_name

# Collections of protocol buffers that hold maps.
_CONTEXTS = {
    tf.GraphKeys.COND_CONTEXT: control_flow_pb2.CondContextDef,
    tf.GraphKeys.WHILE_CONTEXT: control_flow_pb2.WhileContextDef,
}


class SavedVariable(NamedTuple):
    """A variable as savers write it.

    Attributes:
        name: of its op.
        key: in checkpoints.
        part: of the key's tensor, as savers write it: "4 5 0,2:-"; all of it, "".
        shape: of the key's tensor.
        dtype: of its value.
        buffer: name of the tensor by which it is written.
        value: name of the tensor that savers save.
        is_resource: whether it is a resource variable.
    """

    name: str
    key: str
    part: str
    shape: Any
    dtype: Any
    buffer: str
    value: str
    is_resource: bool


def saved_variable(variable: Any) -> SavedVariable:
    """Returns how savers write a variable of a graph."""
    info = getattr(variable, "_save_slice_info", None)
    is_resource = variable.op.type == "VarHandleOp"
    buffer = buffer_of(variable).name
    return SavedVariable(
        variable.op.name,
        saved_name(variable),
        part_of(variable),
        tuple(variable.shape.as_list() if info is None else info.full_shape),
        variable.dtype.base_dtype,
        buffer,
        read_of(variable).name if is_resource else buffer,
        is_resource,
    )


def unknown_op(meta_graph: Any) -> Optional[Any]:
    """Returns the first node, of the graph or of a function, whose op TensorFlow does not know without more libraries.

    Functions of the MetaGraph's own library are known.
    """
    buffer = c_api.TF_GetAllOpList()
    known = {definition.name for definition in op_def_pb2.OpList.FromString(c_api.TF_GetBuffer(buffer)).op}
    library = meta_graph.graph_def.library.function
    known.update(function.signature.name for function in library)
    for nodes in (meta_graph.graph_def.node, *(function.node_def for function in library)):
        for node in nodes:
            if node.op not in known:
                return node
    return None


def graph_of_meta_graph(meta_graph: Any) -> Any:
    """Returns a new graph that holds a MetaGraph, its collections included, and no op besides."""
    graph = tf.Graph()
    with graph.as_default():
        # Importing changes the protocol buffer that it is given.
        copied = tf.MetaGraphDef()
        copied.CopyFrom(meta_graph)
        # tf.train.import_meta_graph adds a saver where there is none.
        meta_graph_lib.import_scoped_meta_graph(copied)
    return graph


def exported_collections(graph: Any) -> Any:
    """Returns a MetaGraph that holds the collections of a graph, and nothing else."""
    exported = tf.MetaGraphDef()
    for key in graph.get_all_collection_keys():
        meta_graph_lib.add_collection_def(exported, key, graph)
        if key in _CONTEXTS and key in exported.collection_def:
            # Maps have no order of their own: the same context would give other bytes each time.
            values = exported.collection_def[key].bytes_list.value
            values[:] = [
                _CONTEXTS[key].FromString(value).SerializeToString(deterministic=True) for value in list(values)
            ]
    return exported


def op_definitions(op_types: Iterable[str]) -> Dict[str, Any]:
    """Returns the definitions of op types, of those that TensorFlow's Python side knows, as MetaGraphs list them."""
    registered = op_def_registry.get_registered_ops()
    return {op_type: registered[op_type] for op_type in sorted(op_types) if op_type in registered}
