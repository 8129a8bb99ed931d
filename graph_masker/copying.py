"""Streams a checkpoint into another: tensors copied, multiplied, replaced, added or dropped; then checks what it wrote.

Tensors go from file to file through TensorFlow's own restore and save ops, a group at a time, so that memory
stays bounded whatever the checkpoint's size. The graphs used are ours; nothing of the model's is run.
"""

import errno
from dataclasses import dataclass, field
from typing import AbstractSet, Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker.errors import SourceError, VerificationError
from graph_masker.source import CheckpointReader, damaged, one_line, reason

_GROUP_BYTES = 256 * 2**20

# Called with bytes done and bytes in all.
Progress = Callable[[int, int], None]
# Parts that a checkpoint holds of tensors of which it does not hold all.
Parts = Mapping[str, Sequence[str]]


class Addition(NamedTuple):
    """A tensor that the source does not have; every entry of it is `fill`."""

    dtype: tf.DType
    shape: Tuple[int, ...]
    fill: float


@dataclass(frozen=True)
class Changes:
    """What the new checkpoint has otherwise than the source. Everything it does not name is copied, bit for bit.

    Attributes:
        dropped: keys that the new checkpoint does not have.
        products: mask by key: the key's values become TensorFlow's own product of mask and values.
        replacements: function by key: it gets the key's values and returns new ones of the same dtype and shape.
        additions: new tensors by key.
    """

    dropped: AbstractSet[str] = frozenset()
    products: Mapping[str, str] = field(default_factory=dict)
    replacements: Mapping[str, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)
    additions: Mapping[str, Addition] = field(default_factory=dict)


def copy_checkpoint(
    reader: CheckpointReader,
    changes: Changes,
    prefix: str,
    progress: Optional[Progress] = None,
    parts: Optional[Parts] = None,
) -> None:
    """Writes a checkpoint with these changes, and checks that it reads back as it should.

    Args:
        reader: the source.
        changes: what differs from it.
        prefix: of the new checkpoint, in a folder of its own (see `CheckpointDestination.publishing`).
        progress: called with bytes done, and bytes in all, while writing and while checking.
        parts: what the source holds of tensors of which it does not hold all.

    Raises:
        SourceError: the source is damaged.
        OSError: the files cannot be written; `publishing` makes it a `DestinationError`.
        VerificationError: they do not read back as they should.
    """
    kept = [name for name in reader.names() if name not in changes.dropped]
    sizes = {name: _bytes(reader.shape(name), reader.dtype(name)) for name in kept}
    sizes.update({name: _bytes(new.shape, new.dtype) for name, new in changes.additions.items()})
    work = _Work(reader, changes, parts or {}, sizes, _Counter(2 * sum(sizes.values()), progress))
    _write(work, prefix)
    _check_written(work, prefix)


class _Counter:
    """Adds up what is done."""

    def __init__(self, total: int, progress: Optional[Progress]) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def add(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)


class _Work(NamedTuple):
    """One copy: `sizes` has the bytes of every key of the new checkpoint."""

    reader: CheckpointReader
    changes: Changes
    parts: Parts
    sizes: Mapping[str, int]
    counter: _Counter


def _bytes(shape: Tuple[int, ...], dtype: Any) -> int:
    return int(np.prod(shape, dtype=np.int64)) * max(1, dtype.size or 1)


def _groups(sizes: Mapping[str, int]) -> Iterator[List[str]]:
    group: List[str] = []
    size = 0
    for name, count in sizes.items():
        if group and size + count > _GROUP_BYTES:
            yield group
            group, size = [], 0
        group.append(name)
        size += count
    yield group


def _write(work: _Work, prefix: str) -> None:
    groups = list(_groups(work.sizes))
    pieces = [f"{prefix}.part-{number}" for number in range(len(groups))] if len(groups) > 1 else [prefix]
    try:
        for group, piece in zip(groups, pieces):
            _write_group(work, group, piece)
            work.counter.add(sum(work.sizes[name] for name in group))
        if len(pieces) > 1:
            with tf.Graph().as_default(), tf.Session(config=_local()) as session:
                session.run(tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=pieces, destination_prefix=prefix))
    except tf.errors.OpError as error:
        source = work.reader.prefix
        if "sufficient slices" in str(error):
            raise SourceError(
                f"{source}: expected whole tensors, found parts ({one_line(error)}); put the .meta file, which "
                "lists them, beside the checkpoint"
            ) from error
        # An OutOfRangeError means a source that ends too early, or a file that may not grow as large as it should.
        if error.op is not None and error.op.type == "RestoreV2":
            raise damaged(source, error) from error
        raise OSError(errno.EIO, reason(error)) from error


def _write_group(work: _Work, group: Sequence[str], prefix: str) -> None:
    saved = [(name, part) for name in group for part in work.parts.get(name, [""])]
    with tf.Graph().as_default(), tf.device("/cpu:0"):
        values = _restored(work, [item for item in saved if item[0] not in work.changes.additions])
        for name in work.changes.additions.keys() & set(group):
            new = work.changes.additions[name]
            values[name, ""] = tf.fill(new.shape, tf.cast(new.fill, new.dtype))
        keys, parts = zip(*saved)
        tensors = [values[item] for item in saved]
        save = tf.raw_ops.SaveV2(prefix=prefix, tensor_names=list(keys), shape_and_slices=list(parts), tensors=tensors)
        with tf.Session(config=_local()) as session:
            session.run(save)


def _restored(work: _Work, wanted: Sequence[Tuple[str, str]]) -> Dict[Tuple[str, str], Any]:
    """Returns the new values of keys and parts of the source, as tensors of the default graph."""
    products, replacements = work.changes.products, work.changes.replacements
    masks = sorted({products[name] for name, _ in wanted if name in products})
    read = [*wanted, *((mask, "") for mask in masks)]
    if not read:
        return {}
    keys, parts = zip(*read)
    types = [work.reader.dtype(key) for key in keys]
    restored = tf.raw_ops.RestoreV2(
        prefix=work.reader.prefix, tensor_names=list(keys), shape_and_slices=list(parts), dtypes=types
    )
    values = dict(zip(read, restored))
    new = {}
    for key, part in wanted:
        value = values[key, part]
        if key in products:
            # The very product of the masked graph, so that the folded weights are its bits.
            value = tf.multiply(values[products[key], ""], value)
        elif key in replacements:
            value = tf.ensure_shape(tf.py_func(replacements[key], [value], value.dtype), work.reader.shape(key))
        new[key, part] = value
    return new


def _local() -> tf.ConfigProto:
    return tf.ConfigProto(device_count={"GPU": 0})


def _check_written(work: _Work, prefix: str) -> None:
    """Rereads what was written and compares every tensor with what it should be, bit for bit."""
    reader, changes, written = work.reader, work.changes, CheckpointReader(prefix)
    if set(written.names()) != work.sizes.keys():
        raise VerificationError(f"{prefix}: expected {len(work.sizes)} tensors, found {len(written.names())}")
    for name, size in work.sizes.items():
        for part in work.parts.get(name, [""]):
            found = written.part(name, part) if part else written.tensor(name)
            if name in changes.additions:
                new = changes.additions[name]
                expected = np.full(new.shape, new.fill, new.dtype.as_numpy_dtype)
            else:
                expected = reader.part(name, part) if part else reader.tensor(name)
            if name in changes.products:
                expected = reader.tensor(changes.products[name]) * expected
            elif name in changes.replacements:
                expected = changes.replacements[name](expected)
            if not same_bits(expected, found):
                raise VerificationError(f"{prefix}: '{name}' does not read back as it was written; is the disk sound?")
        work.counter.add(size)


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    """Tells whether two arrays have the same type, shape and bits. NaNs compare by their bits."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype == object:
        return bool(np.array_equal(left, right))
    return bool(left.tobytes() == right.tobytes())
