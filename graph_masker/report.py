"""Tables for people: plans and results of folding, printed with rich."""

import contextlib
import os
import sys
from collections import Counter
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Sequence

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from graph_masker.files.sizes import raw_and_gzipped
from graph_masker.plan import MaskPlan, Pruning, Site
from graph_masker.spec import MAGNITUDE, Element
from graph_masker.spec.structure import Structure, plain_structure
from graph_masker.text import visible

# At some 20 MB per second.
_GZIP_AT_MOST = 200 * 2**20


def console(stderr: bool = False) -> Console:
    """Returns a console that never cuts names where its output is read by a program or kept in a file.

    Names are printed as they are: ``[bold]`` in one is no markup, and ``:car:`` no picture.
    """
    stream = sys.stderr if stderr else sys.stdout
    is_terminal = stream.isatty()
    width = None if is_terminal or "COLUMNS" in os.environ else 160
    return Console(stderr=stderr, width=width, markup=False, emoji=False)


@contextlib.contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Yields a function of (done, total) that draws a bar on standard error, where a person looks at it."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield lambda done, total: None
        return
    with Progress(console=screen, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def sites_table(plan: MaskPlan, zeros: Optional[Mapping[str, int]] = None) -> Table:
    """Returns one row per site: variable, op types, shape, entries, consumers and, where known, target and sparsity."""
    zeros = zeros or {}
    title, copies = f"{len(plan.weights)} sites, {plan.entries:,} entries", len(plan.sites) - len(plan.weights)
    table = Table(title=f"{title}; {copies} copies on further devices" if copies else title, title_justify="left")
    table.add_column("variable", overflow="fold")
    table.add_column("op types")
    for heading in ("shape", "entries", "consumers"):
        table.add_column(heading, justify="right")
    has_targets = any(site.pruning is not None for site in plan.sites)
    if has_targets:
        table.add_column("target", justify="right")
    if zeros:
        table.add_column("sparsity", justify="right")
    for site in plan.weights:
        row = [
            visible(site.variable),
            ", ".join(site.op_types),
            " x ".join(str(size) for size in site.shape),
            f"{site.entries:,}",
            str(forward_consumers(site)),
        ]
        if has_targets:
            row.append(_target(site.pruning) if site.pruning is not None else "")
        if zeros:
            row.append(f"{zeros[site.variable] / max(1, site.entries):.4f}" if site.variable in zeros else "no mask")
        table.add_row(*row)
    return table


def _target(pruning: Pruning) -> str:
    """Returns the target, and whatever is not the usual: structure, criterion, group."""
    words = [f"{pruning.target_sparsity:.4g}"]
    if not isinstance(pruning.structure, Element):
        words.append(structure_words(pruning.structure))
    if pruning.criterion != MAGNITUDE:
        words.append(pruning.criterion)
    if pruning.group is not None:
        words.append(f"of group {pruning.group}")
    return " ".join(words)


def structure_words(structure: Structure) -> str:
    """Returns a structure as words: ``element``, ``2:4``, ``block 4 x 1``, ``channel l2``."""
    plain = plain_structure(structure)
    if isinstance(plain, str):
        return plain
    return " ".join(
        f"{key} {' x '.join(map(str, value)) if isinstance(value, list) else value}" for key, value in plain.items()
    )


def skips_table(plan: MaskPlan) -> Table:
    """Returns the variables left dense with their reasons; biases and scales share one row."""
    table = Table(title=f"{len(plan.skips)} variables left dense", title_justify="left")
    table.add_column("variable", overflow="fold")
    table.add_column("reason", overflow="fold")
    counts = Counter(skip.reason for skip in plan.skips)
    shown = set()
    for skip in plan.skips:
        # A reason that names no op and holds for many variables takes one row.
        if not skip.op and counts[skip.reason] > 3:
            if skip.reason not in shown:
                table.add_row(
                    visible(f"{counts[skip.reason]} variables, such as {skip.variable}"), visible(skip.reason)
                )
            shown.add(skip.reason)
        else:
            table.add_row(visible(skip.variable), visible(skip.reason))
    return table


def forward_consumers(site: Site) -> int:
    """Counts the ops of the model, autodiff's left out, that consume a site's weight."""
    return sum(not consumer.backward for consumer in site.consumers)


def plan_as_dict(plan: MaskPlan, zeros: Optional[Mapping[str, int]] = None) -> Dict[str, Any]:
    """Returns a plan as plain values for JSON, with the zeros of each mask where known."""
    zeros = zeros or {}
    return {
        "sites": [
            {
                "variable": site.variable,
                "op_types": list(site.op_types),
                "shape": list(site.shape),
                "dtype": site.dtype,
                "entries": site.entries,
                "consumers": [consumer.op for consumer in site.consumers if not consumer.backward],
                "raw_readers": list(site.raw_readers),
                "mask": site.mask,
                "threshold": site.threshold,
                "masked": site.masked,
                "trainable": site.trainable,
                "zeros": zeros.get(site.variable),
            }
            for site in plan.sites
        ],
        "skips": [{"variable": skip.variable, "op": skip.op, "reason": skip.reason} for skip in plan.skips],
        "entries": plan.entries,
    }


def weights_table(result: Any, target: Optional[float] = None) -> Table:
    """Returns one row per folded weight: entries, zeros, sparsity, and the requested zeros where a target is given.

    Args:
        result: what `fold_checkpoint` returned.
        target: requested sparsity, a fraction of zeros.
    """
    from graph_masker.schedule import kept_entries

    title = f"{len(result.weights)} weights folded, sparsity {result.sparsity:.4f}"
    table = Table(title=title, title_justify="left")
    table.add_column("weight", overflow="fold")
    for heading in ("entries", "zeros", *(("requested",) if target is not None else ()), "sparsity"):
        table.add_column(heading, justify="right")
    for weight in result.weights:
        requested = [] if target is None else [f"{weight.entries - kept_entries(weight.entries, target):,}"]
        sparsity = f"{weight.zeros / max(1, weight.entries):.4f}"
        table.add_row(visible(weight.variable), f"{weight.entries:,}", f"{weight.zeros:,}", *requested, sparsity)
    return table


def pruned_table(result: Any) -> Table:
    """Returns one row per pruned weight: what was asked for, entries, zeros, sparsity and threshold.

    Args:
        result: what `prune_model` returned.
    """
    title = f"{len(result.weights)} weights pruned, sparsity {result.sparsity:.4f}"
    table = Table(title=title, title_justify="left")
    table.add_column("weight", overflow="fold")
    for heading in ("target", "entries", "zeros", "sparsity", "threshold"):
        table.add_column(heading, justify="right")
    for weight in result.weights:
        sparsity = f"{weight.zeros / max(1, weight.entries):.4f}"
        threshold = f"{float(weight.threshold):.4g}"
        row = (_target(weight.pruning), f"{weight.entries:,}", f"{weight.zeros:,}", sparsity, threshold)
        table.add_row(visible(weight.variable), *row)
    return table


def size_line(paths: Sequence[str], advance: Callable[[int, int], None]) -> str:
    """Returns the size of some files together, raw and by gzip; of large ones only raw, since gzip takes long.

    Args:
        paths: of the files.
        advance: called with bytes done and bytes in all.
    """
    total = sum(os.path.getsize(path) for path in paths)
    if total > _GZIP_AT_MOST:
        return f"{total:,} bytes (gzip of more than {_GZIP_AT_MOST >> 20} MB is not measured)"
    _, size = raw_and_gzipped(paths, lambda done: advance(done, total))
    return f"{total:,} bytes, {size:,} by gzip"
