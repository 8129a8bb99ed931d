"""The picture: per command and checkpoint, seconds of a plain copy, of the command, and of its budget."""

from pathlib import Path
from typing import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.streaming.summary import TIME, Cost

INK = "#22303f"


def draw(costs: Sequence[Cost], path: Path) -> None:
    """Writes the picture as a PNG file."""
    figure = Figure(figsize=(9.6, 1.6 + 0.9 * len(costs)), dpi=130, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for place, cost in enumerate(costs):
        bars = ((-0.19, cost.copy, "#6f9bc8", "plain copy with fsync"), (0.19, cost.seconds, "#d9822b", "command"))
        for shift, seconds, colour, title in bars:
            axes.barh(place + shift, seconds, height=0.34, color=colour, label=title if place == 0 else None)
            axes.text(seconds, place + shift, f" {seconds:.1f} s", va="center", fontsize=9.5, color=INK)
        if cost.command == "prune":
            continue
        limit = TIME.limit * cost.copy
        label = f"budget: {TIME.limit} times the copy" if place == 0 else None
        axes.plot([limit, limit], [place - 0.4, place + 0.4], color="#c0392b", linestyle="--", label=label)
    axes.set_yticks(range(len(costs)))
    axes.set_yticklabels([f"{cost.subject}\npeak {cost.peak / 1e6:.0f} MB" for cost in costs], fontsize=9.5, color=INK)
    axes.set_ylim(len(costs) - 0.4, -0.6)
    axes.set_xlim(0, 1.12 * max(max(TIME.limit * cost.copy, cost.seconds) for cost in costs))
    axes.set_xlabel("seconds", fontsize=9.5, color=INK)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    figure.suptitle("Work on a checkpoint beside copying its files", x=0.02, ha="left", fontsize=12, color=INK)
    figure.legend(*axes.get_legend_handles_labels(), loc="lower center", ncol=3, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.4 / figure.get_figheight(), 1, 1))
    figure.savefig(str(path))
