"""Reads the graphs that lie in files: MetaGraphs, SavedModels, frozen graphs. Nothing of them is imported or run."""

import warnings
from typing import Any, Iterable, List, Mapping, Tuple, Union

import numpy as np
import tensorflow.compat.v1 as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2

from graph_masker import tf_compat
from graph_masker.errors import SourceError
from graph_masker.files.checks import first_fault
from graph_masker.files.source import CheckpointReader, Kind, Source, check_named
from graph_masker.view import VARIABLE_OPS, GraphView

_TEXT = ".pbtxt"
_SERVING = "serve"


def read_graph(source: Source, tags: Iterable[str] = ()) -> Any:
    """Returns a source's graph as a MetaGraphDef; a frozen graph's has nothing beside its GraphDef.

    Args:
        source: what `find_source` found.
        tags: which of a SavedModel's graphs; by default the one for serving, or the only one.

    Raises:
        SourceError: it is missing, damaged or of another kind.
    """
    if source.graph_path is None:
        assert source.prefix is not None, "a source without tensors is a graph"
        check_named(CheckpointReader(source.prefix))
        raise SourceError(
            f"{source.prefix}.meta: expected the graph of this checkpoint, found no such file; "
            "copy it from the training directory"
        )
    if source.kind is Kind.SAVED_MODEL:
        return _chosen(source, read_saved_model(source.graph_path).meta_graphs, tuple(tags))
    if tags:
        raise SourceError(f"{source.path}: expected a SavedModel, of which tags choose a graph; found none")
    if source.kind is Kind.FROZEN:
        return tf.MetaGraphDef(graph_def=read_graph_def(source.graph_path))
    return read_meta_graph(source.graph_path)


def view_of(meta_graph: Any) -> GraphView:
    """Returns a view of what `read_graph` returned. In a graph without variables constants stand for weights."""
    has_variables = any(node.op in VARIABLE_OPS for node in meta_graph.graph_def.node)
    if has_variables or meta_graph.collection_def:
        return tf_compat.view_of_meta_graph(meta_graph)
    return tf_compat.view_of_frozen_graph(meta_graph.graph_def)


def read_meta_graph(path: str) -> Any:
    """Reads a .meta file as a MetaGraphDef.

    Raises:
        SourceError: it cannot be read or is not a MetaGraph.
    """
    meta_graph = _parse(path, tf.MetaGraphDef(), "a MetaGraph")
    _check(path, "a MetaGraph", meta_graph.graph_def, meta_graph.collection_def)
    return meta_graph


def read_graph_def(path: str) -> Any:
    """Reads a .pb or .pbtxt file as a GraphDef.

    Raises:
        SourceError: it cannot be read or is not a GraphDef.
    """
    graph_def = _parse(path, tf.GraphDef(), "a frozen graph")
    _check(path, "a frozen graph", graph_def, {})
    return graph_def


def read_saved_model(path: str) -> Any:
    """Reads a saved_model.pb or .pbtxt file as a SavedModel protocol buffer.

    Raises:
        SourceError: it cannot be read or is not a SavedModel.
    """
    saved_model = _parse(path, saved_model_pb2.SavedModel(), "a SavedModel")
    if not saved_model.meta_graphs:
        raise SourceError(f"{path}: expected a SavedModel, found one without any graph; write it anew")
    for meta_graph in saved_model.meta_graphs:
        _check(path, "a SavedModel", meta_graph.graph_def, meta_graph.collection_def)
    return saved_model


def is_text(path: str) -> bool:
    """Tells whether a protocol buffer in a file of this name is text."""
    return path.endswith(_TEXT)


def serialized(message: Any, path: str) -> bytes:
    """Returns a protocol buffer as the bytes of a file of this name; the same ones each time."""
    if is_text(path):
        return str(text_format.MessageToString(message)).encode("utf-8")
    return bytes(message.SerializeToString(deterministic=True))


def _parse(path: str, message: Any, what: str) -> Any:
    try:
        with open(path, "rb") as stream:
            content = stream.read()
        if is_text(path):
            text_format.Parse(content.decode("utf-8"), message)
        else:
            with warnings.catch_warnings():
                # Of an end where none belongs protobuf only warns, and takes what stands before it for all.
                warnings.simplefilter("error", RuntimeWarning)
                message.ParseFromString(content)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    except Exception as error:  # protobuf raises its own error types, which differ between its builds
        raise SourceError(f"{path}: expected {what}, found damaged or other data; write it anew") from error
    return message


def _check(path: str, what: str, graph_def: Any, collections: Mapping[str, Any]) -> None:
    fault = first_fault(graph_def, collections)
    if fault is not None:
        raise SourceError(f"{path}: expected {what}, found {fault}; write it anew")


def _chosen(source: Source, meta_graphs: Any, tags: Tuple[str, ...]) -> Any:
    by_tags = {tuple(sorted(meta_graph.meta_info_def.tags)): meta_graph for meta_graph in meta_graphs}
    wanted = tuple(sorted(tags)) or ((_SERVING,) if (_SERVING,) in by_tags or len(by_tags) > 1 else next(iter(by_tags)))
    if wanted not in by_tags:
        found = " and ".join(", ".join(item) or "none" for item in by_tags)
        raise SourceError(
            f"{source.path}: expected a graph with tags {', '.join(wanted)}, found those with {found}; choose by --tags"
        )
    return by_tags[wanted]


class ConstantsReader:
    """Reads a frozen graph's constants as a checkpoint's tensors are read."""

    def __init__(self, path: str, graph_def: Any) -> None:
        self.prefix = path
        self._constants = {node.name: node.attr["value"].tensor for node in graph_def.node if node.op == "Const"}

    def names(self) -> List[str]:
        """Returns the names of all constants, sorted."""
        return sorted(self._constants)

    def shape(self, name: str) -> Tuple[int, ...]:
        """Returns a constant's shape."""
        return tuple(dim.size for dim in self._constants[name].tensor_shape.dim)

    def dtype(self, name: str) -> Any:
        """Returns a constant's TensorFlow type."""
        return tf.as_dtype(self._constants[name].dtype)

    def tensor(self, name: str) -> np.ndarray:
        """Returns a constant's value.

        Raises:
            SourceError: it is damaged.
        """
        try:
            value: np.ndarray = tf.make_ndarray(self._constants[name])
        except (ValueError, TypeError, KeyError) as error:
            raise SourceError(f"{self.prefix}: expected a tensor in constant '{name}', found damaged data") from error
        return value


# What reads the tensors of a source.
Reader = Union[CheckpointReader, ConstantsReader]
