"""The steps of mask updates, from whole numbers alone."""

from typing import List, Optional


def count_updates(begin: int, end: int, frequency: int) -> int:
    """Returns how many updates there are: at `begin`, every `frequency` steps after it, and at `end`."""
    return -(-(end - begin) // frequency) + 1


def scheduled(begin: int, end: Optional[int], frequency: int, until: Optional[int]) -> List[int]:
    """Returns the steps of all updates, up to and with `until`.

    Args:
        begin: step of the first update.
        end: step of the last one, at least `begin`; None where there is no last one.
        frequency: steps between two.
        until: None: all of them, for which `end` is needed.
    """
    if end is None:
        if until is None:
            raise ValueError("a schedule without an end needs a last step to look at")
        return list(range(begin, until + 1, frequency))
    if until is not None and until < end:
        return list(range(begin, until + 1, frequency))
    return [*range(begin, end, frequency), end]
