"""prune_model: a checkpoint, SavedModel or frozen graph, pruned in one shot. Nothing of it is imported or run."""

from graph_masker.pruning.prune import prune_model
from graph_masker.pruning.result import PrunedWeight, PruneResult

__all__ = ["PruneResult", "PrunedWeight", "prune_model"]
