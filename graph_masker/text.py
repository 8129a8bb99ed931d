"""Names from files, made fit to be shown: files of strangers may call their tensors anything."""

from typing import Optional


def visible(name: str) -> str:
    r"""Returns a name with what cannot be seen, such as the end of a line, written as ``\x0a``."""
    return "".join(char if char.isprintable() else _escaped(char) for char in name)


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shortened(name: str, length: int) -> str:
    """Returns a name of at most `length` characters: the middle of a longer one is left out."""
    if len(name) <= length:
        return name
    tail = (length - 1) * 2 // 3
    return f"{name[: length - 1 - tail]}…{name[len(name) - tail :]}"


def count(number: Optional[int]) -> str:
    """Returns a number for people: whole up to a million, and above in M, G or T with four digits."""
    if number is None:
        return "unknown"
    for power, unit in ((12, "T"), (9, "G"), (6, "M")):
        if number >= 10**power:
            return f"{number / 10**power:.4g} {unit}"
    return f"{number:,}"


def share(part: Optional[int], whole: Optional[int]) -> str:
    """Returns a part as percent of a whole."""
    if part is None or not whole:
        return "unknown"
    return f"{100 * part / whole:.1f}%"
