"""The tables at the end of a run."""
from typing import Any, Dict, List

from examples.digit_scenes.sparsity import LayerSparsity
from rich.table import Table


def layers_table(rows: List[LayerSparsity], target: float) -> Table:
    """Shows requested against reached sparsity, layer by layer."""
    table = Table(title="Sparsity by layer, target %.2f%%" % (100 * target))
    table.add_column("weight", overflow="fold")
    for name in ("shape", "entries", "zeros asked", "zeros reached", "sparsity"):
        table.add_column(name, justify="right")
    for row in rows:
        exact = row.zeros_asked == row.zeros_mask == row.zeros_folded
        table.add_row(
            row.weight, "x".join(map(str, row.shape)), "{:,}".format(row.entries),
            "{:,}".format(row.zeros_asked), "{:,}".format(row.zeros_folded),
            "[%s]%.4f%%" % ("green" if exact else "red", 100 * row.sparsity),
        )
    entries, zeros = sum(row.entries for row in rows), sum(row.zeros_folded for row in rows)
    table.add_section()
    table.add_row(
        "all masked layers", "", "{:,}".format(entries), "{:,}".format(sum(row.zeros_asked for row in rows)),
        "{:,}".format(zeros), "%.4f%%" % (100 * zeros / entries),
    )
    return table


def results_table(summary: Dict[str, Any]) -> Table:
    """Shows dense against pruned."""
    table = Table(title="Dense and pruned on %d held-out scenes" % summary["held_out_scenes"])
    table.add_column("")
    for name in ("dense", "pruned"):
        table.add_column(name, justify="right")
    for title, key, form in (
        ("mAP@0.5", "map50", "{:.3f}"),
        ("mAP", "map", "{:.3f}"),
        ("frozen graph, bytes", "frozen_bytes", "{:,}"),
        ("frozen graph, gzipped bytes", "frozen_gzip_bytes", "{:,}"),
    ):
        table.add_row(title, form.format(summary[key + "_dense"]), form.format(summary[key + "_pruned"]))
    return table
