"""fold_checkpoint: a masked checkpoint becomes a plain one, with the original model's names.

Tensors go from file to file through TensorFlow's own restore and save ops, a group at a time, so that memory
stays bounded whatever the checkpoint's size. The graph used is ours; nothing of the model's is run.
"""

import glob
import json
import os
import shutil
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple, Union

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker import files, tf_compat
from graph_masker.errors import DestinationError, SourceError, VerificationError
from graph_masker.masks import MaskNames, find_masks
from graph_masker.source import (
    CheckpointReader,
    damaged,
    find_source,
    incomplete_tensors,
    one_line,
    read_meta_graph,
    reason,
)

_GROUP_BYTES = 256 * 2**20

Progress = Callable[[int, int], None]
# Parts that a checkpoint holds of tensors of which it does not hold all.
Parts = Mapping[str, Sequence[str]]
_Item = Union[str, "NewTensor"]


@dataclass(frozen=True)
class FoldedWeight:
    """One weight after folding: its key, number of entries and of zeros."""

    variable: str
    entries: int
    zeros: int


@dataclass(frozen=True)
class FoldResult:
    """What `fold_checkpoint` wrote.

    Attributes:
        prefix: of the new checkpoint.
        weights: all folded weights; moving averages and other copies of a weight are in `copies`.
        copies: keys of moving averages folded along with their weights.
        dropped: keys of the source that the plain checkpoint does not have.
    """

    prefix: str
    weights: Tuple[FoldedWeight, ...]
    copies: Tuple[str, ...]
    dropped: Tuple[str, ...]

    @property
    def sparsity(self) -> float:
        """Fraction of zeros over all folded weights."""
        return sum(weight.zeros for weight in self.weights) / max(1, sum(weight.entries for weight in self.weights))


def fold_checkpoint(src: str, dst: str, progress: Optional[Progress] = None) -> FoldResult:
    """Multiplies masks into weights and their moving averages, and drops masks, thresholds and the update step.

    Args:
        src: prefix of a masked checkpoint, or a checkpoint directory, whose latest is taken.
        dst: prefix of the new checkpoint, or, where `src` is a directory, a new directory.
        progress: called with bytes done and bytes in all.

    Raises:
        SourceError: the source is missing or damaged, or holds no masks.
        DestinationError: the destination exists or cannot be written.
        VerificationError: what was written does not read back as it should. Nothing is left behind.
    """
    source = find_source(src)
    if source.prefix is None:
        raise SourceError(f"{src}: expected a checkpoint with data, found only a .meta file")
    to_directory = os.path.isdir(src)
    prefix = new_prefix(source.prefix, dst, to_directory)
    reader = CheckpointReader(source.prefix)
    meta_graph = None if source.meta_path is None else read_meta_graph(source.meta_path)
    names = find_masks(reader, _collections(meta_graph))
    if not names.masks:
        raise SourceError(f"{source.prefix}: expected a masked checkpoint, found no masks in it; nothing to fold")
    with files.staging_directory(dst if to_directory else prefix) as staged:
        staged_prefix = os.path.join(staged, os.path.basename(prefix))
        parts = {} if meta_graph is None else incomplete_tensors(meta_graph)
        kept = [name for name in reader.names() if name not in names.state]
        copy_checkpoint(reader, kept, staged_prefix, parts, mask_of=names.mask_of, progress=progress)
        weights = _check_written(reader, names, parts, staged_prefix)
        publish(staged, dst, prefix, to_directory)
    return FoldResult(prefix, weights, tuple(sorted(names.copies)), tuple(sorted(names.state)))


def _collections(meta_graph: Any) -> Dict[str, str]:
    """Returns weight by mask as the graph of the .meta file pairs them; empty without one."""
    if meta_graph is None:
        return {}
    view = tf_compat.view_of_meta_graph(meta_graph)
    return {record.mask: record.variable for record in view.masks.values()}


def new_prefix(source: str, dst: str, to_directory: bool) -> str:
    """Returns the prefix of a new checkpoint.

    Args:
        source: prefix of the one that it is made of.
        dst: a new directory, where the source was named by its directory; else the prefix.
        to_directory: which of the two.

    Raises:
        DestinationError: it has no name, or one that is taken.
    """
    prefix = os.path.join(dst, os.path.basename(source) or "model.ckpt") if to_directory else dst
    if not dst:
        raise DestinationError("DST: expected the name of a new checkpoint, found an empty one")
    if to_directory or os.path.isdir(dst):
        taken = [dst]
    else:
        taken = [prefix + ".index", prefix + ".meta", *glob.glob(glob.escape(prefix) + ".data-*")]
    for path in taken:
        if os.path.lexists(path):
            raise DestinationError(f"{path}: exists already; name a new destination or remove it")
    if not os.path.basename(prefix):
        raise DestinationError(f"{dst}: expected the prefix of a new checkpoint, such as {dst}model.ckpt-0")
    return prefix


@dataclass(frozen=True)
class NewTensor:
    """A tensor that a copied checkpoint has beside those of its source: one value in every entry."""

    key: str
    dtype: Any
    shape: Tuple[int, ...]
    value: int


def copy_checkpoint(
    reader: CheckpointReader,
    keys: Sequence[str],
    prefix: str,
    parts: Parts,
    added: Sequence[NewTensor] = (),
    mask_of: Optional[Mapping[str, str]] = None,
    progress: Optional[Progress] = None,
) -> None:
    """Writes some tensors of a checkpoint to a new one, a group at a time.

    Args:
        reader: the source.
        keys: what to copy.
        prefix: of the new checkpoint, in a staging directory.
        parts: what `incomplete_tensors` tells of the source's graph.
        added: tensors that the source does not have.
        mask_of: mask by key: these are multiplied by their masks on the way.
        progress: called with bytes done and bytes in all.

    Raises:
        SourceError, DestinationError: the source cannot be read, or the copy not be written.
    """
    items: List[_Item] = [*keys, *added]
    sizes = [_bytes(reader, item) for item in items]
    groups = list(_groups(items, sizes))
    total = sum(sizes)
    done = 0
    prefixes = [f"{prefix}.part-{number}" for number in range(len(groups))] if len(groups) > 1 else [prefix]
    try:
        for group, part in zip(groups, prefixes):
            _write_group(reader, group, part, parts, mask_of or {})
            done += sum(_bytes(reader, item) for item in group)
            if progress is not None:
                progress(done, total)
        if len(prefixes) > 1:
            with tf.Graph().as_default(), tf.Session(config=_local()) as session:
                session.run(tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=prefixes, destination_prefix=prefix))
    except tf.errors.OpError as error:
        if "sufficient slices" in str(error):
            raise SourceError(
                f"{reader.prefix}: expected whole tensors, found parts ({one_line(error)}); put the .meta file, which "
                "lists them, beside the checkpoint"
            ) from error
        # An OutOfRangeError means a source that ends too early, or a file that may not grow as large as it should.
        if error.op is not None and error.op.type == "RestoreV2":
            raise damaged(reader.prefix, error) from error
        folder = os.path.dirname(os.path.dirname(prefix))
        raise DestinationError(f"{folder}: cannot be written: {reason(error)}") from error


def _groups(items: Sequence[_Item], sizes: Sequence[int]) -> Iterator[List[_Item]]:
    group: List[_Item] = []
    size = 0
    for item, count in zip(items, sizes):
        if group and size + count > _GROUP_BYTES:
            yield group
            group, size = [], 0
        group.append(item)
        size += count
    yield group


def _bytes(reader: CheckpointReader, item: _Item) -> int:
    if isinstance(item, NewTensor):
        shape, dtype = item.shape, item.dtype
    else:
        shape, dtype = reader.shape(item), reader.dtype(item)
    return int(np.prod(shape, dtype=np.int64)) * max(1, dtype.size or 1)


def _write_group(
    reader: CheckpointReader, group: Sequence[_Item], prefix: str, incomplete: Parts, mask_of: Mapping[str, str]
) -> None:
    kept = [item for item in group if isinstance(item, str)]
    added = [item for item in group if isinstance(item, NewTensor)]
    masks = sorted({mask_of[name] for name in kept if name in mask_of})
    saved = [(name, part) for name in kept for part in incomplete.get(name, [""])]
    wanted = [*saved, *((mask, "") for mask in masks)]
    with tf.Graph().as_default(), tf.device("/cpu:0"):
        values: Dict[Tuple[str, str], Any] = {}
        if wanted:
            keys, parts = zip(*wanted)
            types = [reader.dtype(key) for key in keys]
            restored = tf.raw_ops.RestoreV2(
                prefix=reader.prefix, tensor_names=list(keys), shape_and_slices=list(parts), dtypes=types
            )
            values = dict(zip(wanted, restored))
        # The very product of the masked graph, so that the folded weights are its bits.
        tensors = [
            tf.multiply(values[mask_of[key], ""], values[key, part]) if key in mask_of else values[key, part]
            for key, part in saved
        ]
        tensors.extend(tf.fill(item.shape, tf.constant(item.value, item.dtype)) for item in added)
        keys, parts = zip(*saved, *((item.key, "") for item in added))
        save = tf.raw_ops.SaveV2(prefix=prefix, tensor_names=list(keys), shape_and_slices=list(parts), tensors=tensors)
        with tf.Session(config=_local()) as session:
            session.run(save)


def _local() -> tf.ConfigProto:
    return tf.ConfigProto(device_count={"GPU": 0})


def _check_written(
    reader: CheckpointReader, names: MaskNames, incomplete: Parts, prefix: str
) -> Tuple[FoldedWeight, ...]:
    """Rereads what was written and compares every tensor with what it should be, bit for bit."""
    written = CheckpointReader(prefix)
    expected: Set[str] = set(reader.names()) - names.state
    if set(written.names()) != expected:
        raise VerificationError(f"{prefix}: expected {len(expected)} tensors, found {len(written.names())}")
    weights = []
    for name in sorted(expected):
        if name not in names.mask_of:
            check_copied(reader, written, name, incomplete)
            continue
        mask = reader.tensor(names.mask_of[name])
        if not np.all((mask == 0) | (mask == 1)):
            raise SourceError(f"{reader.prefix}: expected zeros and ones in '{names.mask_of[name]}', found others")
        check_same(mask * reader.tensor(name), written.tensor(name), name, prefix)
        if name in names.masks.values():
            weights.append(FoldedWeight(name, mask.size, int(np.sum(mask == 0))))
    return tuple(weights)


def check_copied(reader: CheckpointReader, written: CheckpointReader, name: str, incomplete: Parts) -> None:
    """Raises a VerificationError where a copied tensor does not read back as it is in the source."""
    for part in incomplete.get(name, [""]):
        source, found = ((item.part(name, part) if part else item.tensor(name)) for item in (reader, written))
        check_same(source, found, name, written.prefix)


def check_same(source: np.ndarray, found: np.ndarray, name: str, prefix: str) -> None:
    """Raises a VerificationError where a tensor does not read back as it was written."""
    if not same_bits(source, found):
        raise VerificationError(f"{prefix}: '{name}' does not read back as it was written; is the disk sound?")


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    """Tells whether two arrays have the same type, shape and bits. NaNs compare by their bits."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype == object:
        return bool(np.array_equal(left, right))
    return bool(left.tobytes() == right.tobytes())


def publish(staged: str, dst: str, prefix: str, to_directory: bool) -> None:
    """Moves the complete files to their names: data first, the index, without which there is no checkpoint, last."""
    name = os.path.basename(prefix)
    state = os.path.join(staged, "checkpoint")
    try:
        with open(state, "w", encoding="utf-8") as stream:
            stream.write(f"model_checkpoint_path: {json.dumps(name)}\nall_model_checkpoint_paths: {json.dumps(name)}\n")
        written = sorted(os.listdir(staged), key=lambda item: (item == "checkpoint", item.endswith(".index"), item))
        for item in written:
            files.sync(os.path.join(staged, item))
        if to_directory:
            finished = os.path.join(staged, "finished")
            os.mkdir(finished)
            for item in written:
                os.rename(os.path.join(staged, item), os.path.join(finished, item))
            shutil.copymode(os.path.dirname(os.path.abspath(dst)), finished)
            files.move_into_place(finished, dst)
            return
        folder = os.path.dirname(os.path.abspath(prefix))
        for item in written:
            # A state file that is there belongs to other checkpoints; it is left as it is.
            if item != "checkpoint" or not os.path.exists(os.path.join(folder, item)):
                files.move_into_place(os.path.join(staged, item), os.path.join(folder, item))
    except OSError as error:
        raise DestinationError(f"{dst}: cannot be written: {error.strerror}") from error
