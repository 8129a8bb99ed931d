"""Collections of a MetaGraph: what kind of protocol buffer each holds."""

from typing import Any

from tensorflow.core.framework import variable_pb2
from tensorflow.core.protobuf import control_flow_pb2, saver_pb2
from tensorflow.python.framework import op_def_registry, ops

SaverDef = saver_pb2.SaverDef
VariableDef = variable_pb2.VariableDef
CondContextDef = control_flow_pb2.CondContextDef
WhileContextDef = control_flow_pb2.WhileContextDef


def kind_of_collection(key: str) -> Any:
    """Returns the class of the protocol buffers that a collection holds, None where TensorFlow knows none."""
    return ops.get_collection_proto_type(key)


def is_stateless(op_type: str) -> bool:
    """Tells whether an op of a type does nothing but compute its outputs."""
    found = op_def_registry.get_registered_ops().get(op_type)
    return found is not None and not found.is_stateful
