"""Many new ops at once: described as protocol buffers and imported in one call, far cheaper than one by one."""

from typing import Any, Dict, Iterable, List, Sequence, Set, Tuple

import tensorflow.compat.v1 as tf
from tensorflow.core.framework import attr_value_pb2, graph_pb2, tensor_pb2, variable_pb2
from tensorflow.python import pywrap_tensorflow as c_api
from tensorflow.python.framework import c_api_util
from tensorflow.python.ops import resource_variable_ops, variables

from graph_masker.tf_compat.functions import Function


class Nodes:
    """Ops that are about to be added to a graph, all of them outside of every loop, cond, scope and dependency.

    Inputs and control inputs name ops of this list or of the graph.
    """

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._definition = graph_pb2.GraphDef()
        self._definition.versions.CopyFrom(graph.graph_def_versions)
        self._places: Dict[str, Tuple[str, Any]] = {}
        self._functions: Set[str] = set()

    def add(
        self, name: str, op: str, inputs: Iterable[str] = (), like: Any = None, after: Iterable[str] = (), **attrs: Any
    ) -> str:
        """Adds an op and returns its name.

        Args:
            name: of the op; it must be free.
            op: type of the op, or the name of a function of the graph.
            inputs: names of tensors; the first output of an op goes by the op's name.
            like: the op that it is colocated with.
            after: names of the ops that it waits for.
            attrs: by name; types as `tf.DType`, shapes as sequences of ints, else AttrValues.
        """
        node = self._definition.node.add(name=name, op=op, input=[*inputs, *(f"^{other}" for other in after)])
        self._place(node, like)
        for key, value in attrs.items():
            _set_attribute(node.attr[key], value)
        return name

    def constant(self, name: str, dtype: Any, values: Sequence[Any], shape: Sequence[int], like: Any = None) -> str:
        """Adds a Const of a few values (one stands for all of them) and returns its name.

        Args:
            name: of the op.
            dtype: int32 or a real floating-point type; of the latter only what every one of them holds exactly.
            values: its entries.
            shape: of the tensor.
            like: the op that it is colocated with.
        """
        tensor = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
        if dtype == tf.int32:
            tensor.int_val.extend(values)
        else:
            tensor.CopyFrom(tf.make_tensor_proto(values, dtype, [len(values)]))
        tensor.ClearField("tensor_shape")
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
        return self.add(name, "Const", like=like, dtype=dtype, value=attr_value_pb2.AttrValue(tensor=tensor))

    def variable(self, name: str, dtype: Any, shape: Sequence[int], initial: str, use_resource: bool, like: Any) -> str:
        """Adds the ops of a variable, named as TensorFlow names them, and returns the name of the op that reads it.

        Args:
            name: of the variable.
            dtype: of its value.
            shape: of its value.
            initial: name of the tensor that it starts from.
            use_resource: whether it is a resource variable.
            like: the op that it is colocated with.
        """
        if use_resource:
            label = attr_value_pb2.AttrValue(s=name.encode())
            self.add(name, "VarHandleOp", like=like, dtype=dtype, shape=shape, shared_name=label)
            self.add(f"{name}/Assign", "AssignVariableOp", [name, initial], like, dtype=dtype)
            return self.add(f"{name}/Read/ReadVariableOp", "ReadVariableOp", [name], like, dtype=dtype)
        self.add(name, "VariableV2", like=like, dtype=dtype, shape=shape)
        self.add(f"{name}/Assign", "Assign", [name, initial], like, T=dtype)
        return self.add(f"{name}/read", "Identity", [name], like, T=dtype)

    def read(self, name: str, variable: Any, after: Iterable[str] = ()) -> str:
        """Adds a read of a variable's value, beside it, and returns its name."""
        dtype, is_resource = variable.dtype.base_dtype, variable.op.type == "VarHandleOp"
        if is_resource:
            return self.add(name, "ReadVariableOp", [variable.handle.name], variable.op, after, dtype=dtype)
        return self.add(name, "Identity", [variable._ref().name], variable.op, after, T=dtype)

    def assign(self, name: str, variable: Any, value: str) -> str:
        """Adds an op that sets a variable, beside it, and returns its name."""
        dtype = variable.dtype.base_dtype
        if variable.op.type == "VarHandleOp":
            return self.add(name, "AssignVariableOp", [variable.handle.name, value], variable.op, dtype=dtype)
        return self.add(name, "Assign", [variable._ref().name, value], variable.op, T=dtype)

    def call(self, name: str, function: Function, inputs: Iterable[str], like: Any) -> str:
        """Adds a call of a function and returns its name."""
        if function.name not in self._functions:
            function.add_to(self._graph)
            self._functions.add(function.name)
        return self.add(name, function.name, inputs, like, _noinline=attr_value_pb2.AttrValue(b=True))

    def concat(self, name: str, values: Sequence[str], axis: int, dtype: Any, like: Any) -> str:
        """Adds a concatenation and returns its name."""
        along = self.constant(f"{name}/axis", tf.int32, [axis], [], like)
        count = attr_value_pb2.AttrValue(i=len(values))
        return self.add(name, "ConcatV2", [*values, along], like, T=dtype, Tidx=tf.int32, N=count)

    def split(self, name: str, value: str, sizes: Sequence[int], axis: int, dtype: Any, like: Any) -> List[str]:
        """Adds the inverse of a concatenation and returns the names of its outputs."""
        lengths = self.constant(f"{name}/sizes", tf.int32, sizes, [len(sizes)], like)
        along = self.constant(f"{name}/axis", tf.int32, [axis], [], like)
        count = attr_value_pb2.AttrValue(i=len(sizes))
        self.add(name, "SplitV", [value, lengths, along], like, T=dtype, Tlen=tf.int32, num_split=count)
        return [f"{name}:{index}" for index in range(len(sizes))]

    def _place(self, node: Any, like: Any) -> None:
        if like is None:
            return
        if like.name not in self._places:
            groups = attr_value_pb2.AttrValue()
            groups.list.s.extend(like.colocation_groups())
            self._places[like.name] = (like.device, groups)
        node.device, groups = self._places[like.name]
        node.attr["_class"].CopyFrom(groups)

    def create(self) -> List[Any]:
        """Adds all ops to the graph and returns them in the order in which they were added here.

        Raises:
            ValueError: an op is not as its type asks for, or a name is taken. The graph is as it was.
        """
        graph, nodes = self._graph, self._definition.node
        scoped = c_api_util.ScopedTFImportGraphDefOptions()
        options = scoped.options
        c_api.TF_ImportGraphDefOptionsSetPrefix(options, "")
        c_api.TF_ImportGraphDefOptionsSetUniquifyNames(options, False)
        c_api.TF_ImportGraphDefOptionsSetValidateColocationConstraints(options, False)
        own = {node.name for node in nodes}
        for text in {text for node in nodes for text in node.input if _op_of(text) not in own}:
            _map_input(graph, options, text)
        for node in nodes:
            c_api.TF_ImportGraphDefOptionsAddReturnOperation(options, node.name)
        with graph._mutation_lock(), graph.as_default(), graph.control_dependencies(None):
            with c_api_util.tf_buffer(self._definition.SerializeToString()) as serialized:
                try:
                    found = c_api.TF_GraphImportGraphDefWithResults(graph._c_graph, serialized, options)
                except tf.errors.InvalidArgumentError as error:
                    raise ValueError(str(error)) from error
            results = c_api_util.ScopedTFImportGraphDefResults(found)
            created = c_api.TF_ImportGraphDefResultsReturnOperations(results.results)
            return [graph._create_op_from_tf_operation(op, compute_device=False) for op in created]


def _op_of(text: str) -> str:
    return text.lstrip("^").partition(":")[0]


def _map_input(graph: Any, options: Any, text: str) -> None:
    op = graph.get_operation_by_name(_op_of(text))
    if text.startswith("^"):
        c_api.TF_ImportGraphDefOptionsRemapControlDependency(options, op.name, op._c_op)
    else:
        index = int(text.partition(":")[2] or 0)
        c_api.TF_ImportGraphDefOptionsAddInputMapping(options, op.name, index, op.outputs[index]._as_tf_output())


def _set_attribute(attribute: Any, value: Any) -> None:
    if isinstance(value, tf.DType):
        attribute.type = value.as_datatype_enum
    elif isinstance(value, attr_value_pb2.AttrValue):
        attribute.CopyFrom(value)
    else:
        attribute.shape.SetInParent()
        for size in value:
            attribute.shape.dim.add(size=size)


def variable_of(graph: Any, name: str, read: str, initial: str, use_resource: bool) -> Any:
    """Returns the untrained variable that ops of a graph make up, and puts it among the global variables.

    Args:
        graph: the graph.
        name: of the variable.
        read: name of the op that reads it.
        initial: name of the op that makes its initial value.
        use_resource: whether it is a resource variable.
    """
    definition = variable_pb2.VariableDef(
        variable_name=f"{name}:0",
        initializer_name=f"{name}/Assign",
        snapshot_name=f"{read}:0",
        initial_value_name=f"{initial}:0",
        is_resource=use_resource,
        trainable=False,
    )
    kind = resource_variable_ops.ResourceVariable if use_resource else variables.RefVariable
    with graph.as_default():
        variable = kind.from_proto(definition)
    graph.add_to_collection(tf.GraphKeys.GLOBAL_VARIABLES, variable)
    return variable
