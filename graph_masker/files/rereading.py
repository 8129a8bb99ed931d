"""Rereads what was written of a checkpoint: the bytes of its shards, and whether they are those of their checksums."""

from typing import Any, Callable, List, Mapping, Tuple

import google_crc32c
import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker.files.checksums import masked
from graph_masker.files.source import bytes_of, is_plain

# Read at a time. Much less, and a thread that computes meanwhile makes this one wait longer than it reads.
_BLOCK = 2**22


def reread(path: str, entries: Mapping[bytes, Any], advance: Callable[[int], None]) -> Tuple[List[bytes], List[bytes]]:
    """Returns which entries of a shard are damaged, and which TensorFlow alone can read: their bytes are no numbers.

    Args:
        path: of the shard.
        entries: BundleEntryProto by key, of those in this shard.
        advance: called with the numbers of bytes that were read.
    """
    damaged, others = [], []
    # One for all: blocks of their own would be more for the C library to keep.
    buffer, begin, held = np.empty(_BLOCK, np.uint8), 0, 0
    with open(path, "rb", buffering=0) as stream:
        for key, entry in sorted(entries.items(), key=lambda item: int(item[1].offset)):
            dtype, shape = tf.as_dtype(entry.dtype), [axis.size for axis in entry.shape.dim]
            position, end, crc = entry.offset, entry.offset + entry.size, 0
            is_known = is_plain(dtype) and bytes_of(shape, dtype) == entry.size
            while is_known and position < end:
                if not begin <= position < begin + held:
                    stream.seek(position)
                    begin, held = position, stream.readinto(buffer) or 0
                    if not held:
                        break  # The file ends too early, which shows in the checksum.
                piece = buffer[position - begin : min(end - begin, held)]
                crc = google_crc32c.extend(crc, piece)
                position += len(piece)
            if not is_known:
                others.append(key)
            elif masked(crc) != entry.crc32c:
                damaged.append(key)
            advance(entry.size)
    return damaged, others
