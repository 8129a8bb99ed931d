"""Judges what was measured: what is lost, what is off, and what only looks so."""

from typing import List, Optional, Sequence

from graph_masker.audit.data import Finding, Layer, Measured
from graph_masker.audit.outline import Outlined
from graph_masker.audit.requesting import Asked, GroupRequest

# Training leaves hardly an entry at exactly zero. Where more than this fraction are, something was pruned.
SPARSE_FROM = 0.1


def is_sparse(measured: Measured, entries: int) -> bool:
    """Tells whether a stored weight holds more zeros than training leaves; one of zeros alone was initialized so."""
    return SPARSE_FROM * entries < measured.weight_zeros < entries


def judge_layer(layer: Layer, outlined: Outlined, asked: Optional[Asked], any_masks: bool) -> List[Finding]:
    """Returns what there is to know of one layer.

    Args:
        layer: what was measured.
        outlined: what the graph and the keys say of it.
        asked: the spec, where it is known.
        any_masks: whether any weight of the source has a mask.
    """
    measured, name = layer.measured, layer.variable
    found: List[Finding] = []

    def add(kind: str, text: str, is_fault: bool = True) -> None:
        found.append(Finding(kind, name, text, is_fault))

    sparse = f"{measured.weight_zeros:,} of its {layer.entries:,} stored entries are zero"
    if layer.mask is None and outlined.expects_mask:
        add("lost mask", "the graph masks it, and the mask is not among the stored tensors; restoring will fail")
    elif layer.mask is None and any_masks and not layer.dense_because and is_sparse(measured, layer.entries):
        add("lost mask", f"{sparse}, and it has no mask; further training fills them")
    elif measured.mask_zeros == 0 and is_sparse(measured, layer.entries):
        add("lost mask", f"{sparse}, and its mask is all ones; further training fills them")
    elif layer.mask is None and any_masks and layer.request is not None and layer.request.target_sparsity > 0:
        add("lost mask", "the spec masks it, and there is no mask")
    if layer.mask is not None and layer.threshold is None and asked is not None:
        add("no threshold", "its mask has no threshold beside it", False)
    if measured.odd:
        add("not a mask", f"{measured.odd:,} entries of '{layer.mask}' are neither 0 nor 1")
    if measured.not_finite:
        add("not finite", f"{measured.not_finite:,} stored entries are NaN or infinite")
    if 0 < layer.zeros == layer.entries:
        add("nothing left", "every entry is zero" + (" under its mask" if layer.mask is not None else ""))
    found.extend(_off_target(layer, asked))
    return found


def _off_target(layer: Layer, asked: Optional[Asked]) -> List[Finding]:
    off, request = layer.off_by, layer.request
    if asked is None or request is None or not off:
        return []
    text = (
        f"{abs(off):,} entries {'sparser' if off > 0 else 'denser'} than requested: {layer.pruned:,} zeros, "
        f"expected {request.zeros:,}"
    )
    if off < 0:
        return [Finding("off target", layer.variable, text, True)]
    # Masks that were sparser when training began, and zeros that folding found in a weight, are none of the schedule's.
    is_fine = asked.spec.continue_from_masks or layer.mask is None
    return [Finding("sparser than requested", layer.variable, text, not is_fine)]


def judge_groups(groups: Sequence[GroupRequest], layers: Sequence[Layer], asked: Asked) -> List[Finding]:
    """Returns which groups of weights that share a threshold are off what was asked of them together."""
    pruned = {layer.variable: layer.pruned for layer in layers}
    found = []
    for group in groups:
        off = sum(pruned[variable] for variable in group.variables) - group.zeros
        if off:
            word = "sparser" if off > 0 else "denser"
            text = f"group {group.name}, {len(group.variables)} weights: {abs(off):,} entries {word} than requested"
            is_fault = off < 0 or not asked.spec.continue_from_masks
            found.append(Finding("off target" if off < 0 else "sparser than requested", "", text, is_fault))
    return found


def judge_steps(step: Optional[int], last: Optional[int], expected: Optional[int]) -> List[Finding]:
    """Returns whether masks were updated when the schedule says.

    Args:
        step: the stored global step.
        last: that of the last update, as stored.
        expected: that of the last update by the spec.
    """
    if step is None or last is None or last == expected:
        return []
    by_now = "no update is due" if expected is None else f"the last one is due at step {expected:,}"
    text = f"masks were last updated at step {last:,}; by the schedule, up to step {step:,}, {by_now}"
    return [Finding("off schedule", "", text, True)]


def remark_on_raw(layers: Sequence[Layer]) -> List[Finding]:
    """Returns the remark that raw weights are raw."""
    hidden = [layer for layer in layers if layer.measured.hidden]
    if not hidden:
        return []
    text = (
        f"{sum(layer.measured.hidden for layer in hidden):,} stored entries of {len(hidden)} weights are not zero "
        "where their masks are. That is as it should be: the model sees mask times weight, and folding makes them zero"
    )
    return [Finding("raw weights", "", text, False)]
