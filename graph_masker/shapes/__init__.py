"""Shapes of the tensors of a graph in a file, by own arithmetic. No op of it is made or run."""

from graph_masker.shapes.arithmetic import Shape, Sizes
from graph_masker.shapes.inference import Shapes

__all__ = ["Shape", "Shapes", "Sizes"]
