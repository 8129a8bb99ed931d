"""Many new ops: made through TensorFlow's C interface, at a fraction of what its Python functions take for each."""

import contextlib
from typing import Any, Dict, Iterable, List, Sequence, Set, Tuple

import tensorflow.compat.v1 as tf
from tensorflow.core.framework import attr_value_pb2, tensor_pb2, variable_pb2
from tensorflow.python import pywrap_tensorflow as c_api
from tensorflow.python.framework import ops
from tensorflow.python.ops import resource_variable_ops, variables

from graph_masker.tf_compat.functions import Function

# A call runs as a whole, and nothing is inferred of its results: for that, TensorFlow would walk through the function.
_CALL = dict.fromkeys(("_noinline", "_disable_call_shape_inference"), attr_value_pb2.AttrValue(b=True))


class Nodes:
    """Adds ops to a graph: under the names that it is given, outside of every loop, cond, scope and dependency.

    Use it as a context manager, as often as need be; where it is open already, that changes nothing. An op that cannot
    be added as it is raises ValueError.
    """

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._open: List[contextlib.ExitStack] = []
        self._attributes: Dict[Any, bytes] = {}
        # Kept with the graph: an op's place is asked for by several lists of nodes, and never changes.
        self._places: Dict[Any, Tuple[str, bytes]] = vars(graph).setdefault("_graph_masker_places", {})
        self._functions: Set[str] = set()

    def __enter__(self) -> "Nodes":
        stack, graph = contextlib.ExitStack(), self._graph
        if not self._open:
            for context in (graph.as_default(), graph.control_dependencies(None), graph._mutation_lock()):
                stack.enter_context(context)
        self._open.append(stack)
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.pop().close()

    def add(
        self,
        name: str,
        op_type: str,
        inputs: Sequence[Any] = (),
        like: Any = None,
        after: Iterable[Any] = (),
        joined: int = 0,
        **attrs: Any,
    ) -> Any:
        """Adds an op and returns it.

        Args:
            name: of the op; it must be free.
            op_type: type of the op, or the name of a function of the graph.
            inputs: tensors.
            like: the op that it is colocated with.
            after: the ops that it waits for.
            joined: how many of the inputs, from the first on, are one list to the op's type.
            attrs: by name; types as `tf.DType`, shapes as sequences of ints, else AttrValues, serialized or not.
        """
        graph = self._graph
        description = c_api.TF_NewOperation(graph._c_graph, op_type, name)
        if joined:
            c_api.TF_AddInputList(description, [tensor._as_tf_output() for tensor in inputs[:joined]])
        for tensor in inputs[joined:]:
            c_api.TF_AddInput(description, tensor._as_tf_output())
        for other in after:
            c_api.TF_AddControlInput(description, other._c_op)
        if like is not None:
            device, groups = self._place_of(like)
            c_api.TF_SetDevice(description, device)
            c_api.TF_SetAttrValueProto(description, "_class", groups)
        for key, value in attrs.items():
            c_api.TF_SetAttrValueProto(description, key, self._serialized(value))
        try:
            created = c_api.TF_FinishOperation(description)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(str(error)) from error
        op = graph._create_op_from_tf_operation(created, compute_device=False)
        # Known here; to ask for them anew would cost as much as to make the op.
        op._inputs_val = ops.Operation._InputList(list(inputs))
        return op

    def _place_of(self, op: Any) -> Tuple[str, bytes]:
        if op not in self._places:
            groups = attr_value_pb2.AttrValue()
            groups.list.s.extend(op.colocation_groups())
            self._places[op] = (op.device, groups.SerializeToString())
        return self._places[op]

    def _serialized(self, value: Any) -> bytes:
        if isinstance(value, bytes):
            return value
        if isinstance(value, attr_value_pb2.AttrValue):
            return bytes(value.SerializeToString())
        key = value if isinstance(value, tf.DType) else tuple(value)
        if key not in self._attributes:
            self._attributes[key] = _attribute(key).SerializeToString()
        return self._attributes[key]

    def constant(self, name: str, dtype: Any, values: Sequence[Any], shape: Sequence[int], like: Any) -> Any:
        """Adds a Const of a few values (one stands for all of them) and returns its tensor.

        Args:
            name: of the op.
            dtype: int32 or a real floating-point type; of the latter only what every one of them holds exactly.
            values: its entries.
            shape: of the tensor.
            like: the op that it is colocated with.
        """
        key = (dtype, tuple(values), tuple(shape))
        if key not in self._attributes:
            self._attributes[key] = _tensor(*key).SerializeToString()
        return self.add(name, "Const", like=like, dtype=dtype, value=self._attributes[key]).outputs[0]

    def variable(self, name: str, dtype: Any, shape: Sequence[int], initial: Any, use_resource: bool, like: Any) -> Any:
        """Adds an untrained variable, its ops named as TensorFlow names them, to the global ones and returns it.

        Args:
            name: of the variable.
            dtype: of its value.
            shape: of its value.
            initial: the tensor that it starts from.
            use_resource: whether it is a resource variable.
            like: the op that it is colocated with.
        """
        if use_resource:
            label = attr_value_pb2.AttrValue(s=name.encode())
            op = self.add(name, "VarHandleOp", (), like, dtype=dtype, shape=shape, shared_name=label)
            assign = self.add(f"{name}/Assign", "AssignVariableOp", [op.outputs[0], initial], like, dtype=dtype)
            read = self.add(f"{name}/Read/ReadVariableOp", "ReadVariableOp", op.outputs, like, dtype=dtype)
        else:
            op = self.add(name, "VariableV2", (), like, dtype=dtype, shape=shape)
            assign = self.add(f"{name}/Assign", "Assign", [op.outputs[0], initial], like, T=dtype)
            read = self.add(f"{name}/read", "Identity", op.outputs, like, T=dtype)
        definition = variable_pb2.VariableDef(
            variable_name=f"{name}:0",
            initializer_name=assign.name,
            snapshot_name=f"{read.name}:0",
            initial_value_name=initial.name,
            is_resource=use_resource,
            trainable=False,
        )
        kind = resource_variable_ops.ResourceVariable if use_resource else variables.RefVariable
        variable = kind.from_proto(definition)
        self._graph.add_to_collection(tf.GraphKeys.GLOBAL_VARIABLES, variable)
        return variable

    def read(self, name: str, variable: Any, after: Iterable[Any] = ()) -> Any:
        """Adds a read of a variable's value, beside it, and returns the value."""
        source, dtype = variable.op.outputs, variable.dtype.base_dtype
        if variable.op.type == "VarHandleOp":
            return self.add(name, "ReadVariableOp", source, variable.op, after, dtype=dtype).outputs[0]
        return self.add(name, "Identity", source, variable.op, after, T=dtype).outputs[0]

    def assign(self, name: str, variable: Any, value: Any) -> Any:
        """Adds an op that sets a variable, beside it, and returns it."""
        inputs, dtype = [variable.op.outputs[0], value], variable.dtype.base_dtype
        if variable.op.type == "VarHandleOp":
            return self.add(name, "AssignVariableOp", inputs, variable.op, dtype=dtype)
        return self.add(name, "Assign", inputs, variable.op, T=dtype)

    def call(
        self, name: str, function: Function, inputs: Sequence[Any], like: Any, after: Iterable[Any] = ()
    ) -> List[Any]:
        """Adds a call of a function and returns its results."""
        if function.name not in self._functions:
            function.add_to(self._graph)
            self._functions.add(function.name)
        return list(self.add(name, function.name, inputs, like, after, **_CALL).outputs)

    def cast(self, name: str, value: Any, dtype: Any, like: Any) -> Any:
        """Adds a cast and returns its result."""
        return self.add(name, "Cast", [value], like, SrcT=value.dtype, DstT=dtype).outputs[0]

    def stack(self, name: str, values: Sequence[Any]) -> Any:
        """Adds a vector of scalars, of at least one, and returns it."""
        count = attr_value_pb2.AttrValue(i=len(values))
        return self.add(name, "Pack", values, joined=len(values), T=values[0].dtype, N=count).outputs[0]

    def concat(self, name: str, values: Sequence[Any], axis: int, like: Any) -> Any:
        """Adds a concatenation and returns its result; one value stays as it is."""
        if len(values) == 1:
            return values[0]
        inputs = [*values, self.constant(f"{name}/axis", tf.int32, [axis], [], like)]
        count, dtype = attr_value_pb2.AttrValue(i=len(values)), values[0].dtype
        op = self.add(name, "ConcatV2", inputs, like, joined=len(values), T=dtype, Tidx=tf.int32, N=count)
        return op.outputs[0]

    def split(self, name: str, value: Any, sizes: Sequence[int], axis: int, like: Any) -> List[Any]:
        """Adds the inverse of a concatenation and returns its results; one part is the whole."""
        if len(sizes) == 1:
            return [value]
        lengths = self.constant(f"{name}/sizes", tf.int32, sizes, [len(sizes)], like)
        along = self.constant(f"{name}/axis", tf.int32, [axis], [], like)
        count = attr_value_pb2.AttrValue(i=len(sizes))
        op = self.add(name, "SplitV", [value, lengths, along], like, T=value.dtype, Tlen=tf.int32, num_split=count)
        return list(op.outputs)


def _tensor(dtype: Any, values: Sequence[Any], shape: Sequence[int]) -> Any:
    tensor = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    if dtype == tf.int32:
        tensor.int_val.extend(values)
    else:
        tensor.CopyFrom(tf.make_tensor_proto(values, dtype, [len(values)]))
    tensor.ClearField("tensor_shape")
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    return attr_value_pb2.AttrValue(tensor=tensor)


def _attribute(value: Any) -> Any:
    attribute = attr_value_pb2.AttrValue()
    if isinstance(value, tf.DType):
        attribute.type = value.as_datatype_enum
    else:
        attribute.shape.SetInParent()
        for size in value:
            attribute.shape.dim.add(size=size)
    return attribute
