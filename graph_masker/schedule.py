"""Sparsity as a function of the global step, in plain numpy.

Source: Zhu & Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression",
2017, equation 1. All arithmetic on sparsity is float32, as in the graph, so that counts agree exactly.
"""

from typing import TYPE_CHECKING, List

import numpy as np

if TYPE_CHECKING:
    from graph_masker.spec import PruningSpec

# Above this many entries float32 no longer holds every count; float64 is used instead.
FLOAT32_EXACT_ENTRIES = 2**24


def sparsity_at(spec: "PruningSpec", step: int) -> float:
    """Returns the requested sparsity (fraction of zeros, 0 to 1) at a global step."""
    span = np.float32(spec.end_step - spec.begin_step)
    progress = np.float32(step - spec.begin_step) / span
    progress = np.minimum(np.float32(1.0), np.maximum(np.float32(0.0), progress))
    remaining = np.power(np.float32(1.0) - progress, np.float32(spec.exponent))
    difference = np.float32(spec.initial_sparsity - spec.target_sparsity)
    return float(difference * remaining + np.float32(spec.target_sparsity))


def kept_entries(entries: int, sparsity: float) -> int:
    """Returns how many of a weight's entries stay at a sparsity: ``round(n * (1 - s))``, at least one.

    Halves round to even. Up to 2^24 entries the product is taken in float32, as tf.contrib.model_pruning
    does; above, in float64.
    """
    if entries == 0:
        return 0
    density = np.float32(1.0) - np.float32(sparsity)
    kind = np.float32 if entries <= FLOAT32_EXACT_ENTRIES else np.float64
    return max(1, int(np.rint(kind(entries) * kind(density))))


def update_steps(spec: "PruningSpec") -> List[int]:
    """Returns the global steps at which masks are updated: begin, every `frequency` after it, and end."""
    steps = list(range(spec.begin_step, spec.end_step, spec.frequency))
    return [*steps, spec.end_step]
