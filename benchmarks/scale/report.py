"""The section of the page and the JSON of the scale group."""

from typing import Any, Dict, Mapping, Sequence

from benchmarks.budgets import Outcome, markdown_table, outcomes_markdown
from benchmarks.engine.sessions import THREADS
from benchmarks.engine.specs import FREQUENCY, SPARSITY
from benchmarks.engine.summary import Ratio
from benchmarks.machine import Machine, sentence
from benchmarks.scale.replicas import SIDE
from benchmarks.scale.summary import Cost

_METHOD = """\
The same unchanged net under `MirroredStrategy` on virtual CPU devices, as it is ("dense") and through `auto_mask`,
built and trained in one process by turns; each number of replicas has a process of its own. All devices share the same
cores and {threads} threads, so that steps get slower with each, as on GPUs they would not: what counts are the ratios
within a round, of which medians are shown. Wall time; load before this run {load:.1f} (0.0 is a quiet machine).

- **Rewriting**: what masking adds to building the training graph of all replicas, {builds} builds after one.
- **Training**: {side} px, batch {batch} per replica, momentum and weight decay, {blocks} blocks of {frequency} steps
  after one; the last step of each updates all masks to {sparsity:.0%}: on the first device, from where they are copied.
"""


def line(cost: Cost) -> str:
    """Returns a result in one line."""
    return (
        f"{cost.subject}: rewriting {cost.share:.1%} of building, step {cost.step.median:.3f} of dense, "
        f"training {cost.training.median:.3f}, update {cost.update_seconds * 1e3:.0f} ms"
    )


def markdown(machine: Machine, counts: Mapping[str, float], costs: Sequence[Cost], outcomes: Sequence[Outcome]) -> str:
    """Returns the section: method, budgets, picture and the table behind it.

    Args:
        machine: where it was measured.
        counts: ``builds``, ``blocks``, ``batch`` and ``load``, as the method names them.
        costs: one per number of replicas.
        outcomes: what they come to.
    """
    parts = [
        "## Scale: what masking costs on several devices",
        sentence(machine),
        _METHOD.format(threads=THREADS, side=SIDE, frequency=FREQUENCY, sparsity=SPARSITY, **counts),
        outcomes_markdown(outcomes),
        "![Rewriting and training by number of replicas](images/scale.png)",
        "In brackets the middle half of the ratios.",
        _table(costs),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table(costs: Sequence[Cost]) -> str:
    headings = (
        *("net", "replicas", "masks", "building dense, s", "masking adds, s", "share"),
        *("dense step, ms", "step", "with updates", "one update, ms"),
    )
    rows = [
        [
            cost.title,
            str(cost.replicas),
            str(cost.masks),
            f"{cost.build_seconds:.2f}",
            f"{cost.added:.3f}",
            f"{cost.share:.1%}",
            f"{cost.step_seconds * 1e3:.0f}",
            _ratio(cost.step),
            _ratio(cost.training),
            f"{cost.update_seconds * 1e3:.0f}",
        ]
        for cost in costs
    ]
    return markdown_table(headings, rows, numbers=range(1, len(headings)))


def _ratio(ratio: Ratio) -> str:
    low, high = ratio.quartiles
    return f"{ratio.median:.3f} ({low:.3f} to {high:.3f})"


def as_dict(
    machine: Machine,
    counts: Mapping[str, float],
    costs: Sequence[Cost],
    outcomes: Sequence[Outcome],
    raw: Mapping[str, Any],
) -> Dict[str, Any]:
    """Returns everything as plain values for JSON, what was measured included: `raw`, by net and replicas."""
    return {
        "machine": machine,
        "threads": THREADS,
        "counts": dict(counts),
        "outcomes": [outcome.as_dict() for outcome in outcomes],
        "costs": [
            {**cost._asdict(), "step": cost.step._asdict(), "training": cost.training._asdict()} for cost in costs
        ],
        "measured": dict(raw),
    }
