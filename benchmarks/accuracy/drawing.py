"""The picture: accuracy over nonzero parameters, small dense nets and one large net pruned."""

from pathlib import Path
from typing import Any, List, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from benchmarks.accuracy.summary import Score

INK, DENSE, PRUNED = "#22303f", "#d9822b", "#2f5d8a"
TICKS = [factor * 10**power for power in range(3, 8) for factor in (1, 2, 5)]


def draw(scores: Sequence[Score], path: Path) -> None:
    """Writes the picture as a PNG file."""
    figure = Figure(figsize=(8.6, 5.0), dpi=130, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    dense = sorted((s for s in scores if not s.case.sparsity), key=lambda s: s.nonzero)
    pruned = sorted((s for s in scores if s.case.sparsity), key=lambda s: s.nonzero)
    # The large dense net is where both lines begin.
    _line(axes, dense, DENSE, "dense, by depth multiplier", -14, [f"{s.case.depth:g}" for s in dense])
    labels = [f"{100 * s.case.sparsity:g}%" for s in pruned]
    _line(axes, [*pruned, *dense[-1:]], PRUNED, f"depth {dense[-1].case.depth:g}, pruned", 9, labels)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_major_formatter(FuncFormatter(_parameters))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
    axes.set_xlim(min(s.nonzero for s in scores) / 1.3, max(s.nonzero for s in scores) * 1.3)
    axes.margins(y=0.12)
    axes.set_xlabel("nonzero parameters (log)", color=INK)
    axes.set_ylabel("accuracy on held-out digits", color=INK)
    axes.grid(axis="y", color="#e4e8ec", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    seeds = len(scores[0].accuracies)
    axes.set_title(
        f"MobileNet V1 on real digits: mean of {seeds} seeds, bars from lowest to highest, dots are seeds",
        loc="left",
        fontsize=10.5,
        color=INK,
    )
    figure.tight_layout()
    figure.savefig(str(path))


def _line(axes: Any, scores: List[Score], colour: str, name: str, above: float, labels: List[str]) -> None:
    """Draws a line through means; labels, of the first points, stand so many typographic points above their bars."""
    sizes, means = [s.nonzero for s in scores], [s.mean for s in scores]
    ranges = [[s.mean - s.low for s in scores], [s.high - s.mean for s in scores]]
    axes.errorbar(
        sizes, means, yerr=ranges, color=colour, marker="o", markersize=6, lw=1.8, capsize=4, elinewidth=1.3, label=name
    )
    for score in scores:
        count = len(score.accuracies)
        axes.plot([score.nonzero] * count, score.accuracies, ".", color=colour, markersize=4, alpha=0.8)
    for score, label in zip(scores, labels):
        end = score.high if above > 0 else score.low
        axes.annotate(
            label,
            (score.nonzero, end),
            xytext=(0, above),
            textcoords="offset points",
            ha="center",
            fontsize=9.5,
            color=colour,
            fontweight="bold",
        )


def _parameters(value: float, _: Any) -> str:
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k"
