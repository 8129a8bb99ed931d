"""Finds what people have: checkpoints, .meta files, SavedModels, frozen graphs. Runs nothing of them."""

import enum
import os
import re
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker.errors import SourceError
from graph_masker.files.bundle import data_path, read_index

# The key of the Python objects that tf.train.Checkpoint and Keras save, beside those of their attributes.
_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
_SUFFIX = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")


class Kind(enum.Enum):
    """What a source is; the values are words for messages."""

    CHECKPOINT = "a checkpoint"
    META_GRAPH = "a .meta file"
    SAVED_MODEL = "a SavedModel"
    FROZEN = "a frozen graph"


class Source(NamedTuple):
    """Files with tensors, a graph, or both.

    Attributes:
        path: what the user named.
        kind: what that is.
        prefix: of the checkpoint's files; None where no tensors lie in files of their own.
        graph_path: of the file that holds the graph, None where there is none. Of a directory whose latest checkpoint
            has no .meta, because its run was killed, that of the one before.
    """

    path: str
    kind: Kind
    prefix: Optional[str]
    graph_path: Optional[str]


def find_source(path: str) -> Source:
    """Finds what a path means: a checkpoint's prefix, one of its files or its directory, whose latest is taken; a
    .meta file; a SavedModel's directory; a frozen graph's .pb or .pbtxt file.

    Raises:
        SourceError: nothing of the kind is there.
    """
    saved_model = _saved_model_in(path)
    if saved_model is not None:
        prefix = os.path.join(os.path.dirname(saved_model), "variables", "variables")
        return Source(path, Kind.SAVED_MODEL, prefix if os.path.isfile(prefix + ".index") else None, saved_model)
    if path.endswith((".pb", ".pbtxt")) and os.path.isfile(path):
        return Source(path, Kind.FROZEN, None, path)
    if os.path.isdir(path):
        prefix = _latest(path)
    elif path.endswith(".meta") and os.path.isfile(path):
        prefix = path[: -len(".meta")]
        has_data = tf.train.checkpoint_exists(prefix)
        return Source(path, Kind.META_GRAPH, prefix if has_data else None, path)
    else:
        prefix = _SUFFIX.sub("", path)
    if not os.path.isfile(prefix + ".index") and not os.path.isfile(prefix):
        is_folder_there = os.path.exists(os.path.dirname(prefix) or ".")
        raise SourceError(
            f"{path}: expected a checkpoint's prefix or directory, a .meta file, a SavedModel or a frozen graph's .pb, "
            f"found {f'no file {prefix}.index' if is_folder_there else 'no such folder'}"
        )
    _check_readable(prefix)
    if not os.path.isfile(prefix + ".index"):
        _check_first_format(path, prefix)
    graph_path: Optional[str] = prefix + ".meta"
    if not os.path.isfile(prefix + ".meta"):
        graph_path = _newest_meta(path) if os.path.isdir(path) else None
    return Source(path, Kind.CHECKPOINT, prefix, graph_path)


def _check_first_format(path: str, prefix: str) -> None:
    """Any file could be a checkpoint of the first format: only reading it tells."""
    try:
        CheckpointReader(prefix)
    except SourceError as error:
        raise SourceError(
            f"{path}: expected a checkpoint, a .meta file, a SavedModel or a frozen graph's .pb, found a file that "
            "is none of these, or damaged"
        ) from error


def is_saved_model(path: str) -> bool:
    """Tells whether a path is a SavedModel's directory."""
    return os.path.isdir(path) and _saved_model_in(path) is not None


def _saved_model_in(path: str) -> Optional[str]:
    """Returns the file that holds a SavedModel's graphs, where a path is a SavedModel's directory or that file."""
    names = ("saved_model.pb", "saved_model.pbtxt")
    if os.path.basename(path) in names and os.path.isfile(path):
        return path
    found = [os.path.join(path, name) for name in names if os.path.isfile(os.path.join(path, name))]
    return found[0] if found else None


def _check_readable(prefix: str) -> None:
    """Says which of a checkpoint's files may not be read: TensorFlow would take them for damaged."""
    folder, name = os.path.split(os.path.abspath(prefix))
    names = [item for item in os.listdir(folder) if item == name or _SUFFIX.sub("", item) == name]
    for path in (os.path.join(folder, item) for item in sorted(names)):
        if os.path.isfile(path) and not os.access(path, os.R_OK):
            raise SourceError(f"{path}: cannot be read: Permission denied")


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
        if "?" in os.path.basename(prefix):
            raise SourceError(
                f"{prefix}: expected a checkpoint of the second format, or of one file, found shards of the first "
                "format; restore them where they were trained, and save the model by a tf.train.Saver of version 2"
            )
    found = sorted(name for name in names if name.endswith(".index"))
    if len(found) == 1:
        return os.path.join(directory, found[0][: -len(".index")])
    if state:
        missing = "a `checkpoint` file that names one which is not there"
    else:
        missing = f"{'a damaged' if 'checkpoint' in names else 'no'} `checkpoint` file to choose"
    hint = f"{len(found)} checkpoints and {missing}; name one of them" if found else "no checkpoint"
    raise SourceError(f"{directory}: expected a checkpoint directory, found {hint}")


def bytes_of(shape: Sequence[int], dtype: Any) -> int:
    """Returns the bytes of a tensor of a shape and type; of one of strings, one for each."""
    return int(np.prod(shape, dtype=np.int64)) * max(1, dtype.size or 1)


class CheckpointReader:
    """Reads a checkpoint's tensors; every failure is a `SourceError` that names the file."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        if re.search(r"[*?[\\]", prefix):
            raise SourceError(
                f"{prefix}: expected a path without * ? [ \\, which TensorFlow takes for patterns; rename the folder"
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
            try:
                value: np.ndarray = np.asarray(self._reader.get_tensor(name))
            except tf.errors.UnimplementedError:
                # The parts of a tensor in a checkpoint of the first format.
                value = self.part(name, "")
            return value

    def part(self, name: str, spec: str) -> np.ndarray:
        """Reads a part of a tensor, given as savers write it. The rest of the tensor need not be there."""
        with _trouble(self.prefix), tf.Graph().as_default(), tf.device("/cpu:0"):
            (value,) = tf.raw_ops.RestoreV2(
                prefix=self.prefix, tensor_names=[name], shape_and_slices=[spec], dtypes=[self._types[name]]
            )
            with tf.Session(config=as_written()) as session:
                return np.asarray(session.run(value))

    def check(self, tensors: Sequence[Tuple[str, str]]) -> None:
        """Reads tensors, or parts of them, so that their checksums are checked, and forgets them."""
        others = []
        with _trouble(self.prefix):
            for name, part in tensors:
                # This takes no graph, but the way through numpy, which does not know every type.
                if not part and is_plain(self._types[name]):
                    self.tensor(name)
                else:
                    others.append((name, part))
        if not others:
            return
        names, parts = zip(*others)
        types = [self._types[name] for name in names]
        with _trouble(self.prefix), tf.Graph().as_default(), tf.device("/cpu:0"):
            values = tf.raw_ops.RestoreV2(prefix=self.prefix, tensor_names=names, shape_and_slices=parts, dtypes=types)
            with tf.Session(config=as_written()) as session:
                session.run(values[0].op)


def is_readable(prefix: str) -> bool:
    """Tells whether a prefix is that of a checkpoint whose index can be read."""
    try:
        CheckpointReader(prefix)
    except SourceError:
        return False
    return True


def is_plain(dtype: tf.DType) -> bool:
    """Tells whether each entry of a type is a number of so many bytes, for TensorFlow as for numpy."""
    return bool(dtype.is_floating or dtype.is_complex or (dtype.is_integer and not dtype.is_quantized) or dtype.is_bool)


def as_written() -> tf.ConfigProto:
    """Returns the options of a session on the processor that runs a graph as it is.

    To optimize one takes longer than to read a few tensors, and makes constants of what is the same for all entries.
    """
    config = tf.ConfigProto(device_count={"GPU": 0})
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    config.graph_options.optimizer_options.opt_level = tf.OptimizerOptions.L0
    return config


class _trouble:
    """Turns TensorFlow's errors on reading a checkpoint into one line."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, _: Any) -> None:
        if isinstance(error, (tf.errors.OpError, ValueError, RuntimeError, MemoryError)):
            raise damaged(self._prefix, error) from error


def check_named(reader: CheckpointReader) -> None:
    """Refuses a checkpoint whose keys are no names of variables, so that no graph tells what they are.

    Raises:
        SourceError: it is such a one.
    """
    if _OBJECTS in reader.names():
        raise SourceError(
            f"{reader.prefix}: expected tensors with the names of variables, as tf.train.Saver writes them, found "
            "those of Python objects (tf.train.Checkpoint, Keras' save_weights, tf.saved_model.save); restore it "
            "where it was trained, and save the model by tf.train.Saver"
        )


def open_complete(prefix: str) -> CheckpointReader:
    """Returns a reader of a checkpoint whose files are all there, as long as its index says.

    Raises:
        SourceError: they are not, the index is damaged, or its keys are no names of variables.
    """
    reader, index = CheckpointReader(prefix), read_index(prefix)
    check_named(reader)
    wanted: Dict[str, int] = {}
    if index is not None:
        for _, entry in index.stored():
            path = data_path(prefix, entry.shard_id, index.header.num_shards)
            wanted[path] = max(wanted.get(path, 0), entry.offset + entry.size)
    for path, size in sorted(wanted.items()):
        try:
            found = os.path.getsize(path)
        except OSError:
            raise SourceError(
                f"{path}: expected a file of at least {size:,} bytes, as {prefix}.index says, found none; copy the "
                "checkpoint anew from where it was trained"
            ) from None
        if found < size:
            raise SourceError(
                f"{path}: expected at least {size:,} bytes, as {prefix}.index says, found {found:,}; copy the "
                "checkpoint anew from where it was trained"
            )
    return reader


def one_line(error: Exception) -> str:
    """Returns the beginning of an error's message, in one line; ops of ours that TensorFlow names are left out."""
    return " ".join(str(getattr(error, "message", error)).partition("[[node")[0].split())[:160]


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
