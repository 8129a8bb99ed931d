"""Where graph_masker comes in: everything else in this folder is the API's and would be there without it."""

from pathlib import Path
from typing import Any

from object_detection import model_lib

import graph_masker
from examples.digit_scenes.training import ModelFnCreator

RAMP = 0.6  # fraction of the steps over which the sparsity rises; the rest is for recovery
UPDATES = 40  # mask updates over the ramp


def make_spec(sparsity: float, steps: int) -> graph_masker.PruningSpec:
    """Plans the pruning of a run.

    Args:
        sparsity: Target, 0 to 1.
        steps: Training steps of the run.
    """
    end = max(int(steps * RAMP), 1)
    return graph_masker.PruningSpec(
        target_sparsity=sparsity, begin_step=0, end_step=end, frequency=max(end // UPDATES, 1)
    )


def masked_creator(spec: graph_masker.PruningSpec) -> ModelFnCreator:
    """Wraps the API's own model_fn creator so that its model_fn is pruned."""

    def create(*args: Any, **kwargs: Any):
        return graph_masker.auto_mask(model_lib.create_model_fn(*args, **kwargs), spec)

    return create


def fold(masked: str, folded: Path) -> None:
    """Folds the masks of a checkpoint into its weights; both are checkpoint prefixes."""
    graph_masker.fold_checkpoint(masked, str(folded))
