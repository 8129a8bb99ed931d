"""What differs between two plans of one model: what a run says that continues another one. Pure."""

from typing import List

from graph_masker.plan import MaskPlan


def plan_changes(old: MaskPlan, new: MaskPlan) -> List[str]:
    """Returns one line per change, nothing where masking goes on as before.

    Settings of the spec come first (``old -> new``), then the weights that are masked now and were not, those that
    were and are not any more, with their reason, and those of another shape.
    """
    lines = _settings(old, new)
    before, now = ({site.variable: site for site in plan.sites} for plan in (old, new))
    reasons = {skip.variable: skip.reason for skip in new.skips}
    lines.extend(f"newly masked: {name}" for name in now if name not in before)
    lines.extend(
        f"no longer masked: {name} ({reasons.get(name, 'the model has no such weight')})"
        for name in before
        if name not in now
    )
    lines.extend(
        f"{name}: shape {list(before[name].shape)} -> {list(site.shape)}"
        for name, site in now.items()
        if name in before and before[name].shape != site.shape
    )
    return lines


def _settings(old: MaskPlan, new: MaskPlan) -> List[str]:
    before, now = ({} if plan.spec is None else plan.spec.to_dict() for plan in (old, new))
    return [
        f"{key}: {before.get(key)} -> {now.get(key)}"
        for key in dict.fromkeys([*now, *before])
        if before.get(key) != now.get(key)
    ]
