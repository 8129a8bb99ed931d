"""benchmarks/scale: from seconds to outcomes, section and picture."""

import importlib

import pytest

from benchmarks.engine.nets import net_named
from benchmarks.engine.specs import FREQUENCY
from benchmarks.options import Options
from benchmarks.scale import REPLICAS, drawing, report, run, summary


def _found(replicas):
    """Masking adds 5% to building, 2% to steps, and 50 ms to the last of each block."""
    dense = [0.1 * replicas] * (2 * FREQUENCY)
    masked = [value * 1.02 + (0.05 if number % FREQUENCY == 0 else 0.0) for number, value in enumerate(dense, 1)]
    building = {"dense": [1.0, 2.0, 4.0], "masked": [1.05, 2.1, 4.2]}
    return {"building": building, "training": {"dense": dense, "masked": masked}, "masks": 15 * replicas}


@pytest.fixture
def costs():
    return [summary.summarize(net_named("mobilenet_v1"), replicas, _found(replicas)) for replicas in REPLICAS]


def test_ratios(costs):
    one = costs[0]
    assert one.share == pytest.approx(0.05)
    assert one.added == pytest.approx(0.1)
    assert one.step.median == pytest.approx(1.02)
    assert one.training.median == pytest.approx(1.02 + 0.05 / (0.1 * FREQUENCY))
    assert one.update_seconds == pytest.approx(0.05)


def test_outcomes_name_what_was_missed(costs):
    found = {(outcome.budget.key, outcome.subject): outcome.met for outcome in summary.outcomes(costs)}
    assert found["training", "MobileNet V1, 1 replica"] is False
    assert found["training", "MobileNet V1, 4 replicas"] is True
    assert found["share", "MobileNet V1, 2 replicas"] is True


def test_a_run_writes_page_json_and_picture(tmp_path, monkeypatch):
    child = importlib.import_module("benchmarks.engine.child")
    asked = []

    def measured(name, arguments):
        asked.append((name, arguments["replicas"]))
        return _found(arguments["replicas"])

    monkeypatch.setattr(child, "measured", measured)
    outcomes = run(Options(2, (), tmp_path / "out", tmp_path / "docs", lambda _: None))
    assert asked == [("replicas", replicas) for replicas in REPLICAS]
    assert len(outcomes) == 9
    page = (tmp_path / "docs" / "benchmarks.md").read_text()
    assert "## Scale: what masking costs on several devices" in page
    assert "| MobileNet V1 | 2 | 30 | 2.00 | 0.100 | 5.0% | 200 |" in page
    assert (tmp_path / "docs" / "images" / "scale.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "scale.json").exists()


def test_a_line_for_each(costs):
    assert report.line(costs[1]).startswith("MobileNet V1, 2 replicas: rewriting 5.0% of building, step 1.020 of dense")


def test_the_picture(costs, tmp_path):
    drawing.draw(costs, tmp_path / "scale.png")
    assert (tmp_path / "scale.png").stat().st_size > 10000
