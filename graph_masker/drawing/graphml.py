"""A neighbourhood as GraphML, which networkx, yEd, Gephi and Cytoscape read."""

import io

import networkx as nx

from graph_masker.text import visible


def graphml(graph: "nx.DiGraph") -> bytes:
    """Returns the content of a GraphML file. Characters that XML does not allow are written as in `visible`."""
    shown = nx.DiGraph()
    names = {node: visible(node) for node in graph}
    if len(set(names.values())) < len(names):
        names = {node: f"{number} {name}" for number, (node, name) in enumerate(names.items())}
    for node, attributes in graph.nodes(data=True):
        plain = {key: visible(value) if isinstance(value, str) else value for key, value in attributes.items()}
        shown.add_node(names[node], **plain)
    shown.add_edges_from((names[source], names[target], data) for source, target, data in graph.edges(data=True))
    stream = io.BytesIO()
    nx.write_graphml(shown, stream)
    return stream.getvalue()
