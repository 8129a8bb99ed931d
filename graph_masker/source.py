"""Opens what people have: checkpoint prefixes, checkpoint directories, .meta files. Runs nothing of them."""

import os
import re
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Set, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker.errors import SourceError

_SUFFIX = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")


class Source(NamedTuple):
    """A checkpoint and the MetaGraph beside it; either may be absent, not both.

    Attributes:
        path: what the user named.
        prefix: of the checkpoint's files, None where there is only a .meta.
        meta_path: of the .meta file, None where there is none. Of a directory whose latest checkpoint has none, because
            its run was killed, that of the one before.
    """

    path: str
    prefix: Optional[str]
    meta_path: Optional[str]


def find_source(path: str) -> Source:
    """Finds the checkpoint that a path means: a prefix, one of its files, or the latest of a directory.

    Raises:
        SourceError: nothing of the kind is there.
    """
    if os.path.isdir(path):
        prefix = _latest(path)
    elif path.endswith(".meta") and os.path.isfile(path):
        prefix = path[: -len(".meta")]
        has_data = tf.train.checkpoint_exists(prefix)
        return Source(path, prefix if has_data else None, path)
    else:
        prefix = _SUFFIX.sub("", path)
    if not os.path.isfile(prefix + ".index") and not os.path.isfile(prefix):
        raise SourceError(
            f"{path}: expected a checkpoint prefix, a checkpoint directory or a .meta file, found "
            f"{'no file ' + prefix + '.index' if os.path.exists(os.path.dirname(prefix) or '.') else 'no such folder'}"
        )
    if not os.path.isfile(prefix + ".index"):
        CheckpointReader(prefix)  # Any file could be one of the first format: only reading it tells.
    meta_path: Optional[str] = prefix + ".meta"
    if not os.path.isfile(prefix + ".meta"):
        meta_path = _newest_meta(path) if os.path.isdir(path) else None
    return Source(path, prefix, meta_path)


def _newest_meta(directory: str) -> Optional[str]:
    """Returns the latest .meta file of a directory: a checkpoint's own is written last, and a kill may come before."""
    found = [os.path.join(directory, name) for name in os.listdir(directory) if name.endswith(".meta")]
    return max(found, key=os.path.getmtime) if found else None


def _latest(directory: str) -> str:
    """Returns the prefix of a directory's latest checkpoint: the one its state file names, or its only one."""
    try:
        names = os.listdir(directory)
        state = tf.train.get_checkpoint_state(directory)
    except OSError as error:
        raise SourceError(f"{directory}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, ValueError) as error:
        raise SourceError(f"{directory}/checkpoint: expected a state file, found other data; name a prefix") from error
    if state is not None and state.model_checkpoint_path:
        prefix = str(state.model_checkpoint_path)
        if os.path.isfile(prefix + ".index") or os.path.isfile(prefix):
            return prefix
    found = sorted(name for name in names if name.endswith(".index"))
    if len(found) == 1:
        return os.path.join(directory, found[0][: -len(".index")])
    missing = "a `checkpoint` file that names one which is not there" if state else "no `checkpoint` file to choose"
    hint = f"{len(found)} checkpoints and {missing}; name one of them" if found else "no checkpoint"
    raise SourceError(f"{directory}: expected a checkpoint directory, found {hint}")


def read_meta_graph(path: str) -> Any:
    """Reads a .meta file as a protocol buffer.

    Raises:
        SourceError: it cannot be read or is not a MetaGraph.
    """
    meta_graph = tf.MetaGraphDef()
    try:
        with open(path, "rb") as stream:
            meta_graph.ParseFromString(stream.read())
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    except Exception as error:  # protobuf raises its own error types, which differ between its builds
        raise SourceError(f"{path}: expected a MetaGraph, found damaged or other data; write it anew") from error
    if not meta_graph.graph_def.node:
        raise SourceError(f"{path}: expected a MetaGraph, found one without any op; write it anew")
    return meta_graph


def incomplete_tensors(meta_graph: Any) -> Dict[str, List[str]]:
    """Returns, for each tensor that a graph saves only parts of, these parts as savers write them: "4 5 0,2:-".

    An optimizer's slot of a partitioned variable can be one: TensorFlow 1.15 calls those of Ftrl after their part, and
    saves each as that part of a whole that nobody saves.
    """
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    parts: Dict[str, Set[str]] = {}
    for node in nodes.values():
        if node.op != "SaveV2":
            continue
        names, specs = (nodes.get(item) for item in node.input[1:3])
        if names is None or specs is None or names.op != "Const" or specs.op != "Const":
            continue
        for name, spec in zip(*(tf.make_ndarray(item.attr["value"].tensor).tolist() for item in (names, specs))):
            parts.setdefault(name.decode(), set()).add(spec.decode())
    return {name: sorted(specs) for name, specs in parts.items() if "" not in specs and not _is_whole(specs)}


def _is_whole(specs: Iterable[str]) -> bool:
    """Tells whether parts that do not overlap make a whole."""
    missing = 0
    for number, spec in enumerate(specs):
        *shape, cuts = spec.split(" ")
        sizes = [size if cut == "-" else cut.partition(",")[2] for size, cut in zip(shape, cuts.split(":"))]
        missing += (_product(shape) if number == 0 else 0) - _product(sizes)
    return missing == 0


def _product(sizes: Iterable[str]) -> int:
    return int(np.prod([int(size) for size in sizes], dtype=np.int64))


class CheckpointReader:
    """Reads a checkpoint's tensors; every failure is a `SourceError` that names the file."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        if re.search(r"[*?[]", prefix):
            raise SourceError(
                f"{prefix}: expected a path without * ? [, which TensorFlow takes for patterns; rename the folder"
            )
        with _trouble(prefix):
            # tf.train.load_checkpoint would take a prefix without a name ("folder/") for a directory.
            self._reader = tf.train.NewCheckpointReader(prefix)
            self._shapes: Dict[str, List[int]] = self._reader.get_variable_to_shape_map()
            self._types: Dict[str, Any] = self._reader.get_variable_to_dtype_map()

    def names(self) -> List[str]:
        """Returns all keys, sorted."""
        return sorted(self._shapes)

    def shape(self, name: str) -> Tuple[int, ...]:
        """Returns a tensor's shape."""
        return tuple(self._shapes[name])

    def dtype(self, name: str) -> Any:
        """Returns a tensor's TensorFlow type."""
        return self._types[name]

    def tensor(self, name: str) -> np.ndarray:
        """Reads a tensor; its checksum is checked on the way."""
        with _trouble(self.prefix):
            value: np.ndarray = np.asarray(self._reader.get_tensor(name))
            return value

    def part(self, name: str, spec: str) -> np.ndarray:
        """Reads a part of a tensor, given as savers write it. The rest of the tensor need not be there."""
        with _trouble(self.prefix), tf.Graph().as_default(), tf.device("/cpu:0"):
            (value,) = tf.raw_ops.RestoreV2(
                prefix=self.prefix, tensor_names=[name], shape_and_slices=[spec], dtypes=[self._types[name]]
            )
            with tf.Session(config=tf.ConfigProto(device_count={"GPU": 0})) as session:
                return np.asarray(session.run(value))


class _trouble:
    """Turns TensorFlow's errors on reading a checkpoint into one line."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, _: Any) -> None:
        if isinstance(error, (tf.errors.OpError, ValueError, RuntimeError, MemoryError)):
            raise damaged(self._prefix, error) from error


def one_line(error: Exception) -> str:
    """Returns the beginning of an error's message, in one line."""
    return " ".join(str(getattr(error, "message", error)).split())[:160]


def reason(error: Exception) -> str:
    """Returns why TensorFlow could not write a file: what its message says after the file's name, which may be long."""
    lines = str(getattr(error, "message", error)).splitlines() or [""]
    return lines[0].rpartition("; ")[2][:160]


def damaged(prefix: str, error: Exception) -> SourceError:
    """Returns the error to raise where TensorFlow could not read a checkpoint's files."""
    return SourceError(
        f"{prefix}: expected a complete checkpoint, found a missing, truncated or damaged file "
        f"({one_line(error)}); copy it anew from where it was trained"
    )
