"""Makes plans: decides what is masked, names it, and says how each weight is pruned. Pure."""

from collections import Counter
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from graph_masker.choices import Choices, shared_out
from graph_masker.errors import PlanError
from graph_masker.naming import whole_name
from graph_masker.plan import MaskPlan, Pruning, Site, Skip
from graph_masker.sites import Candidate, Findings
from graph_masker.spec import PruningSpec
from graph_masker.view import GraphView, OpName, Slice
from rewriters import Rule, WeightRule


def make_plan(
    view: GraphView,
    findings: Findings,
    spec: Optional[PruningSpec],
    rules: Iterable[Rule],
    strict: bool = True,
    trainable_only: bool = True,
    may_be_empty: bool = False,
) -> MaskPlan:
    """Decides what is masked and names it.

    Args:
        view: the graph, for names already taken.
        findings: what `find_sites` returned for it.
        spec: include, exclude and also are applied; None plans every candidate (to inspect a file).
        rules: those the sites were found with; they define the families that `also` may name.
        strict: raise where a pattern matches nothing or nothing is left to mask. A graph built for evaluation
            may lack parts that the training graph has, so there it is False.
        trainable_only: leave dense what the graph does not train, unless an include pattern names it. A graph
            built for evaluation often declares nothing trainable, so there it is False.
        may_be_empty: that nothing is left to mask is no error even where `strict`, as for one of many graphs; nor is
            a pattern without a match, where there is no weight that it could match.

    Raises:
        PlanError: nothing to mask, a pattern without a match, an unknown family, a mask's name is taken, or the
            graph holds gradients that cannot be masked with certainty.
    """
    names = _names(view, findings.candidates)
    is_bare = may_be_empty and not findings.candidates
    reasons = _reasons(findings.candidates, spec, rules, strict and not is_bare)
    if trainable_only and view.trainable:
        for candidate in findings.candidates:
            if not candidate.trainable and not (spec is not None and spec.include):
                reasons.setdefault(candidate.variable, "not trainable; an include pattern masks it all the same")
    sites: List[Site] = []
    how = Choices(spec, strict)
    skips: Dict[OpName, Skip] = {item.variable: Skip(*item) for item in findings.unmasked}
    for candidate in findings.candidates:
        reason = reasons.get(candidate.variable)
        if reason is not None and candidate.existing is None:
            skips[candidate.variable] = Skip(candidate.variable, candidate.consumers[0].op, reason)
        elif candidate.unmatched is not None and spec is not None:
            raise PlanError(
                f"{candidate.variable}: the graph holds its gradients already, and {candidate.unmatched.reason}; "
                "mask the graph before its gradients are built, or exclude this variable"
            )
        else:
            part = view.slices.get(candidate.variable)
            pruning, mirror_of = how.of(candidate, part), view.mirrors.get(candidate.variable)
            sites.append(_make_site(candidate, names[candidate.variable], part, pruning, mirror_of))
    if strict and not sites and not may_be_empty:
        raise PlanError(_nothing_to_mask(skips.values()))
    sites = shared_out(sites, spec)
    return MaskPlan(tuple(sites), tuple(sorted(skips.values(), key=lambda skip: view.nodes[skip.variable].order)), spec)


def _make_site(
    candidate: Candidate,
    names: Tuple[str, str],
    part: Optional[Slice],
    pruning: Optional[Pruning],
    mirror_of: Optional[OpName],
) -> Site:
    existing = candidate.existing
    forward = {consumer.op_type for consumer in candidate.consumers if not consumer.backward}
    return Site(
        variable=candidate.variable,
        kind=candidate.kind,
        dtype=candidate.dtype,
        shape=candidate.shape,
        trainable=candidate.trainable,
        op_types=tuple(sorted(forward)),
        consumers=candidate.consumers,
        reads=candidate.readers.reads,
        raw_readers=candidate.readers.raw,
        mask=existing.mask if existing else names[0],
        threshold=existing.threshold if existing else names[1],
        masked_weight=existing.masked_weight if existing else f"{candidate.variable}/masked_weight",
        masked=existing is not None,
        copies=candidate.readers.copies,
        gathers=candidate.readers.gathers,
        part=part,
        gradients=candidate.gradients,
        pruning=pruning,
        mirror_of=mirror_of,
    )


def _names(view: GraphView, candidates: Sequence[Candidate]) -> Dict[OpName, Tuple[str, str]]:
    """Names masks and thresholds: ``scope/mask``, or ``scope/<weight>_mask`` where a scope holds several weights.

    Every candidate of this graph counts, masked or not, so that the spec changes no name. A partitioned variable
    counts once; its parts share one threshold, and their masks are the parts of one partitioned mask. So does one
    that is mirrored on several devices.
    """
    wholes = {candidate.variable: whole_of(view, candidate.variable) for candidate in candidates}
    existing = {wholes[candidate.variable] for candidate in candidates if candidate.existing is not None}
    per_scope = Counter(_scope(whole) for whole in set(wholes.values()))
    names: Dict[OpName, Tuple[str, str]] = {}
    for candidate in candidates:
        whole = wholes[candidate.variable]
        scope, part = _scope(whole), candidate.variable[len(whole) :]
        alone, own = (f"{scope}mask", f"{scope}threshold"), (f"{whole}_mask", f"{whole}_threshold")
        free = whole in existing or not any(name in view.nodes for name in (alone[0] + part, *alone))
        mask, threshold = alone if per_scope[scope] == 1 and free else own
        names[candidate.variable] = (mask + part, threshold)
        for name in names[candidate.variable]:
            if whole not in existing and name in view.nodes:
                raise PlanError(
                    f"{candidate.variable}: the graph already has an op named '{name}', which its mask needs; "
                    "exclude this variable or rename that op"
                )
    return names


def whole_of(view: GraphView, variable: OpName) -> str:
    """Returns the name without that of the part or copy, where a variable is one of another's."""
    return whole_name(variable) if variable in view.slices or variable in view.mirrors else variable


def _scope(variable: str) -> str:
    return variable[: variable.rfind("/") + 1]


def _reasons(
    candidates: Sequence[Candidate], spec: Optional[PruningSpec], rules: Iterable[Rule], strict: bool
) -> Dict[OpName, str]:
    """Returns, for each candidate that the spec leaves dense, the reason."""
    if spec is not None and strict:
        names = [whole_name(candidate.variable) for candidate in candidates]
        for key, pattern in spec.unmatched_patterns(names):
            raise PlanError(
                f"{key}: '{pattern}' matches none of the {len(set(names))} weights found; "
                f"`graph-masker inspect` lists their names{_example(candidates)}"
            )
    also = spec.also if spec is not None else ()
    families = sorted({r.family for r in rules if isinstance(r, WeightRule) and r.on_request})
    for family in also:
        if family not in families:
            raise PlanError(f"also: unknown family '{family}'; allowed are {', '.join(families) or 'none'}")
    reasons: Dict[OpName, str] = {}
    for candidate in candidates:
        settings = None if spec is None else spec.for_weight(whole_name(candidate.variable))
        if settings is not None and settings.excluded:
            reasons[candidate.variable] = settings.excluded_by
        elif candidate.requested_only and not candidate.families & set(also):
            family = sorted(candidate.families)[0]
            reasons[candidate.variable] = f"{family} weights are masked only on request (also: {family})"
    return reasons


def _example(candidates: Sequence[Candidate]) -> str:
    return f", such as '{candidates[0].variable}'" if candidates else ""


def _nothing_to_mask(skips: Iterable[Skip]) -> str:
    reasons = Counter(skip.reason for skip in skips)
    if not reasons:
        return "no weight to mask: no variable of this graph reaches a convolution or a matrix product"
    text = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
    return f"no weight to mask: {text}"
