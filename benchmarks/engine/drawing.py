"""The picture: training beside dense, and one update per entry, graph_masker and contrib."""

from pathlib import Path
from typing import Any, Callable, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.engine.summary import TRAINING, UPDATE, Cost, per_entry

INK, OURS, CONTRIB, BUDGET = "#22303f", "#2f5d8a", "#d9822b", "#c0392b"
HEIGHT = 0.34


def draw(costs: Sequence[Cost], path: Path) -> None:
    """Writes the picture as a PNG file."""
    figure = Figure(figsize=(10.4, 2.3 + 0.72 * len(costs)), dpi=130, facecolor="white")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _training(left, costs)
    _updates(right, costs)
    figure.suptitle("What masks and their updates cost while training", x=0.02, ha="left", fontsize=12, color=INK)
    figure.legend(*left.get_legend_handles_labels(), loc="lower center", ncol=4, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.36 / figure.get_figheight(), 1, 1))
    figure.savefig(str(path))


def _training(axes: Any, costs: Sequence[Cost]) -> None:
    """Bars of what training takes longer than dense, the part of steps without an update darker."""
    paces = [pace for cost in costs for pace in (cost.ours, cost.contrib)]
    highest = max(TRAINING.limit, *(pace.training.median for pace in paces)) - 1
    lowest = min(1.0, *(ratio.median for pace in paces for ratio in (pace.step, pace.training))) - 1
    for place, cost in enumerate(costs):
        for pace, colour, offset, name in (
            (cost.ours, OURS, -HEIGHT / 2, "graph_masker"),
            (cost.contrib, CONTRIB, HEIGHT / 2, "tf.contrib.model_pruning"),
        ):
            total, step = pace.training.median - 1, pace.step.median - 1
            label = name if place == 0 else None
            axes.barh(place + offset, total, height=HEIGHT, color=colour, edgecolor="white", label=label)
            axes.plot([step, step], [place + offset - HEIGHT / 2.4, place + offset + HEIGHT / 2.4], color=INK, lw=2.2)
            shown = max(total, step, 0.0) + highest * 0.02
            axes.text(shown, place + offset, f"{total:+.1%}", va="center", fontsize=9, color=INK)
    axes.plot([], [], color=INK, lw=2.2, label="steps without an update")
    axes.axvline(TRAINING.limit - 1, color=BUDGET, linestyle="--", linewidth=1.4, label="budget")
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlim(lowest, highest * 1.22)
    _finish(axes, costs, "training with an update every 10 steps, over dense", lambda value, _: f"{value:.0%}")
    axes.set_yticklabels([f"{cost.title}\n{cost.dense_seconds * 1e3:.0f} ms a step" for cost in costs], fontsize=9)


def _updates(axes: Any, costs: Sequence[Cost]) -> None:
    """Bars of nanoseconds per entry on a logarithmic axis, and for each net a twelfth of contrib's."""
    for place, cost in enumerate(costs):
        for update, colour, offset in (
            (cost.our_update, OURS, -HEIGHT / 2),
            (cost.contribs_update, CONTRIB, HEIGHT / 2),
        ):
            value = per_entry(update.seconds, cost) or 0.0
            axes.barh(place + offset, value, height=HEIGHT, color=colour, edgecolor="white")
            axes.text(value * 1.06, place + offset, f"{value:.1f}", va="center", fontsize=9, color=INK)
        limit = (per_entry(cost.contribs_update.seconds, cost) or 0.0) * UPDATE.limit
        axes.plot([limit, limit], [place - HEIGHT, place], color=BUDGET, linestyle="--", linewidth=1.4)
    axes.set_xscale("log")
    axes.set_xlim(1, 2.2 * max(per_entry(cost.contribs_update.seconds, cost) or 0.0 for cost in costs))
    _finish(axes, costs, "one update of all masks, ns per entry (log)", lambda value, _: f"{value:g}")
    axes.set_yticklabels([f"{cost.title}\n{cost.entries / 1e6:.1f}M entries" for cost in costs], fontsize=9)


def _finish(axes: Any, costs: Sequence[Cost], title: str, form: Callable[[float, Any], str]) -> None:
    axes.set_yticks(range(len(costs)))
    axes.set_ylim(len(costs) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(form)
    axes.set_xlabel(title, fontsize=9.5, color=INK)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
