"""Dense checkpoints and the training graphs beside them, made masked ones."""

from graph_masker.rewriting.rewrite import rewrite_checkpoint

__all__ = ["rewrite_checkpoint"]
