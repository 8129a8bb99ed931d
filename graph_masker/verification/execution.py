"""Runs a graph from a file, for those commands that say they do: its values restored, its inputs random or given."""

import contextlib
import os
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.bits import same_bits
from graph_masker.errors import SourceError, UsageError
from graph_masker.files.source import Kind, Source, one_line

_SEED = 0
_UNKNOWN_SIZE = 2
_INPUTS = frozenset({"Placeholder", "IteratorGetNext", "QueueDequeueV2", "QueueDequeueManyV2", "QueueDequeueUpToV2"})
# Nothing that anybody reads as a result comes out of these.
_NO_RESULTS = frozenset({"Const", "NoOp", "Assert", "Placeholder", "PlaceholderWithDefault"})

Values = Mapping[str, np.ndarray]


class Execution:
    """A graph from a file in a session, with its values restored."""

    def __init__(self, session: Any) -> None:
        """Args: a session whose variables have their values."""
        self.graph = session.graph
        self._session = session
        variables = self.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)
        self._variables = {variable.op.name: variable for variable in variables}
        # Constants cannot be written; other values are fed in their place.
        self._fed: Dict[str, np.ndarray] = {}

    def value(self, name: str) -> np.ndarray:
        """Returns the value of a variable, or of a frozen graph's constant, by its op's name."""
        handle = self._copy(name)
        if handle is None:
            fetched = self._variables.get(name, f"{name}:0")
        else:
            fetched = tf.raw_ops.ReadVariableOp(resource=handle, dtype=handle.op.get_attr("dtype"))
        value: np.ndarray = self._session.run(fetched, self._fed)
        return value

    def put(self, name: str, value: np.ndarray) -> None:
        """Gives a variable, or a frozen graph's constant, another value."""
        if name in self._variables:
            tf_compat.load_variable(self._session, self._variables[name], value)
        elif self._copy(name) is not None:
            self._session.run(tf.raw_ops.AssignVariableOp(resource=self._copy(name), value=tf.constant(value)))
        else:
            self._fed[f"{name}:0"] = value

    def _copy(self, name: str) -> Any:
        """Returns the handle of a mirrored variable's further copy, which is in no collection; None of all else."""
        is_handle = name not in self._variables and self.graph.get_operation_by_name(name).type == "VarHandleOp"
        return self.graph.get_tensor_by_name(f"{name}:0") if is_handle else None

    def run(self, outputs: Sequence[str], inputs: Values) -> List[np.ndarray]:
        """Computes tensors from inputs, both by their names.

        Raises:
            UsageError: they cannot be computed.
        """
        try:
            found = self._session.run(list(outputs), {**self._fed, **inputs})
        except (tf.errors.OpError, ValueError) as error:
            raise UsageError(
                f"{outputs[0]}: cannot be computed from these inputs: {one_line(error)}; give inputs, or name another "
                "output"
            ) from error
        return [np.asarray(value) for value in found]


@contextlib.contextmanager
def executed(source: Source, meta_graph: Any) -> Iterator[Execution]:
    """Yields a source's graph in a session of one thread, so that sums come out the same each time.

    Args:
        source: what `find_source` found.
        meta_graph: what `read_graph` returned for it.

    Raises:
        UsageError: there are no values to run with.
        SourceError: the graph cannot be imported, or its values cannot be restored.
    """
    if source.prefix is None and source.kind in (Kind.CHECKPOINT, Kind.META_GRAPH):
        raise UsageError(f"{source.path}: expected a checkpoint to run, found only a graph; leave --run out")
    config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1, device_count={"GPU": 0})
    with tf.Graph().as_default() as graph, tf.Session(graph=graph, config=config) as session:
        try:
            _restore(session, source, meta_graph)
        except (OSError, ValueError, KeyError, TypeError, tf.errors.OpError) as error:
            raise SourceError(f"{source.graph_path}: cannot be imported and restored: {one_line(error)}") from error
        yield Execution(session)


def _restore(session: Any, source: Source, meta_graph: Any) -> None:
    if source.kind is Kind.FROZEN:
        tf.import_graph_def(meta_graph.graph_def, name="")
    elif source.kind is Kind.SAVED_MODEL and source.graph_path is not None:
        tf.saved_model.loader.load(session, meta_graph.meta_info_def.tags, os.path.dirname(source.graph_path))
    else:
        saver = tf.train.import_meta_graph(meta_graph, clear_devices=True)
        variables = session.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)
        (saver or tf.train.Saver(variables)).restore(session, source.prefix)
        session.run(tf.local_variables_initializer())
        session.run(session.graph.get_collection(tf.GraphKeys.TABLE_INITIALIZERS))


def outputs_of(source: Source, meta_graph: Any) -> List[str]:
    """Returns the names of the tensors that a graph is there to compute, as far as it tells.

    A SavedModel's signatures name them, a training graph's are its losses; in a frozen graph they are what no op reads.
    """
    if source.kind is Kind.SAVED_MODEL:
        infos = (info for signature in meta_graph.signature_def.values() for info in signature.outputs.values())
        return sorted({info.name for info in infos if info.name})
    if source.kind is Kind.FROZEN:
        read = {text.lstrip("^").partition(":")[0] for node in meta_graph.graph_def.node for text in node.input}
        nodes = (node for node in meta_graph.graph_def.node if node.name not in read and node.op not in _NO_RESULTS)
        return [f"{node.name}:0" for node in nodes]
    return list(tf_compat.names_in_collection(meta_graph, tf.GraphKeys.LOSSES))


def random_inputs(graph: Any) -> Dict[str, np.ndarray]:
    """Returns values, by tensor's name, for placeholders and for what comes from datasets and queues."""
    random = np.random.RandomState(_SEED)
    inputs = {}
    for tensor in (tensor for op in graph.get_operations() if op.type in _INPUTS for tensor in op.outputs):
        sizes = [] if tensor.shape.ndims is None else tensor.shape.as_list()
        shape = [_UNKNOWN_SIZE if size is None else size for size in sizes]
        if tensor.dtype.is_floating:
            inputs[tensor.name] = random.normal(size=shape).astype(tensor.dtype.as_numpy_dtype)
        elif tensor.dtype == tf.uint8:  # An image's.
            inputs[tensor.name] = random.randint(0, 256, shape).astype(np.uint8)
        elif tensor.dtype not in (tf.string, tf.resource, tf.variant):
            inputs[tensor.name] = np.zeros(shape, tensor.dtype.as_numpy_dtype)
    return inputs


def read_inputs(files: Sequence[Tuple[str, str]], graph: Any) -> Dict[str, np.ndarray]:
    """Reads inputs of a graph from .npy files, given as (tensor's name, file).

    Raises:
        UsageError: a file cannot be read, or a tensor is not in the graph or of another shape or type.
    """
    inputs = {}
    for given, path in files:
        name = tensor_name(given)
        try:
            value = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: expected an array in a .npy file, found none: {one_line(error)}") from error
        try:
            tensor = graph.get_tensor_by_name(name)
        except (KeyError, ValueError) as error:
            raise UsageError(f"{given}: expected an input of the graph, found no such tensor") from error
        if not tensor.shape.is_compatible_with(value.shape) or tensor.dtype.as_numpy_dtype != value.dtype:
            raise UsageError(
                f"{path}: expected {tensor.dtype.name} {tensor.shape} for '{given}', found {value.dtype} {value.shape}"
            )
        inputs[name] = value
    return inputs


def tensor_name(name: str) -> str:
    """Returns a tensor's name; an op's name means its first output."""
    return name if ":" in name else f"{name}:0"


def agree(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> bool:
    """Tells whether two lists of arrays are the same, bit for bit."""
    return len(one) == len(other) and all(same_bits(a, b) for a, b in zip(one, other))
