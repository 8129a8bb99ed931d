"""Computes the tensors that change, in graphs of ours, and lets TensorFlow save them as small checkpoints."""

import errno
import threading
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker.errors import VerificationError
from graph_masker.files.bundle import Tensor, slices_of
from graph_masker.files.changes import Changes
from graph_masker.files.source import CheckpointReader, as_written, damaged, reason

# What a program saves: a tensor that it reads; a product of two that it reads, mask first; one that it is given.
_READ, _PRODUCT, _GIVEN = "read", "product", "given"


class _Saved(NamedTuple):
    """One tensor that is saved: what it is, its type, and which of those that are read it is made of."""

    what: str
    dtype: tf.DType
    read: Tuple[int, ...] = ()


class _Structure(NamedTuple):
    """What two batches have in common that the same program serves."""

    read: Tuple[tf.DType, ...]
    saved: Tuple[_Saved, ...]


class _Program(NamedTuple):
    """A graph that reads, multiplies and saves tensors whose names it is given; building one takes milliseconds."""

    session: tf.Session
    # Of what is read, and of what is saved: names and parts; where it is saved.
    names: Any
    parts: Any
    new_names: Any
    new_parts: Any
    prefix: Any
    restored: List[Any]
    given: List[Any]
    save: Any


class Computer:
    """Computes and saves batches of tensors; in any thread."""

    def __init__(self, reader: CheckpointReader, changes: Changes) -> None:
        self._reader, self._changes = reader, changes
        self._programs: Dict[_Structure, _Program] = {}
        self._building = threading.Lock()

    def save(self, tensors: Sequence[Tensor], prefix: str) -> None:
        """Saves what becomes of some tensors of the source, or of parts of them, as a checkpoint.

        Raises:
            SourceError: the source is damaged.
            OSError: the checkpoint cannot be written.
        """
        try:
            self._save(tensors, prefix)
        except tf.errors.OpError as error:
            # An OutOfRangeError means a source that ends too early, or a file that may not grow as large as it should.
            if error.op is not None and error.op.type == "RestoreV2":
                raise damaged(self._reader.prefix, error) from error
            raise OSError(errno.EIO, reason(error)) from error

    def close(self) -> None:
        """Frees what batches to come would have used."""
        for program in self._programs.values():
            program.session.close()

    def _save(self, tensors: Sequence[Tensor], prefix: str) -> None:
        products, replacements = self._changes.products, self._changes.replacements
        # Tensors to be read, each once, and where among them each is.
        read: Dict[Tensor, int] = {}
        saved, given, masks = [], [], {}
        for item in tensors:
            dtype = self._reader.dtype(item.name)
            if item.name in replacements:
                given.append(self._replaced(item))
                saved.append(_Saved(_GIVEN, dtype))
                continue
            places = [read.setdefault(item, len(read))]
            if item.name in products:
                mask = Tensor(products[item.name], item.part)
                masks[item] = read.setdefault(mask, len(read))
                places.insert(0, masks[item])
            saved.append(_Saved(_PRODUCT if item in masks else _READ, dtype, tuple(places)))
        program = self._program(_Structure(tuple(self._reader.dtype(item.name) for item in read), tuple(saved)))
        feeds = dict(zip(program.given, given))
        feeds.update({program.new_names: [item.name for item in tensors], program.prefix: prefix})
        feeds[program.new_parts] = [item.part for item in tensors]
        if read:
            feeds.update({program.names: [item.name for item in read], program.parts: [item.part for item in read]})
        _, seen = program.session.run([program.save, {item: program.restored[at] for item, at in masks.items()}], feeds)
        for item, values in seen.items():
            self._changes.seen(item.name, values)

    def _program(self, structure: _Structure) -> _Program:
        with self._building:
            if structure not in self._programs:
                self._programs[structure] = self._built(structure)
            return self._programs[structure]

    def _built(self, structure: _Structure) -> _Program:
        with tf.Graph().as_default() as graph, tf.device("/cpu:0"):
            names, parts, new_names, new_parts = (tf.placeholder(tf.string, [None]) for _ in range(4))
            prefix, given, tensors = tf.placeholder(tf.string, []), [], []
            restored: List[Any] = []
            if structure.read:
                restored = tf.raw_ops.RestoreV2(
                    prefix=self._reader.prefix, tensor_names=names, shape_and_slices=parts, dtypes=structure.read
                )
            for item in structure.saved:
                if item.what == _GIVEN:
                    given.append(tf.placeholder(item.dtype))
                    tensors.append(given[-1])
                elif item.what == _PRODUCT:
                    # The very product of the masked graph, so that the folded weights are its bits.
                    mask, weight = item.read
                    tensors.append(tf.multiply(restored[mask], restored[weight]))
                else:
                    tensors.append(restored[item.read[0]])
            save = tf.raw_ops.SaveV2(prefix=prefix, tensor_names=new_names, shape_and_slices=new_parts, tensors=tensors)
            session = tf.Session(graph=graph, config=as_written())
        return _Program(session, names, parts, new_names, new_parts, prefix, restored, given, save)

    def _replaced(self, item: Tensor) -> np.ndarray:
        """Returns what takes the place of a tensor or of a part of it."""
        old = self._reader.tensor(item.name)
        new = self._changes.replacements[item.name](old)
        if (new.shape, new.dtype) != (old.shape, old.dtype):
            raise VerificationError(
                f"'{item.name}': expected new values {old.shape} of type {old.dtype}, found {new.shape}, {new.dtype}"
            )
        return new[slices_of(item.part)]
