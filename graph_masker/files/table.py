"""The file format of a checkpoint's index: a sorted table of keys and values, as LevelDB and TensorFlow write it.

A table is a row of blocks and a footer that points to the last one, which points to the others. In a block, a key is
stored without the beginning that it shares with the one before it; every so often, at a restart, it is whole. Since its
release 1.2 TensorFlow writes tables without compression.
"""

import itertools
import struct
from typing import Iterable, Iterator, List, NamedTuple, Sequence, Tuple

import google_crc32c

from graph_masker.files.checksums import masked

Item = Tuple[bytes, bytes]

_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
_FOOTER, _TRAILER = 48, 5
_UNCOMPRESSED = b"\0"
_BLOCK_BYTES = 2**18
_RESTART = 16


class UnreadableTableError(ValueError):
    """A table is damaged, or its blocks are compressed."""


class _Handle(NamedTuple):
    """Where a block is, without its trailer."""

    offset: int
    size: int


def read_table(content: bytes) -> List[Item]:
    """Returns the keys and values of a table, sorted.

    Raises:
        UnreadableTableError: see there.
    """
    try:
        if content[-len(_MAGIC) :] != _MAGIC:
            raise UnreadableTableError("it has no footer")
        _, position = _handle(content, len(content) - _FOOTER)
        index, _ = _handle(content, position)
        blocks = [_handle(value, 0)[0] for _, value in _items(_block(content, index))]
        return [item for handle in blocks for item in _items(_block(content, handle))]
    except (IndexError, struct.error) as error:
        raise UnreadableTableError("it ends too early") from error


def write_table(items: Iterable[Item]) -> bytes:
    """Returns a table of sorted keys and values."""
    content = bytearray()
    last_keys: List[Item] = []
    for block in _blocks(items):
        last_keys.append((block[-1][0], _append(content, block)))
    ends = _append(content, []) + _append(content, last_keys)
    return bytes(content) + ends.ljust(_FOOTER - len(_MAGIC), b"\0") + _MAGIC


def _blocks(items: Iterable[Item]) -> Iterator[List[Item]]:
    block: List[Item] = []
    size = 0
    for key, value in items:
        block.append((key, value))
        size += len(key) + len(value)
        if size >= _BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def _append(content: bytearray, items: Sequence[Item]) -> bytes:
    """Appends a block to a table; returns its handle."""
    start, restarts, before = len(content), [], b""
    for number, (key, value) in enumerate(items):
        if number % _RESTART == 0:
            restarts.append(len(content) - start)
            before = b""
        shared = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(key, before)))
        content += b"".join(map(_varint, (shared, len(key) - shared, len(value)))) + key[shared:] + value
        before = key
    restarts = restarts or [0]
    content += struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))
    size = len(content) - start
    content += _UNCOMPRESSED
    content += struct.pack("<I", masked(google_crc32c.value(bytes(content[start:]))))
    return _varint(start) + _varint(size)


def _block(content: bytes, handle: _Handle) -> bytes:
    """Returns the entries of a block."""
    end = handle.offset + handle.size
    if end + _TRAILER > len(content):
        raise UnreadableTableError("a block lies behind its end")
    if content[end : end + 1] != _UNCOMPRESSED:
        raise UnreadableTableError("its blocks are compressed")
    (restarts,) = struct.unpack_from("<I", content, end - 4)
    return content[handle.offset : end - 4 - 4 * restarts]


def _items(block: bytes) -> Iterator[Item]:
    position, key = 0, b""
    while position < len(block):
        shared, position = _number(block, position)
        unshared, position = _number(block, position)
        length, position = _number(block, position)
        middle, end = position + unshared, position + unshared + length
        if shared > len(key) or end > len(block):
            raise UnreadableTableError("an entry lies behind its block's end")
        key = key[:shared] + block[position:middle]
        yield key, block[middle:end]
        position = end


def _handle(content: bytes, position: int) -> Tuple[_Handle, int]:
    offset, position = _number(content, position)
    size, position = _number(content, position)
    return _Handle(offset, size), position


def _number(content: bytes, position: int) -> Tuple[int, int]:
    """Reads a varint; returns it and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise UnreadableTableError("a number is too long")


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes(found) + bytes([value])
