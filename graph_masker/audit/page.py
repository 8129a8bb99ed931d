"""A report as one HTML page that needs nothing beside it: no script, no link, no font from elsewhere."""

from html import escape
from typing import Any, Dict, Iterable, List, Sequence

from graph_masker.audit import plots
from graph_masker.audit.data import Finding, Layer, Other, Report
from graph_masker.audit.tables import requested, work
from graph_masker.text import count, share, visible

# What the page may load, should a name from a file ever get through: nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
body { margin: 2rem auto; max-width: 1240px; padding: 0 1rem; color: #1a202c; background: #fff;
  font: 14px/1.45 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 .6rem; }
p, li { max-width: 60rem; }
.dim { color: #718096; }
.cards { display: grid; grid-template-columns: repeat(4, 1fr); gap: .8rem; margin: 1.2rem 0; }
.card { border: 1px solid #e2e8f0; border-radius: 6px; padding: .7rem .9rem; }
.card b { display: block; font-size: 1.45rem; font-weight: 600; }
ul.found { list-style: none; padding: 0; margin: 0; }
ul.found li { padding: .3rem .6rem; margin: .25rem 0; border-left: 3px solid #cbd5e0; overflow-wrap: anywhere; }
ul.found li.fault { border-color: #c53030; background: #fff5f5; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .45rem; border-bottom: 1px solid #edf2f7; vertical-align: middle; }
th { position: sticky; top: 0; background: #fff; font-weight: 600; color: #4a5568; border-bottom: 1px solid #cbd5e0;
  vertical-align: bottom; }
th.name, td.name { text-align: left; overflow-wrap: anywhere; min-width: 17rem; }
td.name code { font-size: 12px; }
td.fault { color: #c53030; font-weight: 600; }
tr.dense td { color: #718096; }
svg { display: block; }
svg text { font-size: 11px; fill: #4a5568; }
.two { display: flex; gap: 2.5rem; flex-wrap: wrap; align-items: flex-end; }
.key i { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; }
pre { background: #f7fafc; padding: .6rem .8rem; overflow-wrap: anywhere; white-space: pre-wrap; }
@media print { th { position: static; } tr { break-inside: avoid; } }
"""


def html(report: Report) -> str:
    """Returns the page."""
    body = "".join(
        [_head(report), _cards(report), _findings(report), _pictures(report), _table(report.layers), _others(report)]
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Pruning report: {_text(report.path)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _text(value: Any) -> str:
    """Returns what may come from a file as text of the page. Every such value passes here."""
    return escape(visible(str(value)))


def _head(report: Report) -> str:
    steps = []
    if report.step is not None:
        steps.append(f"global step {report.step:,}")
    if report.last_update is not None:
        steps.append(f"masks last updated at step {report.last_update:,}")
    about = _text("; ".join([f"{report.kind}, {report.state}", *steps]))
    about += f"<br>{_text(requested(report))}" if report.spec is not None else ""
    return f'<h1>Pruning report</h1><p><code>{_text(report.path)}</code><br><span class="dim">{about}</span></p>'


def _cards(report: Report) -> str:
    size, prunable = report.size, report.prunable
    masked = sum(layer.mask is not None for layer in report.layers)
    cards = [
        (f"{report.sparsity:.4f}", f"sparsity of {len(prunable)} layers, {masked} of them with a mask"),
        (
            share(report.parameters_left, report.parameters),
            f"parameters left: {count(report.parameters_left)} of {count(report.parameters)}",
        ),
        (
            share(report.multiply_adds_left, report.multiply_adds),
            f"multiply-adds left: {work(report)}",
        ),
        (share(size.gzip, size.raw), f"of {count(size.raw)}B are left by gzip, {share(size.zstd, size.raw)} by zstd"),
    ]
    inside = "".join(f'<div class="card"><b>{_text(number)}</b>{_text(words)}</div>' for number, words in cards)
    return f'<div class="cards">{inside}</div>'


def _findings(report: Report) -> str:
    items = [_finding(finding) for finding in report.findings]
    items += [f'<li class="dim">{_text(remark)}.</li>' for remark in report.remarks]
    number = len(report.faults)
    title = "No faults found" if not number else "1 fault found" if number == 1 else f"{number} faults found"
    return f'<h2>{title}</h2><ul class="found">{"".join(items)}</ul>'


def _finding(finding: Finding) -> str:
    name = f"<code>{_text(finding.variable)}</code>: " if finding.variable else ""
    return (
        f'<li class="{"fault" if finding.is_fault else "remark"}"><b>{_text(finding.kind)}</b> {name}'
        f"{_text(finding.text)}.</li>"
    )


def _key(*entries: Sequence[str]) -> str:
    return (
        '<p class="key dim">' + "".join(f'<i style="background:{color}"></i>{text}' for color, text in entries) + "</p>"
    )


def _pictures(report: Report) -> str:
    together = plots.added_up([layer.measured.magnitudes for layer in report.prunable])
    size = report.size
    return (
        "<h2>Sparsity of each layer</h2>"
        + _key((plots.KEPT, "reached"), (plots.PRUNED, "reached, left dense"), (plots.ASKED, "requested by now"))
        + plots.overview(report.layers)
        + '<div class="two"><div><h2>Magnitudes of all weights that can be masked</h2>'
        + _key((plots.KEPT, "kept"), (plots.PRUNED, "under a zero of the mask"))
        + plots.histogram(together, (520, 170), axis=True)
        + "</div><div><h2>Size once folded</h2>"
        + plots.size_bars([("raw", size.raw), ("gzip", size.gzip), ("zstd", size.zstd)])
        + "</div></div>"
    )


_COLUMNS = (
    "entries",
    "sparsity",
    "",
    "requested",
    "off by",
    "threshold",
    "|w|",
    "multiply-adds",
    "left",
    "gzip",
)


def _table(layers: Sequence[Layer]) -> str:
    head = '<th>#</th><th class="name">layer</th>' + "".join(f"<th>{escape(name)}</th>" for name in _COLUMNS)
    rows = "".join(_row(number, layer) for number, layer in enumerate(layers, 1))
    legend = _key(
        (plots.KEPT, "kept, or sparsity reached"),
        (plots.PRUNED, "pruned"),
        (plots.ASKED, "requested, threshold"),
        (plots.TARGET, "target in the end"),
    )
    reasons = sorted({layer.dense_because for layer in layers if layer.dense_because})
    legend += "".join(f'<p class="dim">Left dense: {_text(reason)}.</p>' for reason in reasons)
    return f"<h2>Layers</h2>{legend}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(number: int, layer: Layer) -> str:
    request, off, size = layer.request, layer.off_by, layer.measured.size
    shape = " x ".join(map(str, layer.shape))
    structure = "" if request is None or request.structure == "element" else f", {request.structure}"
    group = "" if request is None or request.group is None else f", group {request.group}"
    note = "; left dense" if layer.dense_because else "" if layer.mask else "; no mask"
    about = _text(f"{', '.join(layer.op_types)} {shape} {layer.dtype}{structure}{group}{note}")
    tip = f' title="{_text(layer.dense_because)}"' if layer.dense_because else ""
    off_class = ' class="fault"' if off is not None and off < 0 else ""
    cells = [
        f"<td>{number}</td>",
        f'<td class="name"{tip}><code>{_text(layer.variable)}</code><br><span class="dim">{about}</span></td>',
        f"<td>{layer.entries:,}</td>",
        f"<td>{layer.sparsity:.4f}</td>",
        f"<td>{plots.sparsity_bar(layer)}</td>",
        f"<td>{'' if request is None else f'{request.sparsity:.4f}'}</td>",
        f"<td{off_class}>{'' if off is None else f'{off:+,}' if off else '0'}</td>",
        f"<td>{'' if layer.threshold is None else f'{layer.threshold:.4g}'}</td>",
        f"<td>{plots.histogram(layer.measured.magnitudes, (90, 26), layer.threshold)}</td>",
        f"<td>{count(layer.multiply_adds)}</td>",
        f"<td>{share(layer.multiply_adds_left, layer.multiply_adds)}</td>",
        f"<td>{share(size.gzip, size.raw)}</td>",
    ]
    return f"<tr{' class=dense' if layer.dense_because else ''}>{''.join(cells)}</tr>"


def _others(report: Report) -> str:
    if not report.others:
        return ""
    parts: List[str] = []
    for reason, items in _by_reason(report.others).items():
        entries = sum(other.entries for other in items)
        names = ", ".join(f"<code>{_text(other.variable)}</code>" for other in items)
        parts.append(
            f"<details><summary>{len(items)} parameters, {entries:,} entries: {_text(reason)}</summary>"
            f"<p>{names}</p></details>"
        )
    return f"<h2>Other parameters</h2>{''.join(parts)}"


def _by_reason(others: Iterable[Other]) -> Dict[str, List[Other]]:
    groups: Dict[str, List[Other]] = {}
    for other in others:
        groups.setdefault(other.reason, []).append(other)
    return groups
