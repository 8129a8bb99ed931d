"""Changes parts of a serialised protocol buffer and leaves every other byte as it is.

Parsed and serialised again, a message may have its maps in another order, and lose nothing but the bytes it was.
"""

from typing import Callable, Iterator, Sequence, Tuple

from graph_masker.errors import SourceError

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}


def edited(content: bytes, path: Sequence[int], edit: Callable[[bytes], bytes]) -> bytes:
    """Returns a message in which some submessages are replaced.

    Args:
        content: a serialised message.
        path: numbers of the fields that lead to the submessages, each of which may be repeated.
        edit: is given each of them, serialised, and returns what takes its place; the same object for no change.

    Raises:
        SourceError: the content is no message.
    """
    return b"".join(_pieces(memoryview(content), path, edit))


def _pieces(content: memoryview, path: Sequence[int], edit: Callable[[bytes], bytes]) -> Iterator[bytes]:
    position = 0
    while position < len(content):
        start = position
        number, kind, position = _key(content, position)
        size, position = _size(content, kind, position)
        end = position + size
        if end > len(content):
            raise _damaged()
        if number == path[0] and kind == _LENGTH:
            old = bytes(content[position:end])
            new = edit(old) if len(path) == 1 else edited(old, path[1:], edit)
            if new is not old and new != old:
                yield _varint(number << 3 | kind) + _varint(len(new)) + new
                position = end
                continue
        yield bytes(content[start:end])
        position = end


def _key(content: memoryview, position: int) -> Tuple[int, int, int]:
    key, position = _read_varint(content, position)
    return key >> 3, key & 7, position


def _size(content: memoryview, kind: int, position: int) -> Tuple[int, int]:
    """Returns the size of a field's value, and where it begins."""
    if kind == _LENGTH:
        return _read_varint(content, position)
    if kind == _VARINT:
        return _read_varint(content, position)[1] - position, position
    if kind in _FIXED:
        return _FIXED[kind], position
    raise _damaged()


def _read_varint(content: memoryview, position: int) -> Tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(content):
            break
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _damaged()


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _damaged() -> SourceError:
    return SourceError("expected a protocol buffer, found damaged or other data; write it anew")
