"""The same schedules for graph_masker and for tf.contrib.model_pruning: 90% from the first update on."""

import dataclasses
from typing import Any, Optional

import graph_masker

SPARSITY = 0.9
FREQUENCY = 10  # steps; contrib's default
NEVER = 10**6  # steps; no measurement comes this far


def spec(begin_step: int, frequency: int, **more: Any) -> graph_masker.PruningSpec:
    """Returns a spec that asks for `SPARSITY` at every update."""
    return graph_masker.PruningSpec(
        target_sparsity=SPARSITY,
        initial_sparsity=SPARSITY,
        begin_step=begin_step,
        end_step=begin_step + NEVER,
        frequency=frequency,
        **more,
    )


def global_spec() -> Optional[graph_masker.PruningSpec]:
    """Returns a spec with one threshold over all weights, due at every step; None where there is no such thing."""
    if "allocation" not in [field.name for field in dataclasses.fields(graph_masker.PruningSpec)]:
        return None
    try:
        return spec(0, 1, allocation="global")
    except graph_masker.SpecError:
        return None


def contribs_pruning(begin_step: int, frequency: int) -> Any:
    """Returns contrib's Pruning with the same schedule, for the default graph."""
    from tensorflow.contrib import model_pruning

    hparams = model_pruning.get_pruning_hparams().parse(
        f"begin_pruning_step={begin_step},end_pruning_step=-1,pruning_frequency={frequency},"
        f"initial_sparsity={SPARSITY},target_sparsity={SPARSITY}"
    )
    return model_pruning.Pruning(hparams)
