"""The engine's benchmarks: turns, sums, checks and page. Nothing here depends on how fast anything is."""

import json
import os
from types import SimpleNamespace
from typing import Any, Dict, List

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tensorflow.contrib import model_pruning, slim

import benchmarks.engine
from benchmarks.engine import child, drawing, memory, report, specs, summary, training, updates, weights
from benchmarks.engine.nets import NETS, contribs_layers, loss_of
from benchmarks.engine.turns import by_turns
from benchmarks.options import Options
from tests.cli.running import PYTHON, run

# Each has a multiple of ten entries, so that 90% of them is a whole number.
SHAPES = [[3, 3, 2, 5], [1, 1, 4, 10], [50, 20]]
COUNTS = {"blocks": 2, "rounds": 3, "updates": 5, "few": 10, "load": 0.5}
MACHINE = {"processor": "some", "cores": 2, "system": "Linux", "python": "3.7", "tensorflow": "1.15", "numpy": "1.18"}


class Hand:
    """A clock moved by what is timed."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: List[str] = []

    def __call__(self) -> float:
        return self.now

    def take(self, name: str, seconds: float) -> Any:
        def run() -> None:
            self.order.append(name)
            self.now += seconds

        return run


def test_the_order_changes_every_round_and_all_are_timed():
    hand = Hand()
    runs = {name: hand.take(name, seconds) for name, seconds in (("a", 1.0), ("b", 2.0), ("c", 4.0))}
    assert by_turns(runs, 7, hand) == {"a": [1.0] * 7, "b": [2.0] * 7, "c": [4.0] * 7}
    assert "".join(hand.order) == "abc" + "bca" + "cab" + "cba" + "acb" + "bac" + "abc"


def test_ratios_are_paired_before_the_median_is_taken():
    # The median of the ones over that of the others would be 1.
    ratio = summary.paired([2.0, 20.0, 30.0], [1.0, 20.0, 10.0])
    assert ratio.median == 2.0
    assert ratio.quartiles == (1.5, 2.5)


def test_the_last_round_of_a_block_has_the_update():
    seconds = [1.0] * 9 + [5.0] + [2.0] * 9 + [7.0]
    assert summary.off_schedule(seconds) == [1.0] * 9 + [2.0] * 9
    assert summary.blocks(seconds) == [14.0, 25.0]


def measured(with_global: bool = False, with_memory: bool = True) -> Dict[str, Any]:
    """Two blocks in which a dense step takes 10 s, ours 11 and 21 with its update, contrib's 12 and its update 40."""
    blocks = 2
    seconds = {
        "dense": [10.0] * 20,
        "dense again": [10.0] * 20,
        "ours": ([11.0] * 9 + [21.0]) * blocks,
        "contrib": [12.0] * 20,
        "contrib update": ([0.0] * 9 + [40.0]) * blocks,
    }
    due = {"ours": [3.0, 2.0, 1.0], "contrib": [40.0, 20.0, 20.0], **({"global": [4.0] * 3} if with_global else {})}
    off = {"ours alone": [1.0, 3.0], "ours": [1.25, 3.25], "contrib alone": [1.0, 1.0], "contrib": [2.0, 2.0]}
    sizes = {"largest": 4000, "all": 4520}
    return {
        "training": {"seconds": seconds, "masks": {"ours": 3, "contrib": 2}},
        "updates": {
            "due": {"seconds": due, "sparsity": dict.fromkeys(due, 0.9)},
            "off": {"seconds": off},
            "ops": {"ours": 4.0, "contrib": 26.0},
        },
        "memory": {
            "ours": {"peaks": [4000, 12000, 8000] if with_memory else [], **sizes},
            "contrib": {"peaks": [20000] if with_memory else [], **sizes},
        },
    }


def cost(batch: int = 2, **options: bool) -> summary.Cost:
    return summary.summarize(NETS[0], SHAPES, batch, **measured(**options))


def test_what_was_measured_is_summed_up():
    found = cost()
    assert (found.weights, found.entries, found.largest) == (3, 90 + 40 + 1000, 4000)
    assert (found.dense_seconds, found.dense_again.median) == (10.0, 1.0)
    assert (found.ours.step.median, found.ours.training.median) == (1.1, pytest.approx(1.2))
    # contrib's step is without its update, its training with it.
    assert (found.contrib.step.median, found.contrib.training.median) == (1.2, pytest.approx(1.6))
    assert found.beside_contrib.median == pytest.approx(11 / 12)
    assert (found.our_update.seconds, found.contribs_update.seconds) == (2.0, 20.0)
    assert found.update_ratio.median == 0.075
    assert (found.our_update.off_seconds, found.contribs_update.off_seconds) == (0.25, 1.0)
    assert (found.our_update.memory, found.contribs_update.memory) == (3.0, 5.0)
    assert found.global_seconds is None


def test_sparseml_is_told_only_where_it_was_measured():
    values = measured()
    assert cost().sparseml_seconds is None
    assert any("SparseML: not installed" in note for note in report._left_out([cost()]))
    values["updates"]["due"]["seconds"]["sparseml"] = [30.0, 50.0, 40.0]
    beside = summary.summarize(NETS[0], SHAPES, 2, **values)
    assert beside.sparseml_seconds == 40.0
    assert "| 40000 |" in report._updates_table([beside])
    assert not any("SparseML" in note for note in report._left_out([beside]))


def test_outcomes_hold_every_budget_against_its_figure():
    found = {outcome.budget: outcome for outcome in summary.outcomes([cost(with_global=True)])}
    expected = {
        summary.STEP: (1.1, False),
        summary.STEP_BESIDE_CONTRIB: (11 / 12, True),
        summary.TRAINING: (1.2, False),
        summary.UPDATE: (0.075, True),
        summary.UPDATE_SHARE: (0.2, True),
        summary.GLOBAL: (4e9 / 1130, False),
        summary.OFF_SCHEDULE: (250.0, False),
        summary.OPS: (4.0, True),
        summary.MEMORY: (3.0, False),
    }
    assert {budget: (pytest.approx(o.measured), o.met) for budget, o in found.items()} == expected
    assert summary.UPDATE.limit * 12 == 1


def test_the_budget_of_a_step_depends_on_the_batch():
    limits = {batch: summary.outcomes([cost(batch)])[0].budget.limit for batch in (2, 7, 8, 16)}
    assert limits == {2: 1.03, 7: 1.03, 8: 1.01, 16: 1.01}


def test_what_is_not_offered_or_not_known_has_no_outcome_and_a_sentence():
    found = cost(with_memory=False)
    outcomes = summary.outcomes([found])
    assert {summary.GLOBAL, summary.MEMORY}.isdisjoint(outcome.budget for outcome in outcomes)
    page = report.markdown(MACHINE, COUNTS, [found], outcomes)
    assert "One threshold over all weights: not offered" in page
    assert "Memory: this system does not tell" in page
    complete = cost(with_global=True)._replace(sparseml_seconds=40.0)
    page = report.markdown(MACHINE, COUNTS, [complete], summary.outcomes([complete]))
    assert report.NOT_OFFERED not in page
    assert report.UNKNOWN not in page


def test_outcomes_are_grouped_by_budget():
    costs = [cost(), cost()._replace(title="Second")]
    subjects = [(outcome.budget.key, outcome.subject) for outcome in summary.outcomes(costs)]
    assert subjects[:4] == [
        ("step", "Inception V2"),
        ("step", "Second"),
        ("step beside contrib", "Inception V2"),
        ("step beside contrib", "Second"),
    ]


def test_a_run_writes_json_page_and_picture(tmp_path, monkeypatch):
    values = measured()
    calls = []

    def told(name: str, arguments: Any, environment: Any = None) -> Any:
        calls.append(name)
        return values["memory"][arguments["engine"]] if name == "memory" else values[name]

    monkeypatch.setattr(child, "measured", told)
    monkeypatch.setattr("benchmarks.engine.nets.weight_shapes", lambda net: SHAPES)
    lines: List[str] = []
    options = Options(1, ("mobilenet_v1", "inception_v2"), tmp_path / "out", tmp_path / "docs", lines.append)
    outcomes = benchmarks.engine.run(options)
    assert calls == ["training", "updates", "memory", "memory"] * 2
    assert outcomes == summary.outcomes([cost()._replace(net="m", title="MobileNet V1"), cost()])
    written = json.loads((tmp_path / "out" / "engine.json").read_text())
    assert [net["net"] for net in written["nets"]] == ["mobilenet_v1", "inception_v2"]
    assert written["nets"][0]["ours"]["training"]["median"] == pytest.approx(1.2)
    assert written["nets"][1]["measured"]["updates"] == values["updates"]
    page = (tmp_path / "docs" / "benchmarks.md").read_text()
    assert "| MobileNet V1 | 10000 | 1.000 (1.000 to 1.000) | 1.100 (1.100 to 1.100) |" in page
    assert (tmp_path / "docs" / "images" / "engine.png").read_bytes().startswith(b"\x89PNG")
    assert any("training 1.200 (1.600), update 2000 ms (20000)" in line for line in lines)


def test_an_unknown_net_is_named(tmp_path):
    options = Options(1, ("vgg",), tmp_path, tmp_path, print)
    with pytest.raises(Exception, match="expected one of inception_v2, resnet_v1_50, mobilenet_v1, found 'vgg'"):
        benchmarks.engine.run(options)


def test_a_picture_takes_training_faster_than_dense(tmp_path):
    fast = summary.Ratio(0.98, (0.97, 0.99))
    quick = cost()._replace(ours=summary.Pace(fast, fast, 3), contrib=summary.Pace(fast, fast, 3))
    quick = quick._replace(dense_seconds=0.2)
    drawing.draw([quick], tmp_path / "engine.png")
    assert (tmp_path / "engine.png").stat().st_size > 0


def test_ops_per_weight_leave_out_what_comes_once():
    assert updates.ops_per_weight(lambda shapes: 40 + 7 * len(shapes), [[1, 1]] * 25) == 7.0


def test_figures_of_the_process_are_read_in_bytes():
    status = "VmPeak:\t  900 kB\nVmHWM:\t  300 kB\nVmRSS:\t  200 kB\n"
    assert (memory.resident(status, "VmHWM"), memory.resident(status, "VmRSS")) == (300 * 1024, 200 * 1024)


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's own count of memory")
def test_memory_that_is_freed_again_is_seen_and_other_is_not(monkeypatch):
    """In a process of its own, as it is used: what other tests have left in this one may be freed meanwhile."""
    for name, value in memory.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    code = """
from benchmarks.engine.memory import rise_during
for work in (lambda: bytearray(64 * 10**6), lambda: None):
    print(*(rise_during(work) for _ in range(5)))
"""
    told = run("-c", code, program=PYTHON)
    assert told.returncode == 0, told.stderr
    taken, nothing = ([int(rise) for rise in line.split()] for line in told.stdout.splitlines())
    # The kernel's counts lag by a few hundred kB, and it may take back idle memory at any time.
    assert 63e6 < np.median(taken) < 65e6
    assert abs(np.median(nothing)) < 1e6


def test_a_spec_with_one_threshold_is_told_from_none(monkeypatch):
    offered = "allocation" in specs.spec(0, 1).to_dict()
    assert (specs.global_spec() is not None) == offered
    monkeypatch.setattr(specs.dataclasses, "fields", lambda _: [SimpleNamespace(name="target_sparsity")])
    assert specs.global_spec() is None


@pytest.fixture(scope="module")
def both() -> Any:
    """The same weights, masked by graph_masker and by contrib."""
    made = {"ours": weights.ours(SHAPES, specs.spec(0, 1)), "contrib": weights.contribs(SHAPES)}
    yield made
    for pruned in made.values():
        pruned.session.close()


def test_both_engines_do_the_same_work(both):
    for pruned in both.values():
        pruned.session.run(pruned.update)
    ours, contribs = (pruned.session.run(list(pruned.masks)) for pruned in both.values())
    assert [mask.shape for mask in ours] == [tuple(shape) for shape in SHAPES]
    for mine, theirs in zip(ours, contribs):
        np.testing.assert_array_equal(mine, theirs)
    assert [int(mask.sum()) for mask in ours] == [9, 4, 100]


def test_an_update_that_did_not_happen_is_no_measurement(both):
    both["ours"].session.run(both["ours"].update)
    with pytest.raises(RuntimeError, match=r"expected a sparsity of 0, found 0\.9"):
        both["ours"].check_sparsity(0.0)
    untouched = weights.ours(SHAPES, specs.spec(specs.NEVER, 1))
    untouched.session.run([untouched.train, untouched.update])
    assert untouched.check_sparsity(0.0) == 0.0
    with pytest.raises(RuntimeError, match=r"expected a sparsity of 0\.9, found 0;"):
        untouched.check_sparsity(specs.SPARSITY)


def test_training_without_its_updates_is_no_measurement():
    class Told:
        def __init__(self, **values: float) -> None:
            self.values = values

        def run(self, fetch: str) -> float:
            return self.values["loss" if fetch == "loss" else "last"]

    training._check(training.Trained(Told(loss=1.0, last=30), "loss", None), 30)
    with pytest.raises(RuntimeError, match="expected the last update at step 30, found it at 20"):
        training._check(training.Trained(Told(loss=1.0, last=20), "loss", None), 30)
    with pytest.raises(RuntimeError, match="expected a finite loss, found nan"):
        training._check(training.Trained(Told(loss=float("nan"), last=30), "loss", None), 30)


def test_contribs_layers_are_slims_while_open_and_no_longer():
    plain = slim.conv2d
    with pytest.raises(ValueError), contribs_layers():
        assert slim.conv2d is model_pruning.masked_conv2d
        raise ValueError
    assert slim.conv2d is plain


@pytest.mark.parametrize(("masked", "count"), [(False, 0), (True, 15)])
def test_a_net_of_slim_gets_contribs_layers_without_being_changed(masked, count):
    net = next(net for net in NETS if net.name == "mobilenet_v1")
    with tf.Graph().as_default() as graph:
        inputs = tf.placeholder(tf.float32, [1, 224, 224, 3]), tf.placeholder(tf.int32, [1])
        if masked:
            with contribs_layers():
                loss_of(net, *inputs)
        else:
            loss_of(net, *inputs)
        assert len(graph.get_collection("masks")) == count


def test_a_measurement_in_a_process_of_its_own_returns_its_values_or_why_not():
    found = child.measured("memory", {"engine": "contrib", "shapes": SHAPES}, memory.ENVIRONMENT)
    assert (found["largest"], found["all"]) == (4000, 4 * 1130)
    assert len(found["peaks"]) == (memory.UPDATES if memory.is_known() else 0)
    with pytest.raises(RuntimeError, match="measuring memory failed with exit code 1"):
        child.measured("memory", {"engine": "contrib", "shapes": []})
