"""The benchmarks' own tools: the stopwatch, the budgets and the page. Nothing here depends on how fast anything is."""

import gc
import sys
from types import SimpleNamespace
from typing import Iterator

import pytest

from benchmarks.budgets import Budget, Outcome, markdown_table, outcomes_markdown, outcomes_table
from benchmarks.page import HEAD, replace_section, write_section
from benchmarks.rewriting import measuring, summary
from benchmarks.stopwatch import Stopwatch

BUDGET = Budget("share", "a share", 0.08, "{:.1%}")


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def hand() -> Iterator[Hand]:
    return Hand()


def outer(hand: Hand) -> str:
    hand.now += 1
    inner(hand)
    return "result"


def inner(hand: Hand) -> None:
    hand.now += 10


HERE = __name__


def test_a_lap_counts_its_own_time_and_not_that_of_laps_inside(hand):
    watch = Stopwatch(hand)
    with watch.lap("a"):
        hand.now += 1
        with watch.lap("b"):
            hand.now += 2
        with watch.lap("b"):
            hand.now += 4
    with watch.lap("b"):
        hand.now += 8
    assert watch.seconds == {("a",): 1, ("a", "b"): 6, ("b",): 8}


def test_a_lap_that_raises_is_counted_and_closed(hand):
    watch = Stopwatch(hand)
    with pytest.raises(ValueError), watch.lap("a"):
        hand.now += 1
        raise ValueError
    with watch.lap("b"):
        hand.now += 2
    assert watch.seconds == {("a",): 1, ("b",): 2}


def test_functions_are_timed_by_name_and_put_back(hand):
    watch = Stopwatch(hand)
    before = outer, inner
    with watch.around({"out": f"{HERE}:outer", "in": f"{HERE}:inner"}):
        assert outer(hand) == "result"
    assert watch.seconds == {("out",): 1, ("out", "in"): 10}
    assert (outer, inner) == before
    outer(hand)
    assert watch.seconds == {("out",): 1, ("out", "in"): 10}


def test_a_function_is_timed_where_another_module_imported_it(hand, monkeypatch):
    importer = SimpleNamespace(inner=inner)
    stranger = SimpleNamespace(inner=lambda hand: None)
    monkeypatch.setitem(sys.modules, "some_package.importer", importer)
    monkeypatch.setitem(sys.modules, "some_package.stranger", stranger)
    kept = stranger.inner
    watch = Stopwatch(hand)
    with watch.around({"in": f"{HERE}:inner"}, "some_package"):
        importer.inner(hand)
        assert stranger.inner is kept
    assert watch.seconds == {("in",): 10}
    assert importer.inner is inner


def test_methods_are_timed_too(hand):
    watch = Stopwatch(hand)
    with watch.around({"move": f"{HERE}:Hand.move"}):
        hand.move(3)
    assert watch.seconds == {("move",): 3}


@pytest.mark.parametrize("place", ["no_such_module:f", f"{HERE}:no_such_function", f"{HERE}:Hand.no_such_method"])
def test_what_is_not_there_is_told_and_the_rest_is_timed(hand, place):
    watch = Stopwatch(hand)
    with watch.around({"gone": place, "in": f"{HERE}:inner"}):
        inner(hand)
    assert watch.missing == {"gone"}
    assert watch.seconds == {("in",): 10}


def test_garbage_collection_has_a_lap_of_its_own(hand):
    watch = Stopwatch(hand)
    count = len(gc.callbacks)
    with watch.garbage_apart(), watch.lap("a"):
        hand.now += 1
        gc.collect()
    assert len(gc.callbacks) == count
    assert watch.seconds[("a",)] == 1
    assert ("a", "garbage") in watch.seconds


@pytest.mark.parametrize(
    ("path", "phase"),
    [
        (("all", "model"), None),
        (("all", "model", "hook", "gradients"), None),
        (("all", "model", "saver"), None),
        (("all", "model", "hook", "view"), "view"),
        (("all", "model", "hook", "gradients", "autodiff"), "autodiff"),
        (("all", "model", "hook"), "rest"),
        (("all", "verify", "view"), "verify"),
        (("all", "verify", "view", "garbage"), None),
        (("all", "savers", "saver"), "savers"),
        (("all", "last update"), "surgery"),
        (("all",), "rest"),
    ],
)
def test_own_time_belongs_to_one_phase(path, phase):
    assert measuring.phase_of(path) == phase


def test_everything_that_is_timed_is_there():
    watch = Stopwatch()
    with watch.around(measuring.PLACES, "graph_masker"), watch.around(measuring.TENSORFLOW_PLACES):
        pass
    assert not watch.missing


def pair(added: float, dense: float = 10.0, ops: int = 1000) -> measuring.Pair:
    plain = measuring.Build(ops, 0, dense, 0.5, {("all", "model", "saver"): 1.0, ("all", "model"): dense - 1}, ())
    laps = {("all", "view"): added, ("all", "model", "saver"): 1.25, ("all", "model"): dense - 1}
    return measuring.Pair(plain, measuring.Build(ops + 50, 7, dense + added, 0.75, laps, ("plan",)))


def test_medians_are_taken_over_pairs():
    model = SimpleNamespace(name="m", title="Model")
    cost = summary.summarize(model, [pair(0.0), pair(9.5, dense=20.0), pair(0.5)])
    assert (cost.ops, cost.ops_added, cost.sites, cost.missing) == (1000, 50, 7, ("plan",))
    # Of the middle pair: 0.5 of the view; the model's own saver and the collector take 0.25 longer each.
    assert cost.added_seconds == 1.0
    assert cost.share == pytest.approx(0.1)
    assert cost.share_range == pytest.approx((0.05, 0.5))
    assert cost.shares["savers"] == cost.shares["collector"] == pytest.approx(0.025)
    assert cost.garbage == (0.5, 0.75)


def test_growth_compares_the_largest_graph_with_the_smallest():
    model = SimpleNamespace(name="m", title="Model")
    small = summary.summarize(model, [pair(0.5, ops=1000)])
    large = summary.summarize(model, [pair(5.5, ops=4000)])
    measured = {outcome.budget: outcome for outcome in summary.outcomes([large, small])}
    assert measured[summary.GROWTH].measured == pytest.approx(1.5)
    assert measured[summary.ANALYSIS_GROWTH].measured == pytest.approx(2.75)
    assert not measured[summary.GROWTH].met
    assert summary.GROWTH not in [outcome.budget for outcome in summary.outcomes([small])]


def test_a_budget_is_met_at_its_limit_and_missed_above():
    assert Outcome(BUDGET, "x", 0.08).met
    assert not Outcome(BUDGET, "x", 0.0801).met


def test_tables_show_met_and_missed():
    outcomes = [Outcome(BUDGET, "small", 0.05), Outcome(BUDGET, "large", 0.1234)]
    lines = outcomes_markdown(outcomes).splitlines()
    assert lines[2:] == [
        "| a share | small | 5.0% | at most 8.0% | met |",
        "| a share | large | 12.3% | at most 8.0% | **missed** |",
    ]
    assert outcomes_table("title", outcomes).row_count == 2


def test_a_markdown_table_aligns_numbers_to_the_right():
    assert markdown_table(("a", "b"), [("x", "1")], numbers=(1,)) == "| a | b |\n| --- | --: |\n| x | 1 |\n"


def test_a_section_is_replaced_and_the_others_stay(tmp_path):
    page = tmp_path / "docs" / "benchmarks.md"
    for group, body in (("one", "first"), ("two", "second"), ("one", "first again\n")):
        write_section(page, group, body)
    text = page.read_text()
    assert text.startswith(HEAD)
    assert text.index("first again") < text.index("second")
    assert text.count("<!-- one -->") == 1
    assert replace_section(text, "one", "first again") == text
