"""The plots of a report, as SVG that stands in its page."""

import math
from html import escape
from typing import Dict, List, Optional, Sequence, Tuple

from graph_masker.audit.data import Layer, Magnitudes
from graph_masker.text import visible

KEPT, PRUNED, ASKED, TARGET = "#2b6cb0", "#cbd5e0", "#dd6b20", "#718096"
_WIDTH = 1120


def svg(width: float, height: float, parts: Sequence[str], label: str) -> str:
    """Returns a drawing of some size in pixels; `label` says what it shows."""
    return (
        f'<svg width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def rect(x: float, y: float, width: float, height: float, fill: str, title: str = "") -> str:
    """Returns a rectangle; `title` is shown under the mouse."""
    inside = f"<title>{escape(visible(title))}</title>" if title else ""
    return f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" fill="{fill}">{inside}</rect>'


def line(x1: float, y1: float, x2: float, y2: float, stroke: str, width: float = 1) -> str:
    """Returns a line."""
    return f'<line x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}" stroke="{stroke}" stroke-width="{width:g}"/>'


def label(x: float, y: float, text: str, anchor: str = "start") -> str:
    """Returns a text of one line."""
    return f'<text x="{x:.2f}" y="{y:.2f}" text-anchor="{anchor}">{escape(visible(text))}</text>'


def sparsity_bar(layer: Layer) -> str:
    """Returns a layer's sparsity as a bar, with a mark at what was asked for and a thinner one at the target."""
    width, height = 140, 14
    parts = [rect(0, 2, width, height - 4, PRUNED), rect(0, 2, width * layer.sparsity, height - 4, KEPT)]
    if layer.request is not None:
        parts.append(_mark(width * layer.request.target_sparsity, height, TARGET, 1))
        parts.append(_mark(width * layer.request.sparsity, height, ASKED, 2.5))
    return svg(width, height, parts, f"sparsity {layer.sparsity:.4f}")


def _mark(x: float, height: float, stroke: str, width: float) -> str:
    return line(x, 0, x, height, stroke, width)


def overview(layers: Sequence[Layer]) -> str:
    """Returns the sparsity of all layers side by side, in the graph's order."""
    left, top, height = 44.0, 8.0, 150.0
    step = min(60.0, (_WIDTH - left - 8) / max(1, len(layers)))
    bar = step * (0.7 if step > 3 else 0.9)
    parts = []
    for fraction in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = top + height * (1 - fraction)
        parts += [
            line(left, y, left + step * len(layers), y, "#e2e8f0"),
            label(left - 6, y + 4, f"{fraction:g}", "end"),
        ]
    for number, layer in enumerate(layers):
        x = left + step * number + (step - bar) / 2
        title = f"{number + 1}. {layer.variable}: {layer.sparsity:.4f}"
        fill = PRUNED if layer.dense_because else KEPT
        parts.append(rect(x, top, bar, height, "transparent", title))
        parts.append(rect(x, top + height * (1 - layer.sparsity), bar, height * layer.sparsity, fill, title))
        if layer.request is not None:
            y = top + height * (1 - layer.request.sparsity)
            parts.append(line(x - 1, y, x + bar + 1, y, ASKED, 2))
    every = next(size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**9) if size * step >= 26)
    for number in range(0, len(layers), every):
        parts.append(label(left + step * (number + 0.5), top + height + 16, str(number + 1), "middle"))
    width = max(240.0, left + step * len(layers) + 8)
    return svg(width, top + height + 22, parts, "sparsity of each layer")


def added_up(magnitudes: Sequence[Magnitudes]) -> Magnitudes:
    """Returns the counts of several weights together."""
    kept: Dict[int, int] = {}
    hidden: Dict[int, int] = {}
    for item in magnitudes:
        for counts, total in ((item.kept, kept), (item.hidden, hidden)):
            for offset, count in enumerate(counts):
                total[item.first + offset] = total.get(item.first + offset, 0) + count
    used = [index for index in {*kept, *hidden} if kept.get(index) or hidden.get(index)]
    if not used:
        return Magnitudes(0, (), ())
    indices = range(min(used), max(used) + 1)
    return Magnitudes(indices.start, tuple(kept.get(i, 0) for i in indices), tuple(hidden.get(i, 0) for i in indices))


def _shown(magnitudes: Magnitudes) -> Magnitudes:
    """Returns the counts without the smallest magnitudes, where those are less than a thousandth of all entries."""
    counts = [kept + hidden for kept, hidden in zip(magnitudes.kept, magnitudes.hidden)]
    left_out, first = 0, 0
    while first < len(counts) and (left_out + counts[first]) * 1000 < sum(counts):
        left_out += counts[first]
        first += 1
    return Magnitudes(magnitudes.first + first, magnitudes.kept[first:], magnitudes.hidden[first:])


def histogram(
    magnitudes: Magnitudes, size: Tuple[float, float], threshold: Optional[float] = None, axis: bool = False
) -> str:
    """Returns how often which magnitude occurs, on a logarithmic axis, with a mark at a mask's threshold.

    The smallest magnitudes, a thousandth of the entries at most, are left out.

    Args:
        magnitudes: what to draw.
        size: width and height in pixels.
        threshold: as stored; None or 0 for none.
        axis: whether to write powers of ten below.
    """
    magnitudes = _shown(magnitudes)
    width, height = size
    plot = height - (18 if axis else 0)
    counts = list(zip(magnitudes.kept, magnitudes.hidden))
    if not counts:
        return svg(width, height, [label(2, plot - 2, "all zero")], "no magnitudes")
    most = max(kept + hidden for kept, hidden in counts)
    step = width / len(counts)
    parts: List[str] = []
    for number, (kept, hidden) in enumerate(counts):
        tall, low = plot * kept / most, plot * hidden / most
        if kept:
            parts.append(rect(number * step, plot - tall, max(0.5, step - 0.5), tall, KEPT))
        if hidden:
            parts.append(rect(number * step, plot - tall - low, max(0.5, step - 0.5), low, PRUNED))
    parts.append(line(0, plot, width, plot, "#a0aec0", 0.5))

    def place(magnitude: float) -> float:
        return (2 * math.log2(magnitude) - magnitudes.first) * step

    if threshold is not None and 0 < threshold < math.inf and 0 <= place(threshold) <= width:
        parts.append(line(place(threshold), 0, place(threshold), plot, ASKED, 1.5))
    if axis:
        first, last = magnitudes.first / 2, (magnitudes.first + len(counts)) / 2
        powers = range(math.ceil(first * math.log10(2)), math.floor(last * math.log10(2)) + 1)
        for power in powers:
            x = place(10.0**power)
            parts += [line(x, plot, x, plot + 4, "#a0aec0"), label(x, plot + 16, f"1e{power}", "middle")]
    return svg(width, height, parts, "distribution of weight magnitudes")


def size_bars(rows: Sequence[Tuple[str, int]]) -> str:
    """Returns a bar for each of some numbers of bytes."""
    most = max(1, max(number for _, number in rows))
    parts = []
    for index, (name, number) in enumerate(rows):
        y = 26 * index
        parts += [
            label(0, y + 16, name),
            rect(60, y + 4, 300 * number / most, 16, KEPT),
            label(68 + 300 * number / most, y + 16, f"{number:,} bytes, {100 * number / most:.1f}%"),
        ]
    return svg(560, 26 * len(rows) + 4, parts, "size of the folded weights")
