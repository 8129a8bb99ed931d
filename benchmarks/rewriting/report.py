"""The section of the page and the JSON of the rewriting group."""

from typing import Any, Dict, Sequence

from benchmarks.budgets import Outcome, markdown_table, outcomes_markdown
from benchmarks.machine import Machine, sentence
from benchmarks.rewriting.measuring import SPEC
from benchmarks.rewriting.summary import Cost

PHASE_TITLES = {
    "view": "view",
    "sites": "sites",
    "plan": "plan",
    "surgery": "masks and products",
    "autodiff": "gradients of products",
    "update": "mask update",
    "savers": "savers",
    "verify": "verify",
    "collector": "garbage collector",
    "rest": "the rest",
}

_METHOD = """\
Each model's training graph, gradients and optimizer included, is built by its own unmodified code, once as it is and
once through `auto_mask`, by turns, {repeat} times each in one process. Times are CPU seconds of the thread that builds,
medians over the pairs. What masking adds is timed where it is spent: the analysis (view, sites, plan), creating masks
and products, the gradients of the products, the mask update, the savers (those that masking adds, and what the
model's own saver takes longer for holding the masks too) and verification. The difference of the two builds says the
same with more noise. When the garbage collector runs depends on all that was made before, not on who made it: each
phase is without it, and what it takes longer in the masked build is a phase of its own. The median of a sum is not
quite the sum of the medians.
"""


def line(cost: Cost) -> str:
    """Returns a model's result in one line."""
    return (
        f"{cost.title}: {cost.ops:,} ops, {cost.sites} sites, built in {cost.dense_seconds:.2f} s; "
        f"masking adds {cost.ops_added:,} ops and {cost.added_seconds:.2f} s, {cost.share:.1%}"
    )


def markdown(machine: Machine, repeat: int, costs: Sequence[Cost], outcomes: Sequence[Outcome]) -> str:
    """Returns the section: method, budgets, picture, and the tables behind it."""
    parts = [
        "## Rewriting: what masking adds to building a training graph",
        sentence(machine),
        _METHOD.format(repeat=repeat),
        outcomes_markdown(outcomes),
        "![What masking adds, by phase, as a share of building the graph as it is](images/rewriting.png)",
        _models_table(costs),
        "Each phase as a share of building the graph as it is:",
        _phases_table(costs),
    ]
    missing = sorted({label for cost in costs for label in cost.missing})
    if missing:
        parts.append(f"Not found, and so not timed: {', '.join(missing)}.")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _models_table(costs: Sequence[Cost]) -> str:
    headings = (
        *("model", "ops", "sites", "ops added", "build, s", "added, s", "difference, s"),
        *("share", "its range", "collector as is, masked, s"),
    )
    rows = [
        [
            cost.title,
            f"{cost.ops:,}",
            str(cost.sites),
            f"{cost.ops_added:,}",
            f"{cost.dense_seconds:.2f}",
            f"{cost.added_seconds:.3f}",
            f"{cost.difference_seconds:.3f}",
            f"{cost.share:.1%}",
            f"{cost.share_range[0]:.1%} to {cost.share_range[1]:.1%}",
            f"{cost.garbage[0]:.2f}, {cost.garbage[1]:.2f}",
        ]
        for cost in costs
    ]
    return markdown_table(headings, rows, numbers=range(1, len(headings)))


def _phases_table(costs: Sequence[Cost]) -> str:
    headings = ("model", *PHASE_TITLES.values())
    rows = [[cost.title, *(f"{cost.shares[name]:.2%}" for name in PHASE_TITLES)] for cost in costs]
    return markdown_table(headings, rows, numbers=range(1, len(headings)))


def as_dict(machine: Machine, repeat: int, costs: Sequence[Cost], outcomes: Sequence[Outcome]) -> Dict[str, Any]:
    """Returns everything as plain values for JSON, each pair's own figures included."""
    return {
        "machine": machine,
        "repeat": repeat,
        "spec": SPEC.to_dict(),
        "outcomes": [outcome.as_dict() for outcome in outcomes],
        "models": [
            {
                **{key: value for key, value in cost._asdict().items() if key != "pairs"},
                "pairs": [
                    {
                        "dense_seconds": pair.dense.seconds,
                        "masked_seconds": pair.masked.seconds,
                        "dense_garbage": pair.dense.garbage,
                        "masked_garbage": pair.masked.garbage,
                        "phases": pair.phases,
                        "laps": {" > ".join(path): own for path, own in pair.masked.laps.items()},
                    }
                    for pair in cost.pairs
                ],
            }
            for cost in costs
        ],
    }
