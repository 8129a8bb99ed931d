"""Whose turn it is to be updated."""

from types import SimpleNamespace
from typing import Any, Dict, List, Set

from graph_masker.engine.turns import Turns


def weight(entries: int, device: str = "") -> Any:
    return SimpleNamespace(
        entries=entries, first=SimpleNamespace(weight=SimpleNamespace(op=SimpleNamespace(device=device)))
    )


def ancestors(weights: List[Any]) -> Dict[int, Set[int]]:
    """Returns, by the index of each weight, the weights that have ended before it begins."""
    turns, after = Turns(weights), {}  # type: ignore[var-annotated]
    for index, item in enumerate(weights):
        direct = turns.before(item)
        turns.done(item, [index])
        after[index] = set(direct).union(*(after[other] for other in direct))
    return after


def together(weights: List[Any]) -> int:
    """Returns the most entries that may be in work at once, as far as pairs tell."""
    after = ancestors(weights)
    sizes = [item.entries for item in weights]
    pairs = [
        sizes[one] + sizes[other] for other in range(len(sizes)) for one in range(other) if one not in after[other]
    ]
    return max(pairs, default=0)


def test_two_weights_are_in_work_at_once() -> None:
    after = ancestors([weight(10) for _ in range(6)])
    assert [sorted(set(range(index)) - after[index]) for index in range(6)] == [[], [0], [1], [2], [3], [4]]


def test_large_weights_have_no_more_than_their_share_at_once() -> None:
    large = 4_000_000
    sizes = [large, large, 1_000_000, large, 3_000_000, 2_000_000, 2_500_000, 10, large]
    assert together([weight(size) for size in sizes]) <= large * 3 // 2
    after = ancestors([weight(size) for size in sizes])
    assert 0 in after[1] and 1 not in after[2]


def test_little_weights_share_whatever_the_largest_is() -> None:
    assert 0 not in ancestors([weight(500_000), weight(500_000)])[1]


def test_a_large_weight_keeps_one_thread_and_smaller_ones_the_other() -> None:
    weights = [weight(size) for size in (100_000, 4_000_000, 900_000, 3_900_000, 1_000_000, 1_100_000, 1_000_000)]
    order = Turns(weights).ordered(weights)
    sizes = [item.entries for item in order]
    assert sizes == [4_000_000, 1_100_000, 1_000_000, 1_000_000, 900_000, 3_900_000, 100_000]
    after = ancestors(order)
    assert all(0 not in after[index] for index in (1, 2, 3, 4)) and 0 in after[5]
    assert together(order) <= 6_000_000


def test_devices_do_not_wait_for_each_other() -> None:
    weights = [weight(8_000_000, f"/device:CPU:{index % 2}") for index in range(4)]
    assert ancestors(weights) == {0: set(), 1: set(), 2: {0}, 3: {1}}
    order = Turns(weights).ordered(weights)
    assert [item.first.weight.op.device[-1] for item in order] == ["0", "0", "1", "1"]
