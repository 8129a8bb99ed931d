"""The accuracy study: its data, gradients, counts, verdicts and page. Nothing here depends on how well a net learns."""

import json
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from rich.console import Console

from benchmarks.accuracy import page, road, running, summary
from benchmarks.accuracy.__main__ import publish, study_results
from benchmarks.accuracy.counting import BIAS, DEPTHWISE, FIRST, MASKED, NORM
from benchmarks.accuracy.images import digits_for, distorted, scored_images, training_batches
from benchmarks.accuracy.net import by_products
from benchmarks.accuracy.settings import Case, Distortion, Run, Study, Training
from benchmarks.accuracy.summary import Verdict

STILL = Distortion(rotation=0, smallest=1, largest=1, shift=0)
TINY = Training(steps=4, batch=4, begin=0, end=0.75, updates=3)
# Outputs of MobileNet V1's layers (Howard et al. 2017, table 1): one convolution, then pairs of depthwise and 1x1.
DEPTHS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)


def expected_entries(depth: float) -> Dict[str, int]:
    """Counts the net's entries from the paper's table."""
    channels = [max(int(outputs * depth), 8) for outputs in DEPTHS]
    pairs = list(zip(channels, channels[1:]))
    return {
        MASKED: sum(ins * outs for ins, outs in pairs) + channels[-1] * 10,
        FIRST: 3 * 3 * channels[0],
        DEPTHWISE: sum(9 * ins for ins, _ in pairs),
        NORM: 2 * (channels[0] + sum(ins + outs for ins, outs in pairs)),
        BIAS: 10,
    }


def expected_zeros(depth: float, sparsity: float) -> int:
    channels = [max(int(outputs * depth), 8) for outputs in DEPTHS]
    sizes = [ins * outs for ins, outs in zip(channels, channels[1:])] + [channels[-1] * 10]
    return sum(size - round(size * (1 - sparsity)) for size in sizes)


def tags(glyphs: np.ndarray) -> Sequence[bytes]:
    return [glyph.tobytes() for glyph in glyphs]


def test_no_scored_digit_is_trained_on_and_the_choice_sees_no_held_out_one():
    train, held_out = digits_for("held-out")
    fewer, validation = digits_for("validation")
    assert [len(part.labels) for part in (train, held_out, fewer, validation)] == [4000, 1000, 3200, 800]
    for part, each in ((held_out, 100), (validation, 80)):
        assert np.bincount(part.labels).tolist() == [each] * 10
    everything = set(tags(train.glyphs)) | set(tags(held_out.glyphs))
    assert len(everything) == 5000  # so that bytes tell digits apart
    assert set(tags(train.glyphs)) == set(tags(fewer.glyphs)) | set(tags(validation.glyphs))
    assert not set(tags(fewer.glyphs)) & set(tags(validation.glyphs))


def test_an_image_that_is_not_moved_is_the_digit_itself():
    glyphs = np.random.RandomState(0).randint(0, 256, (3, 28, 28)).astype(np.uint8)
    images = distorted(glyphs, STILL, np.random.RandomState(1))
    expected = np.pad(glyphs, ((0, 0), (2, 2), (2, 2)), mode="constant") / np.float32(255) * 2 - 1
    assert np.array_equal(images[..., 0], expected.astype(np.float32))
    moved = distorted(glyphs, STILL._replace(shift=1), np.random.RandomState(1))
    assert not np.array_equal(moved, images)


def test_an_epoch_has_every_digit_once_and_a_seed_settles_everything():
    _, digits = digits_for("validation")
    still = [next_batches(training_batches(digits, 32, STILL, seed), 25) for seed in (1, 2)]
    images = np.concatenate([batch[0] for batch in still[0]])[:, 2:-2, 2:-2, 0]
    found = np.round((images + 1) / 2 * 255).astype(np.uint8)
    assert sorted(tags(found)) == sorted(tags(digits.glyphs))
    assert not np.array_equal(still[0][0][0], still[1][0][0])
    again = [next_batches(training_batches(digits, 32, Distortion(), 1), 2) for _ in range(2)]
    assert all(np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) for a, b in zip(*again))
    views, labels = scored_images(digits, Distortion(), 2)
    assert len(views) == len(labels) == 1600 and not np.array_equal(views[:800], views[800:])


def next_batches(batches: Any, count: int) -> Sequence[Any]:
    return [next(batches) for _ in range(count)]


@pytest.mark.parametrize("kernel, stride", [(1, 1), (1, 2), (3, 1), (3, 2)])
def test_gradients_by_products_are_tensorflows_own(kernel: int, stride: int):
    # Small integers, whose sums are exact in whatever order.
    random = np.random.RandomState(kernel + stride)
    values = random.randint(-4, 5, (2, 6, 6, 3)), random.randint(-4, 5, (kernel, kernel, 3, 5))
    size = -(-6 // stride)
    with tf.Graph().as_default() as graph:
        images, weight = (tf.constant(value, tf.float32) for value in values)
        upstream = tf.constant(random.randint(-4, 5, (2, size, size, 5)), tf.float32)
        found = []
        for override in ({}, {"Conv2D": "Conv2DByProducts"}):
            with graph.gradient_override_map(override):
                outputs = tf.nn.conv2d(images, weight, [1, stride, stride, 1], "SAME")
            found.append(tf.gradients(outputs, [images, weight], upstream))
        other = by_products(outputs.op, upstream + 1)
        with tf.Session() as session:
            own, ours, control = session.run([*found, other])
    for a, b, c in zip(own, ours, control):
        assert np.any(a) and np.array_equal(a, b) and not np.array_equal(a, c)


@pytest.mark.slow
def test_a_run_is_scored_folded_and_counted_exactly(tmp_path):
    run = Run(Case(0.25, 0.75), 3, TINY, scored="validation", views=1)
    steps: List[int] = []
    result = road.go(run, tmp_path / "runs", steps.append)
    assert steps == [1, 2, 3, 4]
    assert not list((tmp_path / "runs").iterdir())
    entries, zeros = expected_entries(0.25), expected_zeros(0.25, 0.75)
    counts = result["counts"]
    assert counts["entries"] == entries
    assert result["zeros"] == zeros
    assert counts["nonzero"][MASKED] == entries[MASKED] - zeros
    assert counts["nonzero"][FIRST] == entries[FIRST] and counts["nonzero"][DEPTHWISE] == entries[DEPTHWISE]
    assert counts["statistics"] == entries[NORM]
    assert counts["bytes"] == 4 * (sum(entries.values()) + counts["statistics"])
    assert counts["gzip"] < counts["bytes"] / 2
    assert result["digits"] == {"trained": 3200, "scored": 800, "images": 800}
    assert Run.from_dict(json.loads(json.dumps(result["run"]))) == run


def test_what_is_done_is_not_done_again_and_an_interrupted_study_goes_on(tmp_path, monkeypatch):
    done: List[Run] = []

    def result_of(run: Run, folder: Path, progress: Callable[[int], None]) -> Dict[str, Any]:
        done.append(run)
        progress(run.training.steps)
        return {"run": run.as_dict(), "accuracy": run.seed / 10, "seconds": 1.0}

    monkeypatch.setattr(running, "result_of", result_of)
    runs = [Run(Case(0.25), seed, TINY) for seed in (1, 2, 3)]
    runner, ended = (running.Runner(tmp_path, 2, minutes, Console(quiet=True)) for minutes in (None, 0))
    with pytest.raises(running.Interrupted, match="3 of 3 runs"):
        ended.results("tiny", runs)
    first = runner.results("tiny", runs[1:2])
    assert [result["accuracy"] for result in runner.results("tiny", runs)] == [0.1, 0.2, 0.3]
    assert sorted(done) == sorted(runs)
    assert ended.results("tiny", runs[1:2]) == first
    # The same name with other settings.
    with pytest.raises(running.Interrupted, match="1 of 1 runs"):
        ended.results("tiny", [runs[1]._replace(views=9)])


@pytest.mark.slow
def test_a_run_that_fails_ends_the_study_with_what_it_wrote(tmp_path):
    # No such net.
    run = Run(Case(-1.0), 1, TINY, scored="validation", views=1)
    with pytest.raises(RuntimeError, match="depth_multiplier is not greater than zero"):
        running.Runner(tmp_path, 1, None, Console(quiet=True)).results("tiny", [run])
    assert [path.suffix for path in tmp_path.iterdir()] == [".log"]


def test_a_study_trains_with_the_rate_that_it_chose_and_writes_its_page(tmp_path, monkeypatch):
    # The trainings alone are made up: accuracy by rate and depth.
    def result_of(run: Run, folder: Path, progress: Callable[[int], None]) -> Dict[str, Any]:
        (result,) = made({run.case: [run.case.depth / 2 + run.training.rate]})
        return {**result, "run": run.as_dict()}

    monkeypatch.setattr(running, "result_of", result_of)
    study = Study((Case(0.5), Case(0.25), Case(0.5, 0.75)), (1, 2), (0.01, 0.3, 0.1), (Case(0.25),), TINY)
    results = study_results(study, running.Runner(tmp_path / "runs", 2, None, Console(quiet=True)))
    assert [Run.from_dict(result["run"]) for result in results["choosing"]] == study.choosing()
    assert [Run.from_dict(result["run"]) for result in results["compared"]] == study.compared(0.3)
    assert {result["run"]["scored"] for result in results["choosing"]} == {"validation"}
    assert {result["run"]["scored"] for result in results["compared"]} == {"held-out"}
    publish(results, tmp_path / "docs")
    kept = json.loads((tmp_path / "docs" / "results.json").read_text())
    assert kept == results
    assert (tmp_path / "docs" / "results.md").read_text() == page.markdown(kept["choosing"], kept["compared"])
    assert (tmp_path / "docs" / "images" / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def made(accuracies: Dict[Case, Sequence[float]], training: Training = TINY, scored: str = "held-out") -> Any:
    """Returns results as runs would have them."""
    results = []
    for seed in range(len(next(iter(accuracies.values())))):
        for case, values in accuracies.items():
            entries, zeros = expected_entries(case.depth), expected_zeros(case.depth, case.sparsity)
            nonzero = {**entries, MASKED: entries[MASKED] - zeros} if case.sparsity else entries
            counts = {"entries": entries, "nonzero": nonzero, "statistics": entries[NORM], "bytes": 100, "gzip": 50}
            machine = {
                "processor": "some",
                "cores": 2,
                "system": "Linux",
                "python": "3",
                "tensorflow": "1",
                "numpy": "1",
            }
            results.append(
                {
                    "run": Run(case, seed + 1, training, scored=scored).as_dict(),
                    "accuracy": values[seed],
                    "digits": {"trained": 4000, "scored": 1000, "images": 4000},
                    "counts": counts,
                    "zeros": zeros,
                    "train_seconds": 60.0,
                    "seconds": 120.0,
                    "machine": machine,
                }
            )
    return results


LARGE, HALF, QUARTER = Case(1.0), Case(0.5), Case(0.25)
P75, P95 = Case(1.0, 0.75), Case(1.0, 0.95)


def nets(p75: Sequence[float], p95: Sequence[float]) -> Any:
    return made({LARGE: (0.9, 0.92), HALF: (0.8, 0.82), QUARTER: (0.7, 0.72), P75: p75, P95: p95})


def test_nets_are_paired_by_parameters_and_told_apart_only_where_no_seed_overlaps():
    half, quarter = summary.pairs(summary.scores(nets((0.83, 0.9), (0.6, 0.71))))
    assert (half.dense.case, half.sparse.case) == (HALF, P75)
    assert (quarter.dense.case, quarter.sparse.case) == (QUARTER, P95)
    assert (half.verdict, quarter.verdict) == (Verdict.HIGHER, Verdict.EVEN)
    assert summary.compared(half.dense, half.sparse) is Verdict.LOWER
    # A seed as good as another's is no difference.
    assert summary.pairs(summary.scores(nets((0.82, 0.9), (0.6, 0.71))))[0].verdict is Verdict.EVEN


def test_parameters_are_counted_over_all_kinds():
    score = summary.scores(nets((0.9, 0.9), (0.9, 0.9)))[3]
    assert score.parameters == sum(expected_entries(1.0).values()) == 3216650
    assert score.parameters - score.nonzero == score.masked_entries - score.masked_nonzero == expected_zeros(1.0, 0.75)


@pytest.mark.parametrize(
    "p75, p95, says",
    [
        ((0.9, 0.9), (0.8, 0.8), "Large and sparse wins, as in the paper:"),
        ((0.7, 0.7), (0.6, 0.6), "Small and dense wins, unlike in the paper:"),
        ((0.8, 0.9), (0.7, 0.8), "Neither wins"),
        ((0.9, 0.9), (0.7, 0.8), "Large and sparse wins, as in the paper, where the seeds"),
        ((0.9, 0.9), (0.6, 0.6), "No single answer"),
    ],
)
def test_the_page_says_what_the_numbers_say(p75: Sequence[float], p95: Sequence[float], says: str):
    rates = [
        result
        for rate, accuracy in ((0.1, 0.5), (0.2, 0.6))
        for result in made({HALF: (accuracy,)}, TINY._replace(rate=rate), "validation")
    ]
    assert summary.best_rate(rates) == 0.2
    text = page.markdown(rates, nets(p75, p95))
    assert says in text.replace("\n", " ")
    claims = ["Large and sparse wins", "Small and dense wins", "Neither wins", "No single answer"]
    assert [claim for claim in claims if claim in text] == [claim for claim in claims if says.startswith(claim)]
    assert "trained with it: 0.2" in text
    half, p75_mean = 0.81, sum(p75) / 2
    assert f"| 0.5, dense | {half:.2%} | 80.00% to 82.00% |" in text
    assert f"| 1, pruned to 75% | {p75_mean:.2%} |" in text
    assert max(map(len, (line for line in text.splitlines() if not line.startswith("|")))) <= 120
