"""Writes tensors that are the same value over and over, many at a time."""

import os
from typing import IO, Any, Callable, Dict, List, Mapping, Tuple

import google_crc32c
import numpy as np

from graph_masker.files import checksums
from graph_masker.files.changes import Addition
from graph_masker.files.source import bytes_of
from graph_masker.tf_compat.bundles import BundleEntryProto

_BUFFER = 2**20
# Bytes, and pieces of them, that are written at once.
_BATCH, _PIECES = 64 * 2**20, 512


def fill(additions: Mapping[str, Addition], out: IO[bytes], advance: Callable[[int], None]) -> Dict[str, Any]:
    """Appends new tensors to a shard; returns their BundleEntryProtos, but for the number of the shard.

    Args:
        additions: by key.
        out: the shard, unbuffered.
        advance: called with the numbers of bytes that were written.

    Raises:
        OSError: they cannot be written.
    """
    entries: Dict[str, Any] = {}
    buffers: Dict[Tuple[Any, float], np.ndarray] = {}
    position, waiting, size = out.tell(), [], 0
    for name, new in additions.items():
        kind = (new.dtype, new.fill)
        if kind not in buffers:
            buffers[kind] = _repeated(new)
        count, crc = bytes_of(new.shape, new.dtype), 0
        for start in range(0, count, _BUFFER):
            piece = buffers[kind][: count - start]
            crc = google_crc32c.extend(crc, piece)
            waiting.append(piece)
            size += len(piece)
            if size >= _BATCH or len(waiting) == _PIECES:
                _write(waiting, out, advance)
                waiting, size = [], 0
        entries[name] = _entry(new, position, count, crc)
        position += count
    _write(waiting, out, advance)
    return entries


def _repeated(new: Addition) -> np.ndarray:
    # By way of float64: numpy fills no array of bfloat16.
    value = np.array([new.fill]).astype(new.dtype.as_numpy_dtype).tobytes()
    return np.frombuffer(value * (_BUFFER // len(value)), np.uint8)


def _write(pieces: List[np.ndarray], out: IO[bytes], advance: Callable[[int], None]) -> None:
    while pieces:
        # A disk that fills up takes less than it is given.
        done = os.writev(out.fileno(), pieces)
        advance(done)
        while pieces and done >= len(pieces[0]):
            done -= len(pieces.pop(0))
        if done:
            pieces[0] = pieces[0][done:]


def _entry(new: Addition, offset: int, size: int, crc: int) -> Any:
    entry = BundleEntryProto(dtype=new.dtype.as_datatype_enum, offset=offset, size=size, crc32c=checksums.masked(crc))
    # A shape without axes is there, too.
    entry.shape.SetInParent()
    for axis in new.shape:
        entry.shape.dim.add(size=axis)
    return entry
