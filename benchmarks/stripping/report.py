"""Outcomes, section and picture of the stripping group."""

import statistics
from pathlib import Path
from typing import List, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.budgets import Budget, Outcome, markdown_table, outcomes_markdown
from benchmarks.engine.summary import paired
from benchmarks.machine import Machine, sentence
from benchmarks.stripping.measuring import SPARSITY, Cost

BUDGET = Budget("strip", "strip of a frozen graph / contrib's tool", 0.05, "{:.3f}")

_METHOD = """\
A net of slim for inference, its masks at {sparsity:.0%}, frozen. graph_masker multiplies masks into weights on the
protocol buffer; `strip_pruning_vars_fn` of tf.contrib.model_pruning runs a session. Both run by turns in one process,
{rounds} times each; figures are medians, the ratio the median of those within a round. The budget is for the way from
GraphDef to GraphDef. From file to file, graph_masker also compares what it wrote with what it should be, and flushes
it to disk; contrib's side reads and writes. The two must hold the same constants and predict the same, bit for bit. The
load before was {load:.1f} (0.0 is a quiet machine).
"""


def outcomes(costs: Sequence[Cost]) -> List[Outcome]:
    """Returns what the costs come to."""
    return [Outcome(BUDGET, cost.title, _ratio(cost)) for cost in costs]


def _ratio(cost: Cost, suffix: str = "") -> float:
    return paired(cost.seconds["ours" + suffix], cost.seconds["contrib" + suffix]).median


def line(cost: Cost) -> str:
    """Returns a net's result in one line."""
    ours, contribs = (statistics.median(cost.seconds[name]) * 1e3 for name in ("ours", "contrib"))
    return f"{cost.title}: {ours:.0f} ms, contrib's tool {contribs:.0f} ms; {1 / _ratio(cost):.1f} times as fast"


def markdown(machine: Machine, load: float, rounds: int, costs: Sequence[Cost], found: Sequence[Outcome]) -> str:
    """Returns the section: method, budget, picture, and the table behind it."""
    headings = (
        "net",
        "masks",
        "ms",
        "contrib's",
        "file to file, ms",
        "contrib's",
        "MB",
        "stripped",
        "gzipped",
        "stripped",
    )
    rows = [
        [
            cost.title,
            str(cost.masks),
            *(f"{statistics.median(cost.seconds[name]) * 1e3:.0f}" for name in cost.seconds),
            *(f"{size / 1e6:.1f}" for pair in zip(cost.masked, cost.plain) for size in pair),
        ]
        for cost in costs
    ]
    parts = [
        "## Stripping: what taking masks out of a frozen graph costs",
        sentence(machine),
        _METHOD.format(sparsity=SPARSITY, rounds=rounds, load=load),
        outcomes_markdown(found),
        "![Stripping a frozen graph, graph_masker beside contrib](images/stripping.png)",
        markdown_table(headings, rows, numbers=range(1, len(headings))),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def draw(costs: Sequence[Cost], path: Path) -> None:
    """Writes the picture as a PNG file: a bar for each side and net."""
    figure = Figure(figsize=(8, 1.4 + 0.8 * len(costs)), dpi=130, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, shift, colour in (("ours", -0.2, "#2f5d8a"), ("contrib", 0.2, "#b3cbe3")):
        values = [statistics.median(cost.seconds[name]) * 1e3 for cost in costs]
        places = [place + shift for place in range(len(costs))]
        axes.barh(places, values, height=0.36, color=colour, label={"ours": "graph_masker"}.get(name, name))
        for place, value in zip(places, values):
            axes.text(value, place, f" {value:.0f} ms", va="center", fontsize=9)
    axes.set_yticks(range(len(costs)))
    axes.set_yticklabels([cost.title for cost in costs])
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds to strip a frozen graph")
    axes.margins(x=0.12)
    axes.legend(frameon=False, loc="lower right")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(str(path))
