"""CRC-32C, as checkpoints hold it: of small things byte by byte, and of what repeats without looking at all of it."""

from typing import List, Optional, Sequence

# CRC-32C (Castagnoli), reflected.
_POLYNOMIAL = 0x82F63B78
# Stored checksums are rotated and moved by this, since checksums of data that holds checksums are weak.
_MASK_DELTA = 0xA282EAD8

_crc_table: Optional[List[int]] = None


def crc32c(content: bytes) -> int:
    """Returns the CRC-32C of some bytes; for small ones only (ten megabytes per second)."""
    table, value = _table(), 0xFFFFFFFF
    for byte in content:
        value = table[(value ^ byte) & 255] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def crc32c_of_repeated(pattern: bytes, count: int) -> int:
    """Returns the CRC-32C of `count` patterns in a row; the time it takes grows with the count's logarithm only.

    The checksum of two things in a row is that of the first, moved on by the length of the second, xor that of the
    second. Moving on is linear in the checksum's bits: `step` holds what becomes of each of the 32.
    """
    found, crc, step = 0, crc32c(pattern), [_moved(1 << bit, len(pattern)) for bit in range(32)]
    # Of 1, 2, 4, ... patterns; those that the count is the sum of are taken.
    while count:
        if count & 1:
            found = _times(step, found) ^ crc
        crc, step = _times(step, crc) ^ crc, [_times(step, column) for column in step]
        count >>= 1
    return found


def masked(crc: int) -> int:
    """Returns a checksum as it is stored."""
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _moved(value: int, length: int) -> int:
    table = _table()
    for _ in range(length):
        value = table[value & 255] ^ (value >> 8)
    return value


def _times(matrix: Sequence[int], vector: int) -> int:
    found = 0
    for column in matrix:
        if vector & 1:
            found ^= column
        vector >>= 1
    return found


def _table() -> List[int]:
    global _crc_table
    if _crc_table is None:
        _crc_table = [_shifted(byte) for byte in range(256)]
    return _crc_table


def _shifted(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
    return value
