"""The weights that an update goes through: whole ones, with what each is pruned by."""

from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from graph_masker import selection, tf_compat
from graph_masker.accumulators import Accumulators, criterion_of
from graph_masker.criteria import Criterion
from graph_masker.engine.choosing import Choice
from graph_masker.engine.counting import is_long
from graph_masker.errors import PlanError
from graph_masker.plan import Pruning
from graph_masker.schedule import falls
from graph_masker.spec import NM, Block, Channel, PruningSpec
from graph_masker.surgery import MaskedVariable


class Weight(NamedTuple):
    """A weight, or the parts of a partitioned one, which are ranked together.

    Attributes:
        name: of the variable; the whole's, for parts.
        parts: in order; mostly one.
        mirrors: copies of it on further devices, whose masks are copies, too.
        axis: along which the parts lie.
        scores: per part, the variable that holds its scores: the weight itself, or its criterion's accumulator.
        criterion: what says which entries go.
        pruning: target and structure.
        choice: what the function that selects depends on.
    """

    name: str
    parts: Tuple[MaskedVariable, ...]
    mirrors: Tuple[MaskedVariable, ...]
    axis: int
    scores: Tuple[Any, ...]
    criterion: Criterion
    pruning: Pruning
    choice: Choice

    @property
    def first(self) -> MaskedVariable:
        """The first part; it has the threshold of all."""
        return self.parts[0]

    @property
    def shape(self) -> Tuple[int, ...]:
        """Of all parts together."""
        part = self.first.site.part
        return self.first.site.shape if part is None else part.full_shape

    @property
    def entries(self) -> int:
        """Number of entries of all parts."""
        return sum(part.site.entries for part in self.parts)


def weights_of(masked: Sequence[MaskedVariable], accumulators: Accumulators, spec: PruningSpec) -> List[Weight]:
    """Groups parts of partitioned weights, and copies of mirrored ones, and says of each weight how it is pruned.

    Raises:
        PlanError: a criterion needs a gradient that the graph does not have.
    """
    groups: Dict[str, List[MaskedVariable]] = {}
    mirrors: Dict[str, List[MaskedVariable]] = {}
    for item in masked:
        part = item.site.part
        if item.site.mirror_of is not None:
            mirrors.setdefault(item.site.mirror_of, []).append(item)
            continue
        groups.setdefault(item.site.variable if part is None else part.full_name, []).append(item)
    return [_weight(name, group, mirrors.get(name, ()), accumulators, spec) for name, group in groups.items()]


def _weight(
    name: str,
    group: Sequence[MaskedVariable],
    mirrors: Sequence[MaskedVariable],
    accumulators: Accumulators,
    spec: PruningSpec,
) -> Weight:
    parts = tuple(sorted(group, key=lambda item: item.site.part.offset if item.site.part else ()))
    criterion = criterion_of(parts[0].site)
    elsewhere = tf_compat.copies_elsewhere(parts[0].weight)
    if elsewhere and criterion.contribution is not None:
        raise PlanError(
            f"{name}: criterion {criterion.name} needs the whole gradient, of which other processes compute "
            f"{elsewhere} of {elsewhere + len(mirrors) + 1} parts; give it criterion magnitude by a rule, or use "
            "MirroredStrategy"
        )
    scores = tuple(_scores(part, criterion, accumulators) for part in parts)
    pruning = parts[0].site.pruning or Pruning(spec.target_sparsity)
    shape = parts[0].site.shape if parts[0].site.part is None else parts[0].site.part.full_shape
    structure = structure_of(pruning).at(shape)
    choice = Choice(
        dtype=parts[0].weight.dtype.base_dtype,
        score_dtype=scores[0].dtype.base_dtype,
        structure=structure,
        signed=criterion.signed,
        extent=structure.extent(shape),
        is_long=is_long(sum(part.site.entries for part in parts)),
        continues=spec.continue_from_masks and not falls(spec),
        decay=spec.threshold_decay,
        averages=criterion.averages,
    )
    return Weight(name, parts, tuple(mirrors), _partitioned_axis(parts), scores, criterion, pruning, choice)


def structure_of(pruning: Pruning) -> selection.Structure:
    """Returns what selects by a weight's structure."""
    structure, axes = pruning.structure, pruning.output_axes
    if isinstance(structure, Block):
        return selection.Blocks(structure.height, structure.width, structure.pooling, axes)
    if isinstance(structure, NM):
        return selection.NOfM(structure.n, structure.m, axes)
    if isinstance(structure, Channel):
        return selection.Channels(structure.norm, axes)
    return selection.ELEMENTS


def _scores(part: MaskedVariable, criterion: Criterion, accumulators: Accumulators) -> Any:
    if criterion.contribution is None:
        return part.weight
    scores = accumulators.of(part.site)
    if scores is None:
        raise PlanError(
            f"{part.site.variable}: criterion {criterion.name} needs its gradient, found none that was built while "
            "masking was on; give it criterion magnitude by a rule, or exclude it"
        )
    return scores


def _partitioned_axis(parts: Sequence[MaskedVariable]) -> int:
    """Returns the axis along which the parts of a weight lie; 0 where there is one."""
    offsets = [item.site.part.offset for item in parts if item.site.part is not None]
    differing = [axis for axis, starts in enumerate(zip(*offsets)) if len(set(starts)) > 1]
    return differing[0] if differing else 0
