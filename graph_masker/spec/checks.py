"""Checks of single values. Each returns the value in its type, or raises a SpecError that says what is allowed."""

import math
import re
from typing import Any, Callable, Mapping, Optional, Sequence, Tuple

from graph_masker.errors import SpecError
from graph_masker.spec.settings import LAST_STEP


def shown(value: Any) -> str:
    """Returns a value as Python writes it, on one line and not too long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def number(name: str, value: Any) -> float:
    """Returns any real number, NaN included, as a float."""
    if isinstance(value, bool) or not hasattr(value, "__float__") or isinstance(value, str):
        raise SpecError(f"{name}: expected a number, found {shown(value)}")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise SpecError(f"{name}: expected a number, found {shown(value)}") from error


def _number_that(holds: Callable[[float], bool], expected: str, name: str, value: Any) -> float:
    result = number(name, value)
    if not holds(result):
        raise SpecError(f"{name}: expected {expected}, found {result:g}")
    return result


def sparsity(name: str, value: Any) -> float:
    """Returns a fraction of zeros, 0 <= s < 1."""
    return _number_that(lambda s: 0.0 <= s < 1.0, "a fraction of zeros with 0 <= s < 1", name, value)


def exponent(name: str, value: Any) -> float:
    """Returns a finite number above 0."""
    return _number_that(lambda x: 0.0 < x < math.inf, "a number above 0", name, value)


def decay(name: str, value: Any) -> float:
    """Returns a fraction, 0 <= d < 1."""
    return _number_that(lambda d: 0.0 <= d < 1.0, "a number with 0 <= d < 1", name, value)


def cap(name: str, value: Any) -> float:
    """Returns a fraction, 0 < m <= 1."""
    return _number_that(lambda m: 0.0 < m <= 1.0, "a fraction of zeros with 0 < m <= 1", name, value)


def steps(name: str, value: Any, least: int) -> int:
    """Returns a number of steps from `least` up to what an int32 holds."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise SpecError(f"{name}: expected a whole number of steps, found {shown(value)}")
    result = int(value.__index__())
    if result < least:
        raise SpecError(f"{name}: expected at least {least}, found {result}")
    if result > LAST_STEP:
        raise SpecError(f"{name}: expected at most {LAST_STEP}, found {result}")
    return result


def optional_steps(name: str, value: Any, least: int) -> Optional[int]:
    """Returns None for None, and otherwise what `steps` returns."""
    return None if value is None else steps(name, value, least)


def flag(name: str, value: Any) -> bool:
    """Returns a truth value as it is."""
    if not isinstance(value, bool):
        raise SpecError(f"{name}: expected true or false, found {shown(value)}")
    return value


def choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """Returns a text that is one of `allowed`."""
    if not isinstance(value, str) or value not in allowed:
        raise SpecError(f"{name}: expected {' or '.join(allowed)}, found {shown(value)}")
    return value


def strings(name: str, value: Any) -> Tuple[str, ...]:
    """Returns one text or several as a tuple."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise SpecError(f"{name}: expected text or a list of texts, found {shown(value)}")
    return tuple(value)


def pattern(name: str, value: Any) -> str:
    """Returns a regular expression as it is."""
    if not isinstance(value, str):
        raise SpecError(f"{name}: expected a regular expression, found {shown(value)}")
    try:
        re.compile(value)
    except (re.error, RecursionError, OverflowError) as error:
        raise SpecError(f"{name}: {shown(value)} is not a regular expression: {error}") from error
    return value


def patterns(name: str, value: Any) -> Tuple[str, ...]:
    """Returns one regular expression or several as a tuple."""
    return tuple(pattern(name, item) for item in strings(name, value))


def known_keys(what: str, values: Mapping[Any, Any], known: Sequence[str]) -> None:
    """Raises where a mapping has a key that is not known.

    Args:
        what: empty, or what the mapping stands for, to begin the message with.
    """
    unknown = sorted(str(key) for key in values if key not in known)
    if unknown:
        raise SpecError(f"{what}unknown key {', '.join(unknown)}: allowed are {', '.join(known)}")
