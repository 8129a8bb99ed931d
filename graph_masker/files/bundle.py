"""What a checkpoint of the second format consists of: an index, and shards of data that it points into.

A tensor's bytes lie in one shard in one piece, and the index holds their checksum. A tensor saved in parts (a
partitioned variable) has an entry that lists its parts, and an entry for each part, whose key holds name and place.
"""

import os
import sys
from dataclasses import dataclass
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from graph_masker.files.table import read_table, write_table
from graph_masker.tf_compat.bundles import BundleEntryProto, BundleHeaderProto, DecodeError

_WHOLE = -1


class Tensor(NamedTuple):
    """A tensor's name, and which part of it is meant, as savers write it: "4 5 0,2:-"; all of it, ""."""

    name: str
    part: str = ""


@dataclass(frozen=True)
class Index:
    """An index.

    Attributes:
        header: BundleHeaderProto: number of shards, order of bytes, version.
        entries: BundleEntryProto by key. Keys are bytes: those of parts are no text.
        tensors: what the keys mean.
    """

    header: Any
    entries: Mapping[bytes, Any]
    tensors: Mapping[bytes, Tensor]

    def stored(self) -> List[Tuple[bytes, Any]]:
        """Returns the entries that have bytes of their own, in the order in which these lie in the shards."""
        found = [(key, entry) for key, entry in self.entries.items() if not entry.slices]
        return sorted(found, key=lambda item: (item[1].shard_id, item[1].offset, item[0]))


def index_of(header: Any, entries: Mapping[bytes, Any]) -> Index:
    """Returns the index of these records."""
    return Index(header, entries, {key: _tensor(key, entries) for key in entries})


def data_path(prefix: str, shard: int, shards: int) -> str:
    """Returns the path of a shard."""
    return f"{prefix}.data-{shard:05d}-of-{shards:05d}"


def read_index(prefix: str) -> Optional[Index]:
    """Reads an index, or returns None where only TensorFlow can: compressed, or written on another kind of processor.

    TensorFlow must have read it before, which checks its checksums.
    """
    try:
        with open(prefix + ".index", "rb") as stream:
            items = dict(read_table(stream.read()))
        header = BundleHeaderProto.FromString(items.pop(b""))
        if header.endianness != BundleHeaderProto.Endianness.Value(sys.byteorder.upper()):
            return None
        entries = {key: BundleEntryProto.FromString(value) for key, value in items.items()}
        if any(entry.offset < 0 or entry.size < 0 for entry in entries.values()):
            return None  # Forged; TensorFlow says so.
        return index_of(header, entries)
    except (FileNotFoundError, LookupError, ValueError, DecodeError):
        return None


def write_index(prefix: str, index: Index) -> None:
    """Writes an index."""
    items = [(b"", index.header), *sorted(index.entries.items())]
    with open(prefix + ".index", "wb") as stream:
        stream.write(write_table((key, record.SerializeToString()) for key, record in items))


def _tensor(key: bytes, entries: Mapping[bytes, Any]) -> Tensor:
    if not key.startswith(b"\0"):
        return Tensor(key.decode())
    # In the encoding of keys that sort as what they mean: a zero, the name, the number of axes, and for each axis where
    # the part begins and how long it is.
    end = _end_of_text(key, 1)
    name = key[1:end].replace(b"\0\xff", b"\0").replace(b"\xff\0", b"\xff")
    axes, position = key[end + 3], end + 4
    cuts = []
    for _ in range(axes):
        start, position = _signed(key, position)
        length, position = _signed(key, position)
        cuts.append("-" if length == _WHOLE else f"{start},{length}")
    return Tensor(name.decode(), _part([axis.size for axis in entries[name].shape.dim], cuts))


def _part(shape: Sequence[int], cuts: Sequence[str]) -> str:
    return " ".join(map(str, shape)) + " " + ":".join(cuts)


def _end_of_text(key: bytes, position: int) -> int:
    while key[position : position + 2] != b"\0\1":
        position += 2 if key[position] in (0, 255) else 1
    return position


def _signed(key: bytes, position: int) -> Tuple[int, int]:
    """Reads a number, whose first byte begins with as many ones as it has bytes; returns it and the position behind."""
    first = key[position]
    if first < 0x80:
        return first - 0x80, position + 1
    length = 8 - (first ^ 0xFF).bit_length()
    value = int.from_bytes(key[position : position + length], "big")
    return value & ((1 << 7 * length) - 1), position + length


def slices_of(part: str) -> Tuple[slice, ...]:
    """Returns a part's place in its tensor."""
    cuts = part.rpartition(" ")[2].split(":") if part else []
    bounds = [None if cut == "-" else [int(number) for number in cut.split(",")] for cut in cuts]
    return tuple(slice(None) if bound is None else slice(bound[0], sum(bound)) for bound in bounds)


def data_files(prefix: str) -> Tuple[str, ...]:
    """Returns the files that hold a checkpoint's tensors."""
    folder, name = os.path.split(os.path.abspath(prefix))
    return tuple(sorted(os.path.join(folder, item) for item in os.listdir(folder) if item.startswith(f"{name}.data-")))
