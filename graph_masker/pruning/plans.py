"""What one shot prunes in a graph that lies in a file."""

from dataclasses import replace
from typing import Iterable, Tuple

from graph_masker.choices import shared_out
from graph_masker.errors import PlanError
from graph_masker.naming import whole_name
from graph_masker.plan import MaskPlan, Skip
from graph_masker.planning import make_plan
from graph_masker.sites import find_sites
from graph_masker.spec import PruningSpec
from graph_masker.view import GraphView
from rewriters import Rule

# What tells when and how to get to the target, which one shot goes to at once.
_OF_SCHEDULES = (
    "begin_step",
    "end_step",
    "frequency",
    "initial_sparsity",
    "exponent",
    "schedule",
    "sparsity_begin_step",
    "sparsity_end_step",
    "threshold_decay",
    "continue_from_masks",
)


def plan_one_shot(view: GraphView, spec: PruningSpec, rules: Iterable[Rule]) -> MaskPlan:
    """Plans the pruning of a graph's weights. Its gradients are of no concern: nothing of the graph is rewritten.

    Raises:
        PlanError: see `make_plan`; or the spec excludes all that is masked.
    """
    findings = find_sites(view, rules)
    candidates = tuple(replace(candidate, unmatched=None) for candidate in findings.candidates)
    plan = make_plan(view, findings._replace(candidates=candidates), spec, rules)
    reasons = {site.variable: spec.for_weight(whole_name(site.variable)).excluded_by for site in plan.sites}
    sites = [site for site in plan.sites if not reasons[site.variable]]
    if not sites:
        raise PlanError("no weight to prune: the spec excludes all that can be; widen include or narrow exclude")
    # A masked weight is a site whatever the spec says of it.
    left = [site for site in plan.sites if reasons[site.variable]]
    skips = [Skip(s.variable, s.consumers[0].op, f"{reasons[s.variable]}; its mask stays as it is") for s in left]
    return MaskPlan(tuple(shared_out(sites, spec) if left else sites), (*plan.skips, *skips), spec)


def unused_fields(spec: PruningSpec) -> Tuple[str, ...]:
    """Returns the fields of a spec that say something, and that one shot has no use for."""
    plain = PruningSpec(spec.target_sparsity, 0, schedule="one_shot", max_sparsity=spec.max_sparsity)
    return tuple(name for name in _OF_SCHEDULES if getattr(spec, name) != getattr(plain, name))
