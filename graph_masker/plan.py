"""A plan: which weights are masked, under which names, and why every other one is not. Pure, frozen data."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Dict, Iterable, Optional, Tuple

from graph_masker.errors import PlanError
from graph_masker.naming import whole_name
from graph_masker.sites import Consumer
from graph_masker.sites.gradients import GradientSum, Summand
from graph_masker.sites.readers import Copy, Read
from graph_masker.spec import PruningSpec
from graph_masker.spec.structure import Element, Structure, parse_structure, plain_structure
from graph_masker.view import OpName, Slice, cut

LAST_UPDATE_STEP = "model_pruning/last_mask_update_step"
# Written beside the checkpoints of what `graph-masker run` prunes.
PLAN_FILE = "graph_masker_plan.json"


@dataclass(frozen=True)
class Pruning:
    """How a weight is pruned.

    Attributes:
        target_sparsity: fraction of zeros at the end of the schedule.
        structure: what is pruned as one.
        criterion: what says which entries go; one of `spec.CRITERIA`.
        group: name of the group of weights that share one threshold; None for a weight that is pruned on its own.
        output_axes: axes of the weight, counted from the end, that make its consumers' output; empty for `Element`.
    """

    target_sparsity: float
    structure: Structure = Element()  # noqa: RUF009 (frozen)
    criterion: str = "magnitude"
    group: Optional[str] = None
    output_axes: Tuple[int, ...] = ()


@dataclass(frozen=True)
class Site:
    """One weight variable, the edges that read it and the names of what masks it.

    Attributes:
        variable, mask, threshold, masked_weight: op names.
        kind: ``ref``, ``resource`` or, in a frozen graph, ``constant``.
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
        pruning: how it is pruned; None where the plan was made without a spec.
        mirror_of: the first copy of the variable, where this is a copy on a further device: its mask is a copy, too.
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
    pruning: Optional[Pruning] = None
    mirror_of: Optional[OpName] = None

    @property
    def entries(self) -> int:
        """Number of entries of the weight."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def saved_variable(self) -> str:
        """Key under which checkpoints hold the weight: the whole's, for a part or a copy of one."""
        return whole_name(self.variable) if self.has_whole else self.variable

    @property
    def saved_mask(self) -> str:
        """Key under which checkpoints hold the mask."""
        return whole_name(self.mask) if self.has_whole else self.mask

    @property
    def has_whole(self) -> bool:
        """Whether it is a part of a partitioned variable, or a further copy of a mirrored one."""
        return self.part is not None or self.mirror_of is not None

    @property
    def state(self) -> Tuple[OpName, ...]:
        """Op names of mask and threshold. A frozen graph has lost its thresholds: nothing computes with them."""
        return (self.mask,) if self.kind == "constant" else (self.mask, self.threshold)

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
        """Number of entries of all sites; copies on further devices are not counted again."""
        return sum(site.entries for site in self.weights)

    @property
    def weights(self) -> Tuple[Site, ...]:
        """The sites without copies on further devices."""
        return tuple(site for site in self.sites if site.mirror_of is None)

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
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
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
        "pruning": _plain_pruning(site.pruning) if site.pruning is not None else None,
    }


def _plain_pruning(pruning: Pruning) -> Dict[str, Any]:
    return {**asdict(pruning), "structure": plain_structure(pruning.structure)}


def _pruning(plain: Dict[str, Any]) -> Pruning:
    structure = parse_structure("structure", plain["structure"])
    return Pruning(**{**plain, "structure": structure, "output_axes": tuple(plain["output_axes"])})


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
    if plain.get("pruning") is not None:
        values["pruning"] = _pruning(plain["pruning"])
    return Site(**values)


def _summand(plain: Dict[str, Any]) -> Summand:
    return Summand(tuple(plain["tensors"]), plain["kind"], plain["read"])


def _edges(plain: Iterable[Any]) -> Tuple[Tuple[OpName, int], ...]:
    return tuple((op, index) for op, index in plain)
