"""A neighbourhood as an SVG picture: a row per site, weights on the left, consumers on the right.

variable, shape
weight --> read --> product --> consumer  )
mask  ------------/                       )  activations flow from consumer to consumer
raw readers                               )
"""

from collections import Counter
from html import escape
from typing import Dict, List, NamedTuple, Sequence, Tuple

import networkx as nx

from graph_masker.drawing import kinds
from graph_masker.text import shortened, visible

_BOX, _TALL, _GAP, _LANE, _LEFT, _TITLE = 212.0, 34.0, 40.0, 44.0, 20.0, 30.0
# Characters of the two lines of a box: letters of whatever font there is have to fit.
_HEAD, _TEXT = 26, 31
# More than this above each other are told by their number.
_MOST_IN_COLUMN = 6
_FILLS = {
    kinds.WEIGHT: ("#bee3f8", "#2b6cb0"),
    kinds.MASK: ("#feebc8", "#dd6b20"),
    kinds.PRODUCT: ("#fbd38d", "#dd6b20"),
    kinds.READ: ("#ffffff", "#a0aec0"),
    kinds.CONSUMER: ("#c6f6d5", "#2f855a"),
    kinds.GRADIENT: ("#f7fafc", "#cbd5e0"),
    kinds.RAW: ("#ffffff", "#cbd5e0"),
}
_STROKES = {
    kinds.VALUE: ("#4a5568", 1.2, ""),
    kinds.MASKED_HERE: ("#dd6b20", 2.2, ""),
    kinds.MASKS: ("#dd6b20", 1.2, ""),
    kinds.RAW_VALUE: ("#cbd5e0", 1.0, "4 3"),
    kinds.FLOW: ("#2f855a", 1.6, ""),
}
_LEGEND = (
    (kinds.WEIGHT, "weight"),
    (kinds.MASK, "mask"),
    (kinds.PRODUCT, "mask times weight"),
    (kinds.READ, "passed on the way"),
    (kinds.CONSUMER, "consumer"),
    (kinds.GRADIENT, "of the gradient"),
    (kinds.RAW, "reads the raw weight"),
)


class _Box(NamedTuple):
    """A box of a row: its place, the two lines in it, what is shown under the mouse."""

    x: float
    y: float
    kind: str
    head: str
    text: str
    tip: str
    width: float = _BOX

    @property
    def right(self) -> Tuple[float, float]:
        """Where edges leave it."""
        return self.x + self.width, self.y + _TALL / 2

    @property
    def left(self) -> Tuple[float, float]:
        """Where edges come in."""
        return self.x, self.y + _TALL / 2


def svg(graph: "nx.DiGraph") -> str:
    """Returns the text of an SVG file."""
    carried = nx.DiGraph()
    kinds_of_values = (kinds.VALUE, kinds.MASKED_HERE, kinds.MASKS)
    edges = [(source, target) for source, target, data in graph.edges(data=True) if data["kind"] in kinds_of_values]
    carried.add_nodes_from(graph)
    carried.add_edges_from(edges)
    legend, width = _legend()
    parts, y = [], 50.0
    ends: Dict[str, Tuple[float, float, int]] = {}
    weights = [node for node, data in graph.nodes(data=True) if data["kind"] == kinds.WEIGHT]
    for number, weight in enumerate(weights):
        row = _Row(graph, carried, weight, y)
        parts += row.drawn()
        for op, (right, middle) in row.consumers.items():
            ends.setdefault(op, (right, middle, number))
        width = max(width, row.right)
        y += row.height
    flow, bulge = _flow(graph, ends)
    width += bulge + 16
    body = "\n".join([*legend, *flow, *parts])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{y:g}" viewBox="0 0 {width:g} {y:g}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="11">\n'
        f"<defs>{''.join(_arrow(kind) for kind in _STROKES)}</defs>\n"
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


class _Row:
    """One site: a column for each op that a weight passes, consumers in the last one."""

    def __init__(self, graph: "nx.DiGraph", carried: "nx.DiGraph", weight: str, top: float) -> None:
        self._graph = graph
        self._weight = weight
        self._top = top
        reached = nx.descendants(carried, weight) | {weight}
        members = reached | {
            node for op in reached if graph.nodes[op]["kind"] == kinds.PRODUCT for node in nx.ancestors(carried, op)
        }
        # A subgraph of networkx may be in the order of a set, and so another one each time.
        self._inner = nx.DiGraph()
        self._inner.add_nodes_from(op for op in carried if op in members)
        self._inner.add_edges_from(edge for edge in carried.edges if members.issuperset(edge))
        self._columns = self._arranged()
        self._boxes: Dict[str, _Box] = {}
        self._place()
        raw = [node for node in graph.successors(weight) if graph.nodes[node]["kind"] == kinds.RAW]
        self._add_raw(raw)
        self.height = _TITLE + 14 + max(box.y for box in self._boxes.values()) + _TALL - (top + _TITLE)
        self.right = max(box.right[0] for box in self._boxes.values())
        self.consumers = {op: box.right for op, box in self._boxes.items() if box.kind == kinds.CONSUMER}

    def _arranged(self) -> List[List[str]]:
        """Returns the ops by columns: each to the right of what it reads, consumers as far right as any op."""
        acyclic = nx.DiGraph(self._inner)
        while not nx.is_directed_acyclic_graph(acyclic):
            acyclic.remove_edges_from([nx.find_cycle(acyclic)[-1][:2]])
        depth: Dict[str, int] = {}
        for op in nx.topological_sort(acyclic):
            depth[op] = max((depth[source] + 1 for source in acyclic.predecessors(op)), default=0)
        last = max(depth.values())
        ends = (kinds.CONSUMER, kinds.GRADIENT)
        columns: List[List[str]] = [[] for _ in range(last + 1)]
        order = {op: number for number, op in enumerate(self._graph)}
        for op in sorted(depth, key=lambda op: (self._rank(op), order[op])):
            columns[last if self._graph.nodes[op]["kind"] in ends else depth[op]].append(op)
        return [column for column in columns if column]

    def _rank(self, op: str) -> int:
        """Returns how far down in its column an op stands: masks below weights, gradients below consumers."""
        of_mask = self._graph.nodes[op]["kind"] == kinds.MASK or (
            any(data["kind"] == kinds.MASKS for _, _, data in self._graph.in_edges(op, data=True))
            and self._graph.nodes[op]["kind"] == kinds.READ
        )
        return 2 if self._graph.nodes[op]["kind"] == kinds.GRADIENT else 1 if of_mask else 0

    def _place(self) -> None:
        self._stands_for: Dict[str, str] = {}
        for number, column in enumerate(self._columns):
            shown = column if len(column) <= _MOST_IN_COLUMN else column[: _MOST_IN_COLUMN - 1]
            rest = column[len(shown) :]
            x = _LEFT + number * (_BOX + _GAP)
            for lane, op in enumerate(shown):
                data = self._graph.nodes[op]
                text = data.get("shape") or self._short(data["op"])
                self._boxes[op] = _Box(x, self._lane(lane), data["kind"], data["op_type"], text, data["op"])
                self._stands_for[op] = op
            if rest:
                kind = self._graph.nodes[rest[0]]["kind"]
                types = _counted([self._graph.nodes[op]["op_type"] for op in rest])
                tip = "\n".join(self._graph.nodes[op]["op"] for op in rest[:40])
                self._boxes[rest[0]] = _Box(x, self._lane(len(shown)), kind, f"{len(rest)} more", types, tip)
                self._stands_for.update(dict.fromkeys(rest, rest[0]))

    def _add_raw(self, raw: Sequence[str]) -> None:
        if raw:
            types = _counted([self._graph.nodes[node]["op_type"] for node in raw])
            tip = "\n".join(self._graph.nodes[node]["op"] for node in raw[:40])
            y = self._lane(len(self._columns[0]) if len(self._columns[0]) <= _MOST_IN_COLUMN else _MOST_IN_COLUMN)
            noun = "reads" if len(raw) == 1 else "read"
            self._boxes["raw"] = _Box(
                _LEFT, y, kinds.RAW, f"{len(raw)} {noun} the raw weight", types, tip, 2 * _BOX + _GAP
            )

    def _lane(self, lane: int) -> float:
        return self._top + _TITLE + lane * _LANE

    def _short(self, op: str) -> str:
        """Returns an op's name without the scope that it shares with the weight."""
        scope = self._weight.rpartition("/")[0] + "/"
        return f".../{op[len(scope) :]}" if len(scope) > 1 and op.startswith(scope) else op

    def drawn(self) -> List[str]:
        data = self._graph.nodes[self._weight]
        title, about = shortened(visible(self._weight), 110), f"{data['entries']:,} entries"
        parts = [
            f'<text x="{_LEFT:g}" y="{self._top + 18:.1f}" font-size="13" font-weight="600">{escape(title)}'
            f'<tspan font-weight="400" fill="#718096" dx="10">{about}</tspan></text>'
        ]
        lines: Dict[Tuple[str, str], str] = {}
        for source, target in self._inner.edges:
            ends = (self._stands_for[source], self._stands_for[target])
            lines.setdefault(ends, self._graph.edges[source, target]["kind"])
        parts += [self._line(*ends, kind) for ends, kind in lines.items() if ends[0] != ends[1]]
        if "raw" in self._boxes:
            parts.append(self._raw_line())
        return parts + [_drawn(box) for box in self._boxes.values()]

    def _line(self, source: str, target: str, kind: str) -> str:
        x1, y1, x2, y2 = (*self._boxes[source].right, *self._boxes[target].left)
        bend = max(16.0, (x2 - x1) / 2)
        return _path(f"M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}", kind)

    def _raw_line(self) -> str:
        (x, y), (_, low) = self._boxes[self._weight].left, self._boxes["raw"].left
        return _path(f"M{x:.1f} {y:.1f}H{x - 8:.1f}V{low:.1f}H{x:.1f}", kinds.RAW_VALUE)


def _counted(types: Sequence[str]) -> str:
    return ", ".join(name if number == 1 else f"{number} x {name}" for name, number in Counter(types).most_common())


def _drawn(box: _Box) -> str:
    fill, stroke = _FILLS[box.kind]
    dashes = ' stroke-dasharray="4 3"' if box.kind in (kinds.RAW, kinds.GRADIENT) else ""
    head, text = shortened(visible(box.head), _HEAD), shortened(visible(box.text), int(_TEXT * box.width / _BOX))
    return (
        f'<g><title>{escape(visible(box.tip))}</title><rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:g}" '
        f'height="{_TALL:g}" rx="4" fill="{fill}" stroke="{stroke}"{dashes}/>'
        f'<text x="{box.x + 8:.1f}" y="{box.y + 14:.1f}" font-weight="600">{escape(head)}</text>'
        f'<text x="{box.x + 8:.1f}" y="{box.y + 27:.1f}" font-size="10" fill="#4a5568">{escape(text)}</text></g>'
    )


def _path(corners: str, kind: str, opacity: float = 1.0) -> str:
    stroke, width, dashes = _STROKES[kind]
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<path d="{corners}" fill="none" stroke="{stroke}" stroke-width="{width:g}"{dashed} opacity="{opacity:g}" '
        f'marker-end="url(#{_marker(kind)})"/>'
    )


def _flow(graph: "nx.DiGraph", ends: Dict[str, Tuple[float, float, int]]) -> Tuple[List[str], float]:
    """Returns the arcs from consumer to consumer on the right, and how far they reach beyond the boxes."""
    edge = max((right for right, _, _ in ends.values()), default=0.0)
    parts, reach = [], 0.0
    for source, target, data in graph.edges(data=True):
        if data["kind"] != kinds.FLOW or source not in ends or target not in ends or source == target:
            continue
        (x1, y1, row), (x2, y2, other) = ends[source], ends[target]
        bulge = 26.0 + 9 * min(abs(other - row), 16)
        x = edge + bulge
        arc = f"M{x1:.1f} {y1 + 5:.1f}C{x:.1f} {y1 + 5:.1f} {x:.1f} {y2 - 5:.1f} {x2:.1f} {y2 - 5:.1f}"
        # What goes far is many lines beside each other.
        parts.append(_path(arc, kinds.FLOW, 1.0 if abs(other - row) <= 2 else 0.35))
        reach = max(reach, bulge)
    return parts, reach


def _legend() -> Tuple[List[str], float]:
    parts, x = [], _LEFT
    for kind, words in _LEGEND:
        fill, stroke = _FILLS[kind]
        parts.append(f'<rect x="{x:g}" y="14" width="12" height="12" rx="2" fill="{fill}" stroke="{stroke}"/>')
        parts.append(f'<text x="{x + 17:g}" y="24">{words}</text>')
        x += 32 + 6.2 * len(words)
    for kind, words in ((kinds.MASKED_HERE, "a mask comes here"), (kinds.FLOW, "activations")):
        parts.append(_path(f"M{x:g} 20H{x + 24:g}", kind))
        parts.append(f'<text x="{x + 30:g}" y="24">{words}</text>')
        x += 46 + 6.2 * len(words)
    return parts, x


def _marker(kind: str) -> str:
    return kind.replace(" ", "-")


def _arrow(kind: str) -> str:
    stroke = _STROKES[kind][0]
    return (
        f'<marker id="{_marker(kind)}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="{stroke}"/></marker>'
    )
