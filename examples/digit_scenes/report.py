"""The tables at the end of a run."""

from typing import Any, Dict, List

from rich.table import Table

from examples.digit_scenes.sparsity import LayerSparsity


def short_name(weight: str) -> str:
    """Names a layer by the last two scopes of its weight."""
    return "/".join(weight.split("/")[-3:-1])


def layers_table(rows: List[LayerSparsity], target: float) -> Table:
    """Shows requested against reached sparsity, layer by layer."""
    table = Table(title="Sparsity by layer, target %.2f%%" % (100 * target))
    table.add_column("layer", overflow="fold")
    for name in ("shape", "entries", "zeros asked", "zeros reached", "sparsity"):
        table.add_column(name, justify="right")
    for row in rows:
        exact = row.zeros_asked == row.zeros_mask == row.zeros_folded
        table.add_row(
            short_name(row.weight),
            "x".join(map(str, row.shape)),
            f"{row.entries:,}",
            f"{row.zeros_asked:,}",
            f"{row.zeros_folded:,}",
            f"[{'green' if exact else 'red'}]{100 * row.sparsity:.4f}%",
        )
    entries, zeros = sum(row.entries for row in rows), sum(row.zeros_folded for row in rows)
    table.add_section()
    table.add_row(
        "all masked layers",
        "",
        f"{entries:,}",
        f"{sum(row.zeros_asked for row in rows):,}",
        f"{zeros:,}",
        f"{100 * zeros / entries:.4f}%",
    )
    return table


def results_table(summary: Dict[str, Any]) -> Table:
    """Shows dense against pruned."""
    table = Table(title=f"Dense and pruned on {summary['held_out_scenes']} held-out scenes")
    table.add_column("")
    for name in ("dense", "pruned"):
        table.add_column(name, justify="right")
    for title, key, form in (
        ("mAP@0.5", "map50", "{:.3f}"),
        ("mAP", "map", "{:.3f}"),
        ("mAP@0.5 of instance masks", "masks_map50", "{:.3f}"),
        ("mAP of instance masks", "masks_map", "{:.3f}"),
        ("frozen graph, bytes", "frozen_bytes", "{:,}"),
        ("frozen graph, gzipped bytes", "frozen_gzip_bytes", "{:,}"),
    ):
        if summary[key + "_dense"] is not None:
            table.add_row(title, form.format(summary[key + "_dense"]), form.format(summary[key + "_pruned"]))
    return table
