"""The section of the page and the JSON of the streaming group."""

from typing import Any, Dict, Sequence

from benchmarks.budgets import Outcome, markdown_table, outcomes_markdown
from benchmarks.machine import Machine, sentence
from benchmarks.streaming.summary import Cost

_METHOD = """\
A checkpoint in five shards is worked on, and its files are copied by the kernel (`sendfile`) and flushed (`fsync`), by
turns, {repeat} times each after one round that does not count. What is folded is masked: a third of its bytes are
weights, a third masks, a third slots of Momentum. What is rewritten and pruned (to 90%, every weight by itself) is
dense: half of its bytes are weights, half slots; rewriting adds masks, and so writes half as much again as the copy.
A command's time includes reading the graph, writing, flushing, and rereading all it wrote; not the start of Python and
TensorFlow, which the peak memory of its process does include. Ratios are paired, their median is taken. Pruning has a
budget for its memory only: beside copying it selects, and how long that takes depends on the structure asked for.
"""


def line(cost: Cost) -> str:
    """Returns a command's result in one line."""
    return (
        f"{cost.subject}: copied in {cost.copy:.2f} s, done in {cost.seconds:.2f} s, {cost.ratio:.2f} times as long, "
        f"with {cost.peak / 1e6:.0f} MB"
    )


def markdown(machine: Machine, repeat: int, costs: Sequence[Cost], outcomes: Sequence[Outcome]) -> str:
    """Returns the section: method, budgets, picture, and the table behind it."""
    parts = [
        "## Streaming: fold, rewrite and prune beside a plain copy",
        sentence(machine),
        _METHOD.format(repeat=repeat),
        outcomes_markdown(outcomes),
        "![Seconds of each command and of a plain copy](images/streaming.png)",
        _table(costs),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table(costs: Sequence[Cost]) -> str:
    headings = (
        *(
            "command",
            "checkpoint",
            "tensors",
            "GB",
            "largest tensor, MB",
            "copy, s",
            "command, s",
            "ratio",
            "its range",
        ),
        "peak memory, MB",
    )
    rows = [
        [
            cost.command,
            cost.kind.title,
            f"{cost.made.tensors:,}",
            f"{cost.made.size / 1e9:.2f}",
            f"{cost.made.largest / 1e6:.0f}",
            f"{cost.copy:.2f}",
            f"{cost.seconds:.2f}",
            f"{cost.ratio:.2f}",
            f"{cost.ratios[0]:.2f} to {cost.ratios[1]:.2f}",
            f"{cost.peak / 1e6:.0f}",
        ]
        for cost in costs
    ]
    return markdown_table(headings, rows, numbers=range(2, len(headings)))


def as_dict(machine: Machine, repeat: int, costs: Sequence[Cost], outcomes: Sequence[Outcome]) -> Dict[str, Any]:
    """Returns everything as plain values for JSON, each round's own figures included."""
    return {
        "machine": machine,
        "repeat": repeat,
        "costs": [
            {
                "command": cost.command,
                "checkpoint": cost.kind.name,
                "made": cost.made._asdict(),
                "copy": cost.copy,
                "seconds": cost.seconds,
                "ratio": cost.ratio,
                "peak": cost.peak,
                "rounds": [item._asdict() for item in cost.rounds],
            }
            for cost in costs
        ],
        "outcomes": [outcome.as_dict() for outcome in outcomes],
    }
