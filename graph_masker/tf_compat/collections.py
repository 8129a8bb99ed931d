"""Collections of a MetaGraph: what kind of protocol buffer each holds."""

from typing import Any, List

from tensorflow.core.framework import variable_pb2
from tensorflow.core.protobuf import control_flow_pb2, saver_pb2
from tensorflow.python.framework import ops

SaverDef = saver_pb2.SaverDef
VariableDef = variable_pb2.VariableDef
CondContextDef = control_flow_pb2.CondContextDef
WhileContextDef = control_flow_pb2.WhileContextDef


def kind_of_collection(key: str) -> Any:
    """Returns the class of the protocol buffers that a collection holds, None where TensorFlow knows none."""
    return ops.get_collection_proto_type(key)


def savers_of_meta_graph(meta_graph: Any) -> List[Any]:
    """Returns all SaverDefs of a MetaGraph: the one that comes with it, and those in collections."""
    found = [meta_graph.saver_def] if meta_graph.HasField("saver_def") else []
    for key in meta_graph.collection_def:
        if kind_of_collection(key) is SaverDef:
            found.extend(SaverDef.FromString(value) for value in meta_graph.collection_def[key].bytes_list.value)
    return found
