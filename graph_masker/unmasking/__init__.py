"""Takes masks out of graphs that lie in files: on their protocol buffers, without a session or an import."""

from graph_masker.unmasking.frozen import StrippedWeight, strip_graph
from graph_masker.unmasking.meta_graphs import unmask_meta_graph, without_saved

__all__ = ["StrippedWeight", "strip_graph", "unmask_meta_graph", "without_saved"]
