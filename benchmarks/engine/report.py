"""The section of the page and the JSON of the engine group."""

from typing import Any, Dict, Optional, Sequence

from benchmarks.budgets import Outcome, markdown_table, outcomes_markdown
from benchmarks.engine.nets import SIDE
from benchmarks.engine.sessions import THREADS
from benchmarks.engine.specs import FREQUENCY, SPARSITY
from benchmarks.engine.summary import LARGE_BATCH, Cost, Ratio, Update, per_entry
from benchmarks.machine import Machine, sentence

NOT_OFFERED, UNKNOWN = "not offered", "not measured"

_METHOD = """\
Beside the net as it is ("dense") stands tf.contrib.model_pruning ("contrib"): the same unchanged code of slim, with
`slim.conv2d` and `slim.fully_connected` replaced by contrib's masked layers while it builds the net. Everything that is
compared runs in one process by turns, in an order that changes from round to round; figures are medians, ratios medians
of the ratios within a round. Every net, and every measurement of memory, has a process of its own. Sessions have
{threads} threads within ops and {threads} among ops. Times are wall time, on the assumption that the machine does
nothing else: its load before this run was {load:.1f} (0.0 is a quiet one).

- **Training**: {side} px, batch {batch}, momentum and weight decay, {blocks} blocks of {frequency} steps after one that
  is not timed. The last step of each block updates all masks, to {sparsity:.0%}. The ratio of a step is over the other
  steps, that of training over whole blocks. graph_masker's train op has the update in it, due or not; contrib's is run
  after each step, as its hook does, and is counted in training alone: its step is without.
- **One update** of all masks at {sparsity:.0%}, {rounds} of each, over normally distributed weights of the shapes that
  graph_masker masks in the net, without the net around them.
  SparseML 0.12.2 is measured in this alone: it masks constructed graphs of TensorFlow 1, too, and sorts.
- **Off schedule**: what an update that is not due adds to a run that only counts a step; contrib's in a run of its own.
- **Ops**: in the graph, per weight, from the difference between {few} weights and all; without summaries, of which
  graph_masker's take one more per weight.
- **Memory**: how far the resident memory of the process rises above what it was before an update that has run before,
  the highest of {updates}. The kernel counts it to a few hundred kB.
"""

_TRAINING_NOTE = """\
Training, as a multiple of the net as it is; in brackets the middle half of the ratios. Dense against dense, the same
session a second time in each round, is what ratios are uncertain by. From batch {large} on the budget of a step is
lower.
"""


def line(cost: Cost) -> str:
    """Returns a net's result in one line."""
    return (
        f"{cost.title}: step {cost.ours.step.median:.3f} of dense (contrib {cost.contrib.step.median:.3f}), "
        f"training {cost.ours.training.median:.3f} ({cost.contrib.training.median:.3f}), "
        f"update {cost.our_update.seconds * 1e3:.0f} ms ({cost.contribs_update.seconds * 1e3:.0f})"
    )


def markdown(machine: Machine, counts: Dict[str, float], costs: Sequence[Cost], outcomes: Sequence[Outcome]) -> str:
    """Returns the section: method, budgets, picture, and the tables behind it.

    Args:
        machine: where it was measured.
        counts: ``blocks``, ``rounds``, ``updates``, ``few`` and ``load``, as the method names them.
        costs: one per net.
        outcomes: what they come to.
    """
    method = _METHOD.format(
        threads=THREADS, side=SIDE, batch=costs[0].batch, frequency=FREQUENCY, sparsity=SPARSITY, **counts
    )
    parts = [
        "## Engine: what masks and their updates cost while training",
        sentence(machine),
        method,
        outcomes_markdown(outcomes),
        *_left_out(costs),
        "![Training and one update, graph_masker beside contrib](images/engine.png)",
        _TRAINING_NOTE.format(large=LARGE_BATCH),
        _training_table(costs),
        "One update of all masks:",
        _updates_table(costs),
        "What else an update costs:",
        _others_table(costs),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _left_out(costs: Sequence[Cost]) -> Sequence[str]:
    notes = []
    if any(cost.global_seconds is None for cost in costs):
        notes.append("One threshold over all weights: not offered by this version's `PruningSpec`, so not measured.")
    if any(cost.sparseml_seconds is None for cost in costs):
        notes.append("SparseML: not installed, so not measured; `make bench` installs it where it can be.")
    if any(cost.our_update.memory is None for cost in costs):
        notes.append("Memory: this system does not tell a process its own peak, so not measured.")
    return notes


def _training_table(costs: Sequence[Cost]) -> str:
    headings = (
        *("net", "dense step, ms", "dense / dense", "step", "contrib's", "ours / contrib's"),
        *("with updates", "contrib's", "masks", "contrib's"),
    )
    rows = [
        [
            cost.title,
            f"{cost.dense_seconds * 1e3:.0f}",
            _ratio(cost.dense_again),
            _ratio(cost.ours.step),
            _ratio(cost.contrib.step),
            _ratio(cost.beside_contrib),
            _ratio(cost.ours.training),
            _ratio(cost.contrib.training),
            str(cost.ours.masks),
            str(cost.contrib.masks),
        ]
        for cost in costs
    ]
    return markdown_table(headings, rows, numbers=range(1, len(headings)))


def _updates_table(costs: Sequence[Cost]) -> str:
    headings = (
        *("net", "entries", "ms", "contrib's", "ns per entry", "contrib's", "contrib's / ours"),
        *("sparsity reached", "contrib's", "one threshold over all, ms", "ns per entry", "SparseML's, ms"),
    )
    rows = [
        [
            cost.title,
            f"{cost.entries:,}",
            _milliseconds(cost.our_update.seconds),
            _milliseconds(cost.contribs_update.seconds),
            _nanoseconds(cost.our_update.seconds, cost),
            _nanoseconds(cost.contribs_update.seconds, cost),
            f"{1 / cost.update_ratio.median:.1f}",
            f"{cost.our_update.sparsity:.6f}",
            f"{cost.contribs_update.sparsity:.6f}",
            _milliseconds(cost.global_seconds),
            _nanoseconds(cost.global_seconds, cost),
            UNKNOWN if cost.sparseml_seconds is None else _milliseconds(cost.sparseml_seconds),
        ]
        for cost in costs
    ]
    return markdown_table(headings, rows, numbers=range(1, len(headings)))


def _others_table(costs: Sequence[Cost]) -> str:
    headings = (
        *("net", "weights", "ops per weight", "contrib's", "empty run, ms", "off schedule, ms", "contrib's"),
        *("largest weight, MB", "peak / largest", "contrib's"),
    )
    rows = [
        [
            cost.title,
            str(cost.weights),
            f"{cost.our_update.ops:.1f}",
            f"{cost.contribs_update.ops:.1f}",
            f"{cost.empty_seconds * 1e3:.2f}",
            f"{cost.our_update.off_seconds * 1e3:.2f}",
            f"{cost.contribs_update.off_seconds * 1e3:.2f}",
            f"{cost.largest / 1e6:.1f}",
            _multiple(cost.our_update),
            _multiple(cost.contribs_update),
        ]
        for cost in costs
    ]
    return markdown_table(headings, rows, numbers=range(1, len(headings)))


def _ratio(ratio: Ratio) -> str:
    low, high = ratio.quartiles
    return f"{ratio.median:.3f} ({low:.3f} to {high:.3f})"


def _milliseconds(seconds: Optional[float]) -> str:
    return NOT_OFFERED if seconds is None else f"{seconds * 1e3:.0f}"


def _nanoseconds(seconds: Optional[float], cost: Cost) -> str:
    found = per_entry(seconds, cost)
    return NOT_OFFERED if found is None else f"{found:.1f}"


def _multiple(update: Update) -> str:
    return UNKNOWN if update.memory is None else f"{update.memory:.1f}"


def as_dict(
    machine: Machine,
    counts: Dict[str, float],
    costs: Sequence[Cost],
    outcomes: Sequence[Outcome],
    raw: Dict[str, Dict[str, Any]],
) -> Dict[str, Any]:
    """Returns everything as plain values for JSON, what was measured included: `raw`, by net."""
    return {
        "machine": machine,
        "threads": THREADS,
        "counts": counts,
        "outcomes": [outcome.as_dict() for outcome in outcomes],
        "nets": [{**_plain(cost), "measured": raw[cost.net]} for cost in costs],
    }


def _plain(value: Any) -> Any:
    """Turns named tuples into dicts, at every depth."""
    if hasattr(value, "_asdict"):
        return {key: _plain(item) for key, item in value._asdict().items()}
    return value
