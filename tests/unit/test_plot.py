"""Pictures and tables of schedules: what is in them is what the schedule says."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from graph_masker import plot
from graph_masker.errors import DestinationError, UsageError
from graph_masker.schedule import sparsities_at, update_steps, weight_sparsities_at
from graph_masker.spec import PruningSpec
from tests.helpers.specs import plain_specs

RULES = [
    {"match": "conv1", "sparsity": 0.5},
    {"match": "conv2$", "sparsity": 0.5},
    {"match": "[ab]/", "structure": "1:4"},
    {"match": "same", "criterion": "taylor"},
    {"match": "logits", "exclude": True},
]
SPEC = PruningSpec(0.8, 20, 65, frequency=10, initial_sparsity=0.2, rules=RULES)


def lines(figure):
    """Returns (x, y) of the marks of each curve, by its label."""
    (axes,) = figure.axes
    return {line.get_label(): line.get_xydata() for line in axes.lines if line.get_marker() == "o"}


def text_of(table):
    console = Console(file=io.StringIO(), width=160)
    console.print(table)
    return console.file.getvalue()


def test_one_curve_per_target():
    assert [curve.label for curve in plot.curves(SPEC)] == [
        "0.8: every other weight",
        "0.5: conv1, conv2$",
        "0.75: [ab]/",
    ]
    assert [curve.label for curve in plot.curves(PruningSpec(0.8, 0, 9))] == ["0.8: every weight"]
    many = [{"match": f"a rather long pattern for layer {number}", "sparsity": 0.5} for number in range(9)]
    label = plot.curves(PruningSpec(0.8, 0, 9, rules=many))[1].label
    assert label.startswith("0.5: a rather long pattern for lay..., ")
    assert label.endswith(" and 6 more")


def test_every_update_is_marked_at_its_sparsity():
    found = lines(plot.figure(SPEC))
    assert list(found) == ["0.8: every other weight", r"0.5: conv1, conv2\$", "0.75: [ab]/"]
    for curve, marks in zip(plot.curves(SPEC), found.values()):
        assert marks[:, 0].tolist() == update_steps(SPEC) == [20, 30, 40, 50, 60, 65]
        assert marks[:, 1].tolist() == weight_sparsities_at(SPEC, curve.target, update_steps(SPEC)).tolist()


def test_another_schedule_would_be_noticed():
    later = PruningSpec(0.8, 21, 65, frequency=10, initial_sparsity=0.2, rules=RULES)
    one, other = (next(iter(lines(plot.figure(spec)).values())) for spec in (SPEC, later))
    assert one.tolist() != other.tolist()


def test_where_marks_would_run_into_each_other_some_are_left_out_but_not_the_last():
    spec = PruningSpec(0.8, 0, 2_000_000_000, frequency=1)
    figure = plot.figure(spec)
    (marks,) = lines(figure).values()
    assert len(marks) <= 1001
    assert (marks[0, 0], marks[-1, 0]) == (0, 2_000_000_000)
    assert figure._supxlabel.get_text() == "one update in 2,000,001 is marked"


@settings(max_examples=150, deadline=None)
@given(plain_specs(), st.integers(0, 600))
def test_updates_are_counted_and_found_without_listing_them(plain, beyond):
    spec = PruningSpec.from_dict(plain)
    last = spec.begin_step + beyond
    listed = update_steps(spec, last)
    assert plot.count_until(spec, last) == len(listed)
    assert plot.steps_of(spec, range(len(listed))).tolist() == listed
    assert plot.last_drawn_step(spec) > spec.begin_step
    assert spec.last_step is None or plot.last_drawn_step(spec) > spec.last_step


def test_a_picture_is_a_png_and_the_same_each_time():
    one, other = plot.picture(SPEC), plot.picture(SPEC)
    assert one.startswith(b"\x89PNG\r\n\x1a\n")
    assert one == other
    assert one != plot.picture(SPEC, until=40)


def test_the_last_step_shown():
    assert plot.last_drawn_step(PruningSpec(0.8, 0, 1000)) == 1050
    assert plot.last_drawn_step(PruningSpec(0.8, 0, sparsity_end_step=1000)) == 1250
    assert plot.last_drawn_step(PruningSpec(0.8, 0, schedule="one_shot")) == 10
    assert plot.last_drawn_step(SPEC, until=40) == 40
    assert lines(plot.figure(SPEC, until=40))["0.75: [ab]/"][:, 0].tolist() == [20, 30, 40]
    for until in (19, 2**31):
        with pytest.raises(UsageError, match=f"--until: expected a step from begin_step, 20, to .*, found {until}"):
            plot.last_drawn_step(SPEC, until)


def test_the_table_lists_updates_and_sparsities():
    text = text_of(plot.updates_table(SPEC))
    assert text.splitlines()[0].strip() == "6 mask updates"
    assert "0.75: [ab]/" in text
    asked = sparsities_at(SPEC, [65])[0]
    assert ["6", "65", f"{asked:.6f}", "0.500000", "0.750000"] in [
        line.replace("│", " ").split() for line in text.splitlines()
    ]
    assert "..." not in text


def test_a_long_table_is_cut_in_the_middle():
    text = text_of(plot.updates_table(PruningSpec(0.8, 0, 1000, frequency=10)))
    rows = [line.replace("│", " ").split() for line in text.splitlines() if "│" in line]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5", "6", "...", "97", "98", "99", "100", "101"]
    assert rows[-1] == ["101", "1,000", "0.800000"]
    just_fits = text_of(plot.updates_table(PruningSpec(0.8, 0, 110, frequency=10)))
    assert "..." not in just_fits
    endless = text_of(plot.updates_table(PruningSpec(0.8, 0, sparsity_end_step=100, frequency=50), until=120))
    assert endless.splitlines()[0].strip() == "3 mask updates up to step 120"


@pytest.mark.parametrize(
    "change, remark",
    [
        ({}, None),
        ({"sparsity_end_step": 200}, "the target is not reached: the last update, at step 100, comes before"),
        ({"allocation": "erk"}, "allocation erk: all weights together follow this curve"),
        ({"allocation": "global"}, "allocation global: the weights of a group together follow this curve"),
        ({"threshold_decay": 0.5}, "threshold_decay: masks lag behind this curve, and counts are not exact"),
    ],
)
def test_what_a_curve_does_not_show_is_said(change, remark):
    found = plot.remarks(PruningSpec(0.8, 0, 100, **change))
    assert len(found) == (remark is not None)
    assert all(line.startswith(remark) for line in found)


@pytest.mark.parametrize(
    "change, title",
    [
        (
            {"end_step": 100},
            "polynomial, exponent 3: 0 to 0.8 from step 0 to 100\n"
            "mask updates every 10 steps from 0 to 100: 11 in all; magnitude, element, uniform",
        ),
        (
            {"sparsity_end_step": 100, "frequency": 1, "structure": {"block": [4, 1]}},
            "polynomial, exponent 3: 0 to 0.8 from step 0 to 100\n"
            "mask updates every step from 0 on: 126 up to step 125; magnitude, block [4, 1], uniform",
        ),
        ({"schedule": "one_shot"}, "one_shot: 0.8\none mask update, at step 0; magnitude, element, uniform"),
        (
            {"schedule": [0.25, 0.8], "end_step": 10, "allocation": "global"},
            "a value for each update, 0.25 to 0.8\n"
            "mask updates every 10 steps from 0 to 10: 2 in all; magnitude, element, global",
        ),
    ],
)
def test_the_title_has_the_main_figures(change, title):
    (axes,) = plot.figure(PruningSpec(0.8, 0, **change)).axes
    assert axes.get_title(loc="left") == title


def test_only_own_pictures_are_replaced_unasked(tmp_path):
    path = tmp_path / "schedule.png"
    plot.check_destination(str(path), False)
    plot.draw(SPEC, str(path))
    assert path.read_bytes() == plot.picture(SPEC)
    plot.check_destination(str(path), False)
    path.write_bytes(b"\x89PNG\r\n\x1a\nanother program's")
    with pytest.raises(DestinationError, match="exists already; give --overwrite"):
        plot.check_destination(str(path), False)
    plot.check_destination(str(path), True)
    with pytest.raises(DestinationError, match=r"expected a name that ends in \.png"):
        plot.check_destination(str(tmp_path / "model.ckpt"), True)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(DestinationError, match="expected a file to write to, found a directory"):
        plot.check_destination(str(tmp_path / "folder.png"), True)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DestinationError, match="file: cannot be written"):
        plot.draw(SPEC, str(tmp_path / "file" / "schedule.png"))


def test_masks_hold_their_sparsity_from_one_update_to_the_next():
    spec = PruningSpec(begin_step=10, end_step=30, schedule=[0.1, 0.4, 0.2])
    (axes,) = plot.figure(spec).axes
    (held,) = [line for line in axes.lines if line.get_drawstyle() == "steps-post" and len(line.get_xdata()) > 1]
    assert held.get_xdata().tolist() == [0, 10, 20, 30, 31]
    assert held.get_ydata().tolist() == np.float32([0, 0.1, 0.4, 0.2, 0.2]).tolist()
