"""Sparsity as a function of the global step, in plain numpy.

Source: Zhu & Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression",
2017, equation 1. All arithmetic on sparsity is float32, as in the graph, so that counts agree exactly.
"""

from typing import TYPE_CHECKING, Any, List, Optional, Sequence, Union

import numpy as np

from graph_masker.errors import UsageError
from graph_masker.spec.settings import POLYNOMIAL, SMALLEST_PROPORTION
from graph_masker.spec.timing import scheduled

if TYPE_CHECKING:
    from graph_masker.spec import PruningSpec

# Above this many entries float32 no longer holds every count; float64 is used instead.
FLOAT32_EXACT_ENTRIES = 2**24

Steps = Union[Sequence[int], Any]


def sparsity_at(spec: "PruningSpec", step: int) -> float:
    """Returns the requested sparsity (fraction of zeros, 0 to 1) at a global step."""
    return float(sparsities_at(spec, [step])[0])


def sparsities_at(spec: "PruningSpec", steps: Steps) -> Any:
    """Returns the requested sparsity at each of several global steps.

    Args:
        spec: the schedule. Before the first update a constant, a one-shot and a listed schedule ask for 0; between two
            updates a listed one asks for what the earlier of them asked.
        steps: global steps, shape [n].

    Returns:
        float32 array of shape [n].
    """
    at = np.asarray(steps, np.int64)
    target = np.float32(spec.target_sparsity)
    begin, end = spec.curve
    if spec.schedule == POLYNOMIAL:
        progress = (at - begin).astype(np.float32) / np.float32(end - begin)
        progress = np.minimum(np.float32(1.0), np.maximum(np.float32(0.0), progress))
        remaining = np.power(np.float32(1.0) - progress, np.float32(spec.exponent))
        return np.float32(spec.initial_sparsity - spec.target_sparsity) * remaining + target
    if spec.values is None:
        return np.where(at >= begin, target, np.float32(0.0))
    latest = np.clip((at - begin) // spec.frequency, 0, len(spec.values) - 2)
    listed = np.asarray(spec.values, np.float32)[latest]
    return np.where(at >= end, target, np.where(at >= begin, listed, np.float32(0.0)))


def falls(spec: "PruningSpec") -> bool:
    """Tells whether the requested sparsity ever becomes less, so that entries are to come back."""
    if spec.schedule == POLYNOMIAL:
        return spec.initial_sparsity > spec.target_sparsity
    values = spec.values or ()
    return any(after < before for before, after in zip(values, values[1:]))


def weight_sparsity_at(spec: "PruningSpec", weight_target: float, step: int) -> float:
    """Returns the sparsity requested of a weight with a target of its own, at a global step."""
    return float(weight_sparsities_at(spec, weight_target, [step])[0])


def weight_sparsities_at(spec: "PruningSpec", weight_target: float, steps: Steps) -> Any:
    """Returns the sparsity requested of a weight with a target of its own, at each of several global steps.

    It is the spec's sparsity times the quotient of the targets, in float32 as tf.contrib.model_pruning has it, and at
    most 1. From the end of the spec's curve on it is exactly the weight's target, which that product may miss by its
    rounding.

    Args:
        spec: the schedule.
        weight_target: fraction of zeros, 0 <= s < 1.
        steps: global steps, shape [n].

    Returns:
        float32 array of shape [n].
    """
    target = np.float32(weight_target)
    sparsities = sparsities_at(spec, steps)
    # Only a weight whose own target is 0, or a schedule that is no curve, meets a target of 0: a spec checks that.
    has_ratio = spec.target_sparsity >= SMALLEST_PROPORTION
    ratio = target / np.float32(spec.target_sparsity) if has_ratio else np.float32(0.0)
    scaled = np.minimum(sparsities * ratio, np.float32(1.0))
    at, (_, end) = np.asarray(steps, np.int64), spec.curve
    return np.where(at >= end, target, scaled)


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


def latest_update(spec: "PruningSpec", step: int) -> Optional[int]:
    """Returns the last step of the schedule, up to a global step, at which masks are updated; None before the first."""
    if step < spec.begin_step:
        return None
    if spec.last_step is not None and step >= spec.last_step:
        return spec.last_step
    return spec.begin_step + (step - spec.begin_step) // spec.frequency * spec.frequency


def update_steps(spec: "PruningSpec", until: Optional[int] = None) -> List[int]:
    """Returns the global steps at which masks are updated: begin, every `frequency` after it, and end.

    A one-shot schedule has one, its begin.

    Args:
        spec: the schedule.
        until: the last step to look at. None: the schedule's own last update.

    Raises:
        UsageError: the schedule never ends, and `until` is None.
    """
    if spec.last_step is None and until is None:
        raise UsageError("update_steps: expected `until`, for a schedule whose updates never end, found None")
    return scheduled(spec.begin_step, spec.last_step, spec.frequency, until)
