"""The picture: one bar per model, what masking adds by phase, and the budget as a line."""

from pathlib import Path
from typing import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from benchmarks.rewriting.summary import SHARE, Cost

INK = "#22303f"
# Analysis in blues and greys, creating ops in warm colours.
SEGMENTS = (
    ("view", ("view",), "#2f5d8a"),
    ("sites and plan", ("sites", "plan"), "#6f9bc8"),
    ("verify", ("verify",), "#b3cbe3"),
    ("masks and products", ("surgery",), "#d9822b"),
    ("gradients of products", ("autodiff",), "#eeb26b"),
    ("mask update", ("update",), "#b5533c"),
    ("savers", ("savers",), "#8a6f9e"),
    ("garbage collector", ("collector",), "#6b7682"),
    ("the rest", ("rest",), "#c3c9cf"),
)


def draw(costs: Sequence[Cost], path: Path) -> None:
    """Writes the picture as a PNG file."""
    figure = Figure(figsize=(9.6, 1.9 + 0.75 * len(costs)), dpi=130, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    places = range(len(costs))
    left = [0.0] * len(costs)
    for title, phases, colour in SEGMENTS:
        widths = [max(0.0, sum(cost.shares[phase] for phase in phases)) for cost in costs]
        axes.barh(places, widths, left=left, height=0.56, color=colour, edgecolor="white", linewidth=0.8, label=title)
        left = [start + width for start, width in zip(left, widths)]
    highest = max([*left, SHARE.limit])
    for place, cost, end in zip(places, costs, left):
        axes.text(end + highest * 0.012, place, f"{cost.share:.1%}", va="center", fontsize=10, color=INK, weight="bold")
    axes.axvline(SHARE.limit, color="#c0392b", linestyle="--", linewidth=1.4)
    axes.text(SHARE.limit, -0.58, f" budget {SHARE.limit:.0%}", color="#c0392b", fontsize=9, va="bottom")
    axes.set_yticks(list(places))
    names = [f"{cost.title}\n{cost.ops:,} ops, built in {cost.dense_seconds:.1f} s" for cost in costs]
    axes.set_yticklabels(names, fontsize=9.5, color=INK)
    axes.set_ylim(len(costs) - 0.5, -0.85)
    axes.set_xlim(0, highest * 1.1)
    axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10], nbins=11))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("share of the time to build the graph as it is", fontsize=9.5, color=INK)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    figure.suptitle("What masking adds to building a training graph", x=0.02, ha="left", fontsize=12, color=INK)
    figure.legend(*axes.get_legend_handles_labels(), loc="lower center", ncol=4, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.58 / figure.get_figheight(), 1, 1))
    figure.savefig(str(path))
