"""Drawings of where weights are read: as a networkx graph, and as DOT, GraphML and SVG."""

from graph_masker.drawing.dot import dot
from graph_masker.drawing.graphml import graphml
from graph_masker.drawing.neighbourhood import chosen_sites, neighbourhood
from graph_masker.drawing.picture import svg

__all__ = ["chosen_sites", "dot", "graphml", "neighbourhood", "svg"]
