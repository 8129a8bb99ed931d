"""Damages a file in one of the ways that disks, networks and people damage files; the same way for the same seed."""

import random
from typing import Callable, Dict


def _flip_bit(content: bytearray, chance: random.Random) -> None:
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def _change_bytes(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice([1, 1, 2, 8, 64])):
        content[chance.randrange(len(content))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])


def _truncate(content: bytearray, chance: random.Random) -> None:
    del content[chance.choice([0, 1, chance.randrange(len(content)), len(content) - 1]) :]


def _swap(content: bytearray, chance: random.Random) -> None:
    size = min(chance.choice([1, 4, 64, 4096]), max(1, len(content) // 2))
    one, other = (chance.randrange(max(1, len(content) - size)) for _ in range(2))
    content[one : one + size], content[other : other + size] = content[other : other + size], content[one : one + size]


def _zero(content: bytearray, chance: random.Random) -> None:
    begin = chance.randrange(len(content))
    end = min(len(content), begin + chance.choice([1, 16, 512, 4096]))
    content[begin:end] = bytes(end - begin)


def _repeat(content: bytearray, chance: random.Random) -> None:
    begin = chance.randrange(len(content))
    content[begin:begin] = content[begin : begin + chance.choice([1, 16, 512])]


def _remove(content: bytearray, chance: random.Random) -> None:
    begin = chance.randrange(len(content))
    del content[begin : begin + chance.choice([1, 16, 512])]


def _grow_number(content: bytearray, chance: random.Random) -> None:
    """Makes a varint huge, as sizes and counts are when a length is damaged."""
    begin = chance.randrange(len(content))
    content[begin : begin + 1] = b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f"[-chance.choice([2, 5, 9]) :]


WAYS: Dict[str, Callable[[bytearray, random.Random], None]] = {
    way.__name__.strip("_"): way
    for way in (_flip_bit, _change_bytes, _truncate, _swap, _zero, _repeat, _remove, _grow_number)
}


def damaged(content: bytes, seed: int) -> bytes:
    """Returns the content damaged; for some seeds a second time."""
    chance = random.Random(seed)
    result = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 2])):
        if result:
            chance.choice(list(WAYS.values()))(result, chance)
    return bytes(result)
