"""Masked checkpoints, made plain ones again."""

from graph_masker.folding.fold import FoldedWeight, fold_checkpoint, fold_tensors

__all__ = ["FoldedWeight", "fold_checkpoint", "fold_tensors"]
