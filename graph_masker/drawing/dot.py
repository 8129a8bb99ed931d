"""A neighbourhood in Graphviz's language: a cluster per site, in the graph's order."""

from typing import Any, Dict, List

import networkx as nx

from graph_masker.drawing import kinds
from graph_masker.text import shortened, visible

_NODES = {
    kinds.WEIGHT: 'shape=box3d style=filled fillcolor="#bee3f8"',
    kinds.MASK: 'shape=box style=filled fillcolor="#feebc8"',
    kinds.PRODUCT: 'shape=box style="filled,rounded" fillcolor="#fbd38d"',
    kinds.READ: "shape=box style=rounded",
    kinds.CONSUMER: 'shape=box style="filled,rounded" fillcolor="#c6f6d5"',
    kinds.GRADIENT: 'shape=box style="rounded,dashed" fontcolor="#718096"',
    kinds.RAW: 'shape=plaintext fontcolor="#718096"',
}
_EDGES = {
    kinds.VALUE: "",
    kinds.MASKED_HERE: 'color="#dd6b20" penwidth=2 label="masked here" fontcolor="#dd6b20"',
    kinds.MASKS: 'color="#dd6b20"',
    kinds.RAW_VALUE: 'style=dashed color="#a0aec0"',
    kinds.FLOW: 'color="#2f855a" style=bold weight=4',
}


def dot(graph: "nx.DiGraph") -> str:
    """Returns the text of a DOT file."""
    clusters: Dict[str, List[Any]] = {}
    for node, attributes in graph.nodes(data=True):
        clusters.setdefault(attributes["site"], []).append((node, attributes))
    lines = [
        "digraph sites {",
        '  graph [rankdir=LR fontname="Helvetica" newrank=true]',
        '  node [fontname="Helvetica" fontsize=10]',
        '  edge [fontname="Helvetica" fontsize=9]',
    ]
    for number, (site, members) in enumerate(clusters.items()):
        lines += [f"  subgraph cluster_{number} {{", f'    label={quoted(site)} color="#cbd5e0"']
        for node, attributes in members:
            text = f"{attributes['op_type']}\n{shortened(visible(attributes['op']), 60)}"
            text += f"\n{attributes['shape']}" if "shape" in attributes else ""
            tip = quoted(attributes["op"])
            lines.append(f"    {quoted(node)} [{_NODES[attributes['kind']]} label={quoted(text)} tooltip={tip}]")
        lines.append("  }")
    lines += [
        f"  {quoted(source)} -> {quoted(target)} [{_EDGES[attributes['kind']]}]"
        for source, target, attributes in graph.edges(data=True)
    ]
    return "\n".join([*lines, "}", ""])


def quoted(text: str) -> str:
    r"""Returns a text as a quoted string, in which neither ``"`` nor ``\`` means anything; line ends stay."""
    parts = [visible(part).replace("\\", "\\\\").replace('"', '\\"') for part in text.split("\n")]
    return '"' + "\\n".join(parts) + '"'
