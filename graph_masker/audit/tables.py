"""A report for the terminal."""

from typing import Any, List

from rich.table import Table
from rich.text import Text

from graph_masker.audit.data import Layer, Report
from graph_masker.text import count, share, visible


def show(report: Report, console: Any) -> None:
    """Prints a report on a rich console. Names are printed as they are, whatever markup they look like."""
    console.print(layers_table(report))
    for text in (*summary(report), *findings(report)):
        console.print(Text(text, style="bold red" if text.startswith("FAULT") else ""))


def layers_table(report: Report) -> Table:
    """Returns one row per layer."""
    title = visible(f"{report.path}: {report.kind}, {report.state}")
    table = Table(title=Text(title), title_justify="left")
    table.add_column("layer", overflow="fold")
    has_request = any(layer.request is not None for layer in report.layers)
    has_masks = any(layer.mask is not None for layer in report.layers)
    headings = ["entries", "sparsity"]
    headings += ["requested", "off by", "target"] if has_request else []
    headings += ["threshold"] if has_masks else []
    for heading in (*headings, "multiply-adds", "left", "gzip", "zstd"):
        table.add_column(heading, justify="right")
    for layer in report.layers:
        table.add_row(*_row(layer, has_request, has_masks), style="dim" if layer.dense_because else "")
    return table


def _row(layer: Layer, has_request: bool, has_masks: bool) -> List[Any]:
    request, size = layer.request, layer.measured.size
    row = [Text(visible(layer.variable)), f"{layer.entries:,}", f"{layer.sparsity:.4f}"]
    if has_request:
        off = "" if layer.off_by is None else f"{layer.off_by:+,}" if layer.off_by else "0"
        row += ["", "", ""] if request is None else [f"{request.sparsity:.4f}", off, f"{request.target_sparsity:.4g}"]
    if has_masks:
        row.append("" if layer.threshold is None else f"{layer.threshold:.4g}")
    work = [count(layer.multiply_adds), share(layer.multiply_adds_left, layer.multiply_adds)]
    return [*row, *work, share(size.gzip, size.raw), share(size.zstd, size.raw)]


def summary(report: Report) -> List[str]:
    """Returns the totals, a line each."""
    size, masked = report.size, sum(layer.mask is not None for layer in report.layers)
    steps = "" if report.step is None else f", step {report.step:,}"
    steps += "" if report.last_update is None else f", masks last updated at step {report.last_update:,}"
    return [
        *filter(None, [visible(requested(report))]),
        f"sparsity {report.sparsity:.6f} of {len(report.prunable)} layers, {masked} of them with a mask{steps}",
        f"parameters left {count(report.parameters_left)} of {count(report.parameters)}, "
        f"{share(report.parameters_left, report.parameters)}",
        f"multiply-adds left {work(report)}, {share(report.multiply_adds_left, report.multiply_adds)}",
        f"size once folded {size.raw:,} bytes, gzip {size.gzip:,} ({share(size.gzip, size.raw)}), "
        f"zstd {size.zstd:,} ({share(size.zstd, size.raw)})",
    ]


def work(report: Report) -> str:
    """Returns the multiply-adds left, and of which layers they are known."""
    counted, layers = len(report.counted), len(report.layers)
    if not counted:
        return "unknown"
    of = f"{count(report.multiply_adds_left)} of {count(report.multiply_adds)}"
    return of if counted == layers else f"{of} in {counted} of {layers} layers"


def requested(report: Report) -> str:
    """Returns what was requested and where that stands, in a line; empty where it is not known."""
    spec = report.spec
    if spec is None:
        return ""
    end = "on" if spec["end_step"] is None else f"to {spec['end_step']:,}"
    steps = f"updates from step {spec['begin_step']:,} {end}, every {spec['frequency']:,}"
    origin = f", from {report.spec_from}" if report.spec_from else ""
    return f"requested: sparsity {spec['target_sparsity']:g}, {steps}, allocation {spec['allocation']}{origin}"


def findings(report: Report) -> List[str]:
    """Returns the findings and remarks, a line each."""
    lines = []
    for finding in report.findings:
        name = f"{finding.variable}: " if finding.variable else ""
        lines.append(visible(f"{'FAULT' if finding.is_fault else 'note'}: {finding.kind}: {name}{finding.text}"))
    lines += [visible(f"note: {remark}") for remark in report.remarks]
    return lines if report.faults else ["no faults found", *lines]
