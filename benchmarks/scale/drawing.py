"""The picture: what masking adds to building and to training, by the number of replicas."""

from pathlib import Path
from typing import Any, List, Sequence, Tuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.engine.drawing import BUDGET, CONTRIB, INK, OURS
from benchmarks.engine.summary import TRAINING
from benchmarks.rewriting.summary import SHARE
from benchmarks.scale.summary import Cost

WIDTH = 0.34


def draw(costs: Sequence[Cost], path: Path) -> None:
    """Writes the picture as a PNG file."""
    figure = Figure(figsize=(9.6, 3.4), dpi=130, facecolor="white")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _bars(left, costs, [("masking", OURS, [cost.share for cost in costs])], SHARE.limit)
    left.set_ylabel("added to building the graph", fontsize=9.5, color=INK)
    steps = [cost.step.median - 1 for cost in costs]
    training = [cost.training.median - 1 for cost in costs]
    series = [("steps without an update", OURS, steps), ("with an update every 10 steps", CONTRIB, training)]
    _bars(right, costs, series, TRAINING.limit - 1)
    right.set_ylabel("added to training", fontsize=9.5, color=INK)
    right.legend(frameon=False, fontsize=8.5, loc="upper left")
    figure.suptitle("What masking costs on several devices", x=0.02, ha="left", fontsize=12, color=INK)
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    figure.savefig(str(path))


def _bars(axes: Any, costs: Sequence[Cost], series: Sequence[Tuple[str, str, List[float]]], limit: float) -> None:
    width = WIDTH * (2 if len(series) == 1 else 1)
    highest = max(limit, *(value for _, _, values in series for value in values))
    lowest = min(0.0, *(value for _, _, values in series for value in values))
    for number, (name, colour, values) in enumerate(series):
        for place, value in enumerate(values):
            at = place + (number - (len(series) - 1) / 2) * width
            axes.bar(at, value, width=width, color=colour, edgecolor="white", label=name if place == 0 else None)
            axes.text(at, max(value, 0.0) + highest * 0.02, f"{value:+.1%}", ha="center", fontsize=8.5, color=INK)
    axes.axhline(limit, color=BUDGET, linestyle="--", linewidth=1.4)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_ylim(lowest * 1.2, highest * 1.45)
    axes.set_xticks(range(len(costs)))
    axes.set_xticklabels([cost.subject.replace(", ", "\n") for cost in costs], fontsize=9)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
