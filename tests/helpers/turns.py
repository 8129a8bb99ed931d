"""Cases that are many: some in `make test`, all in `make test-all`."""

from typing import Any, Iterable, List, Sequence

import pytest


def in_turns(cases: Iterable[Any], kinds: Sequence[Any], name: Any = str) -> List[Any]:
    """Returns every case with every kind. All but one kind of each case, the next one for the next case, are slow.

    Args:
        cases: values.
        kinds: values.
        name: what makes a case's name.
    """
    return [
        pytest.param(case, kind, id=f"{name(case)}-{kind}", marks=() if _is_turn(number, index, kinds) else _SLOW)
        for number, case in enumerate(cases)
        for index, kind in enumerate(kinds)
    ]


def _is_turn(number: int, index: int, kinds: Sequence[Any]) -> bool:
    return number % len(kinds) == index


_SLOW = pytest.mark.slow


def representatives(cases: Iterable[Any], quick: Iterable[Any]) -> List[Any]:
    """Returns all cases; those that are not among the quick ones are slow.

    Raises:
        AssertionError: a quick one is no case.
    """
    cases, quick = list(cases), list(quick)
    assert not [case for case in quick if case not in cases]
    return [pytest.param(case, marks=() if case in quick else _SLOW) for case in cases]
