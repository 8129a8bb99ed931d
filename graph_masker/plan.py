"""A plan: which weights are masked, under which names, and why every other one is not. Pure, frozen data."""

import json
import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

from graph_masker.errors import PlanError
from graph_masker.gradients import GradientSum, Summand
from graph_masker.readers import Copy, Read
from graph_masker.sites import Candidate, Consumer, Findings
from graph_masker.spec import PruningSpec
from graph_masker.view import GraphView, OpName, Slice, cut, whole_name
from rewriters import Rule, WeightRule

LAST_UPDATE_STEP = "model_pruning/last_mask_update_step"


@dataclass(frozen=True)
class Site:
    """One weight variable, the edges that read it and the names of what masks it.

    Attributes:
        variable, mask, threshold, masked_weight: op names.
        kind: ``ref`` or ``resource``.
        dtype: TensorFlow's name of the weight's and the mask's type.
        shape: of weight and mask.
        op_types: types of the forward consumers, sorted.
        consumers: ops that read it as a weight.
        reads: raw tensors with the inputs that move to the masked weight.
        raw_readers: ops left on the raw value on purpose.
        masked: True where the graph already holds the mask.
        copies: ops that get a copy which reads the raw value, because they feed a regularizer, too.
        gathers: ops that read rows through a resource's handle and are replaced by gathers of the masked weight.
        gradients: gradients that the graph holds already and that the mask is applied to.
        part: what part of a partitioned variable this is; its parts share one threshold, and are pruned as one.
    """

    variable: OpName
    kind: str
    dtype: str
    shape: Tuple[int, ...]
    trainable: bool
    op_types: Tuple[str, ...]
    consumers: Tuple[Consumer, ...]
    reads: Tuple[Read, ...]
    raw_readers: Tuple[OpName, ...]
    mask: OpName
    threshold: OpName
    masked_weight: OpName
    masked: bool = False
    copies: Tuple[Copy, ...] = ()
    gathers: Tuple[OpName, ...] = ()
    part: Optional[Slice] = None
    gradients: Tuple[GradientSum, ...] = ()

    @property
    def entries(self) -> int:
        """Number of entries of the weight."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def saved_variable(self) -> str:
        """Key under which checkpoints hold the weight: the whole's, for a part of a partitioned one."""
        return self.variable if self.part is None else whole_name(self.variable)

    @property
    def saved_mask(self) -> str:
        """Key under which checkpoints hold the mask."""
        return self.mask if self.part is None else whole_name(self.mask)

    def part_of(self, whole: Any) -> Any:
        """Returns what of a tensor in a checkpoint is this site's."""
        return whole if self.part is None else cut(whole, self.part.offset, self.shape)


@dataclass(frozen=True)
class Skip:
    """A variable left dense, the op concerned (empty where there is none), and the reason."""

    variable: OpName
    op: OpName
    reason: str


@dataclass(frozen=True)
class MaskPlan:
    """Everything that masking a graph will do, and everything it will not."""

    sites: Tuple[Site, ...]
    skips: Tuple[Skip, ...]
    spec: Optional[PruningSpec] = None

    @property
    def entries(self) -> int:
        """Number of entries of all sites."""
        return sum(site.entries for site in self.sites)

    def to_json(self) -> str:
        """Returns the plan as JSON text; `from_json` takes it back."""
        values = {
            "sites": [_plain(site) for site in self.sites],
            "skips": [asdict(skip) for skip in self.skips],
            "spec": self.spec.to_dict() if self.spec is not None else None,
        }
        return json.dumps(values, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "MaskPlan":
        """Builds a plan from the text that `to_json` returns.

        Raises:
            PlanError: the text is not such a plan.
        """
        try:
            values = json.loads(text)
            return cls(
                sites=tuple(_site(plain) for plain in values["sites"]),
                skips=tuple(Skip(**plain) for plain in values["skips"]),
                spec=PruningSpec.from_dict(values["spec"]) if values["spec"] is not None else None,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise PlanError(f"expected a mask plan in JSON, found something else: {error!r}") from error


def _plain(site: Site) -> Dict[str, Any]:
    return {
        **asdict(site),
        "consumers": [consumer._asdict() for consumer in site.consumers],
        "reads": [read._asdict() for read in site.reads],
        "copies": [copy._asdict() for copy in site.copies],
        "gradients": [
            {**gradient._asdict(), "summands": [summand._asdict() for summand in gradient.summands]}
            for gradient in site.gradients
        ],
        "part": site.part._asdict() if site.part is not None else None,
    }


def _site(plain: Dict[str, Any]) -> Site:
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()}
    values["consumers"] = tuple(Consumer(**consumer) for consumer in plain["consumers"])
    values["reads"] = tuple(Read(read["tensor"], read["shared"], _edges(read["reroutes"])) for read in plain["reads"])
    values["copies"] = tuple(Copy(copy["op"], _edges(copy["moves"])) for copy in plain["copies"])
    values["gradients"] = tuple(
        GradientSum(tuple(_summand(summand) for summand in item["summands"]), item["result"], item["scope"])
        for item in plain["gradients"]
    )
    if plain["part"] is not None:
        part = plain["part"]
        values["part"] = Slice(part["full_name"], tuple(part["full_shape"]), tuple(part["offset"]))
    return Site(**values)


def _summand(plain: Dict[str, Any]) -> Summand:
    return Summand(tuple(plain["tensors"]), plain["kind"], plain["read"])


def _edges(plain: Iterable[Any]) -> Tuple[Tuple[OpName, int], ...]:
    return tuple((op, index) for op, index in plain)


def make_plan(
    view: GraphView,
    findings: Findings,
    spec: Optional[PruningSpec],
    rules: Iterable[Rule],
    strict: bool = True,
    trainable_only: bool = True,
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

    Raises:
        PlanError: nothing to mask, a pattern without a match, an unknown family, a mask's name is taken, or the
            graph holds gradients that cannot be masked with certainty.
    """
    names = _names(view, findings.candidates)
    reasons = _reasons(findings.candidates, spec, rules, strict)
    if trainable_only and view.trainable:
        for candidate in findings.candidates:
            if not candidate.trainable and not (spec is not None and spec.include):
                reasons.setdefault(candidate.variable, "not trainable; an include pattern masks it all the same")
    sites: List[Site] = []
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
            sites.append(_make_site(candidate, names[candidate.variable], view.slices.get(candidate.variable)))
    if strict and not sites:
        raise PlanError(_nothing_to_mask(skips.values()))
    order = {name: position for position, name in enumerate(view.nodes)}
    return MaskPlan(tuple(sites), tuple(sorted(skips.values(), key=lambda skip: order[skip.variable])), spec)


def _make_site(candidate: Candidate, names: Tuple[str, str], part: Optional[Slice]) -> Site:
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
    )


def _names(view: GraphView, candidates: Sequence[Candidate]) -> Dict[OpName, Tuple[str, str]]:
    """Names masks and thresholds: ``scope/mask``, or ``scope/<weight>_mask`` where a scope holds several weights.

    Every candidate of this graph counts, masked or not, so that the spec changes no name. A partitioned variable
    counts once; its parts share one threshold, and their masks are the parts of one partitioned mask.
    """
    wholes = {candidate.variable: _whole(view, candidate.variable) for candidate in candidates}
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


def _whole(view: GraphView, variable: OpName) -> str:
    """The name without that of the part, where a variable is one of a partitioned variable's."""
    return whole_name(variable) if variable in view.slices else variable


def _scope(variable: str) -> str:
    return variable[: variable.rfind("/") + 1]


def _reasons(
    candidates: Sequence[Candidate], spec: Optional[PruningSpec], rules: Iterable[Rule], strict: bool
) -> Dict[OpName, str]:
    """Returns, for each candidate that the spec leaves dense, the reason."""
    if spec is None:
        spec_include: Tuple[str, ...] = ()
        spec_exclude: Tuple[str, ...] = ()
        also: Tuple[str, ...] = ()
    else:
        spec_include, spec_exclude, also = spec.include, spec.exclude, spec.also
    families = sorted({r.family for r in rules if isinstance(r, WeightRule) and r.on_request})
    for family in also:
        if family not in families:
            raise PlanError(f"also: unknown family '{family}'; allowed are {', '.join(families) or 'none'}")
    if strict:
        for field, patterns in (("include", spec_include), ("exclude", spec_exclude)):
            for pattern in patterns:
                if not any(re.search(pattern, candidate.variable) for candidate in candidates):
                    raise PlanError(
                        f"{field}: '{pattern}' matches none of the {len(candidates)} weights found; "
                        f"`graph-masker inspect` lists their names{_example(candidates)}"
                    )
    reasons: Dict[OpName, str] = {}
    for candidate in candidates:
        name = candidate.variable
        excluded = [pattern for pattern in spec_exclude if re.search(pattern, name)]
        if excluded:
            reasons[name] = f"excluded by '{excluded[0]}'"
        elif spec_include and not any(re.search(pattern, name) for pattern in spec_include):
            reasons[name] = "no include pattern matches it"
        elif candidate.requested_only and not candidate.families & set(also):
            family = sorted(candidate.families)[0]
            reasons[name] = f"{family} weights are masked only on request (also: {family})"
    return reasons


def _example(candidates: Sequence[Candidate]) -> str:
    return f", such as '{candidates[0].variable}'" if candidates else ""


def _nothing_to_mask(skips: Iterable[Skip]) -> str:
    reasons = Counter(skip.reason for skip in skips)
    if not reasons:
        return "no weight to mask: no variable of this graph reaches a convolution or a matrix product"
    text = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
    return f"no weight to mask: {text}"
