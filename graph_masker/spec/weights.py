"""What a spec says about one weight: the rule that applies to it, and what is left to the spec's own values."""

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Iterable, List, Optional, Tuple

from graph_masker.errors import SpecError
from graph_masker.spec.rules import Rule
from graph_masker.spec.settings import DEFAULT_GROUP, GLOBAL, MOVEMENT, POLYNOMIAL, SMALLEST_PROPORTION, UNIFORM
from graph_masker.spec.structure import NM, Channel, Structure

if TYPE_CHECKING:
    from graph_masker.spec.pruning_spec import PruningSpec


@dataclass(frozen=True)
class WeightSpec:
    """What applies to one weight.

    Attributes:
        excluded: it stays dense.
        excluded_by: the reason, for people; empty where it is not excluded.
        target_sparsity: fraction of zeros at the end of the schedule. Under erk it is the total's, unless `fixed`.
        structure: what is pruned as one.
        criterion: what says which entries go.
        group: under global allocation, the name of the group whose weights share one threshold; None for a weight
            that is pruned on its own. A rule that names no group, and that gives another target, structure or
            criterion than the spec's, takes its weights out of the spec's group.
        rule: index of the rule that applies, or None.
        fixed: a rule gives the target, so erk leaves it alone.
    """

    excluded: bool
    excluded_by: str
    target_sparsity: float
    structure: Structure
    criterion: str
    group: Optional[str]
    rule: Optional[int]
    fixed: bool


def weight_spec(spec: "PruningSpec", name: str) -> WeightSpec:
    """Returns what a spec says about the weight whose variable has that name."""
    index = next((index for index, rule in enumerate(spec.rules) if re.search(rule.match, name)), None)
    reason = _exclusion(spec, name, index)
    if reason:
        return replace(_settings(spec, None), excluded=True, excluded_by=reason, rule=index)
    return _settings(spec, index)


def rule_settings(spec: "PruningSpec") -> List[Tuple[Rule, WeightSpec]]:
    """Returns each rule that does not exclude, with what applies to the weights that it matches first."""
    return [(rule, _settings(spec, index)) for index, rule in enumerate(spec.rules) if not rule.exclude]


def _exclusion(spec: "PruningSpec", name: str, index: Optional[int]) -> str:
    excluded = next((pattern for pattern in spec.exclude if re.search(pattern, name)), None)
    if excluded is not None:
        return f"excluded by '{excluded}'"
    if spec.include and not any(re.search(pattern, name) for pattern in spec.include):
        return "no include pattern matches it"
    if index is not None and spec.rules[index].exclude:
        return f"excluded by rules[{index}], '{spec.rules[index].match}'"
    return ""


def _settings(spec: "PruningSpec", index: Optional[int]) -> WeightSpec:
    """Returns what applies to weights that a rule does not exclude; index None: to those that no rule matches."""
    group = DEFAULT_GROUP if spec.allocation == GLOBAL else None
    base = WeightSpec(False, "", spec.target_sparsity, spec.structure, spec.criterion, group, None, False)
    if index is None:
        return base
    rule = spec.rules[index]
    structure = spec.structure if rule.structure is None else rule.structure
    criterion = spec.criterion if rule.criterion is None else rule.criterion
    target = _target(spec, rule, structure)
    if rule.group is not None:
        group = rule.group
    elif (target, structure, criterion) != _ranking(base):
        group = None
    return WeightSpec(False, "", target, structure, criterion, group, index, rule.sparsity is not None)


def _target(spec: "PruningSpec", rule: Rule, structure: Structure) -> float:
    if isinstance(structure, NM):
        return structure.sparsity
    return spec.target_sparsity if rule.sparsity is None else rule.sparsity


def implied_target(name: str, given: Optional[float], structure: NM) -> float:
    """Returns the target that an n:m structure stands for.

    Raises:
        SpecError: another one is given.
    """
    implied = structure.sparsity
    if given is not None and not math.isclose(given, implied, rel_tol=1e-9):
        raise SpecError(
            f"{name}: expected {implied!r}, which is what {structure.n}:{structure.m} stands for, found {given!r}; "
            f"leave {name.split('.')[-1]} out"
        )
    return implied


def check_rules(spec: "PruningSpec") -> None:
    """Raises where rules and the spec's other values contradict each other.

    Raises:
        SpecError: the message names the rule, and says what to change.
    """
    _check_n_of_m("structure", spec, spec.structure)
    if spec.allocation == GLOBAL and spec.threshold_decay:
        raise SpecError(
            "threshold_decay: expected none where allocation is global, whose threshold comes from an exact count, "
            f"found {spec.threshold_decay:g}; leave it out or set allocation to uniform"
        )
    _check_channels("structure", spec.structure, spec.criterion)
    first_of = {DEFAULT_GROUP: ("the spec", _ranking(_settings(spec, None)))}
    for rule, settings in rule_settings(spec):
        name = f"rules[{settings.rule}]"
        _check_rule(name, spec, rule, settings)
        if rule.group is not None:
            first, ranking = first_of.setdefault(rule.group, (name, _ranking(settings)))
            if ranking != _ranking(settings):
                raise SpecError(
                    f"{name}.group: weights of group {rule.group!r} share one threshold; expected the sparsity, "
                    f"structure and criterion of {first}, found others; make them equal or name another group"
                )


def _ranking(settings: WeightSpec) -> Tuple[float, Structure, str]:
    """What weights of one group must have in common."""
    return settings.target_sparsity, settings.structure, settings.criterion


def _check_rule(name: str, spec: "PruningSpec", rule: Rule, settings: WeightSpec) -> None:
    target = settings.target_sparsity
    if isinstance(settings.structure, NM):
        _check_n_of_m(f"{name}.structure", spec, settings.structure)
        implied_target(f"{name}.sparsity", rule.sparsity, settings.structure)
    _check_channels(f"{name}.structure", settings.structure, settings.criterion)
    if spec.allocation != UNIFORM and target > spec.max_sparsity:
        raise SpecError(
            f"{name}.sparsity: expected at most max_sparsity, {spec.max_sparsity:g}, found {target:g}; "
            "raise max_sparsity or lower the rule's sparsity"
        )
    is_curve = spec.schedule == POLYNOMIAL or spec.values is not None
    if is_curve and target > 0 and spec.target_sparsity < SMALLEST_PROPORTION:
        raise SpecError(
            f"{name}.sparsity: {target:g} follows the schedule in proportion to target_sparsity, found "
            f"{spec.target_sparsity:g}; give a target_sparsity above 0 and exclude what shall stay dense"
        )
    if rule.group is not None and spec.allocation != GLOBAL:
        raise SpecError(
            f"{name}.group: expected no group where allocation is {spec.allocation}, found {rule.group!r}; set "
            "allocation to global or remove the group"
        )


def _check_channels(name: str, structure: Structure, criterion: str) -> None:
    if isinstance(structure, Channel) and structure.norm == "l2" and criterion == MOVEMENT:
        raise SpecError(
            f"{name}: movement scores have signs, which an l2 norm of a channel drops; use channel, l1, which adds "
            "them up"
        )


def _check_n_of_m(name: str, spec: "PruningSpec", structure: Structure) -> None:
    if not isinstance(structure, NM):
        return
    if spec.allocation != UNIFORM:
        raise SpecError(
            f"{name}: {structure.n}:{structure.m} fixes the sparsity that allocation {spec.allocation} would choose; "
            "set allocation to uniform or choose another structure"
        )
    if spec.threshold_decay:
        raise SpecError(
            f"{name}: {structure.n}:{structure.m} has no threshold that threshold_decay could smooth; leave "
            "threshold_decay out or choose another structure"
        )


def unmatched_patterns(spec: "PruningSpec", names: Iterable[str]) -> Tuple[Tuple[str, str], ...]:
    """Returns (key, pattern) for each pattern of include, exclude and rules that is found in none of the names.

    Rules that are marked optional are left out.
    """
    patterns = [(key, pattern) for key in ("include", "exclude") for pattern in getattr(spec, key)]
    patterns += [(f"rules[{index}].match", rule.match) for index, rule in enumerate(spec.rules) if not rule.optional]
    known = list(names)
    return tuple((key, pattern) for key, pattern in patterns if not any(re.search(pattern, name) for name in known))
