"""How each weight is pruned: what the spec says of it, made concrete by its shape and by the others."""

from dataclasses import replace
from typing import List, Optional, Tuple

from graph_masker.allocation import erk_targets
from graph_masker.errors import PlanError
from graph_masker.naming import whole_name
from graph_masker.plan import Pruning, Site
from graph_masker.sites import Candidate
from graph_masker.spec import ERK, Block, Element, PruningSpec, Structure
from graph_masker.view import Slice


class Choices:
    """The choices for one graph."""

    def __init__(self, spec: Optional[PruningSpec], strict: bool) -> None:
        """Args: the spec, and whether what it asks for must be possible; a graph that does not train is not pruned."""
        self._spec = spec
        self._strict = strict

    def of(self, candidate: Candidate, part: Optional[Slice]) -> Optional[Pruning]:
        """Returns how a weight is pruned; None without a spec.

        Raises:
            PlanError: a structure needs to know which axes make the output, and the graph does not tell.
        """
        if self._spec is None:
            return None
        settings = self._spec.for_weight(whole_name(candidate.variable))
        shape = candidate.shape if part is None else part.full_shape
        structure = _applicable(settings.structure, shape)
        axes: Tuple[int, ...] = ()
        if not isinstance(structure, Element):
            axes = self._axes(candidate, structure, shape)
        return Pruning(settings.target_sparsity, structure, settings.criterion, settings.group, axes)

    def _axes(self, candidate: Candidate, structure: Structure, shape: Tuple[int, ...]) -> Tuple[int, ...]:
        if isinstance(structure, Block) and structure.matrices_only:
            # As tf.contrib.model_pruning: rows and columns as they are stored, once axes of size 1 are dropped.
            last = max(axis for axis, size in enumerate(shape) if size > 1)
            return (last - len(shape),)
        axes = candidate.output_axes()
        if axes is None and self._strict:
            raise PlanError(
                f"{candidate.variable}: structure {type(structure).__name__.lower()} needs the axes that make the "
                f"output of '{candidate.consumers[0].op}', found none that all its consumers agree on; exclude the "
                "variable, or give it structure element by a rule"
            )
        return axes or ()


def shared_out(sites: List[Site], spec: Optional[PruningSpec]) -> List[Site]:
    """Gives each site its own target, where the spec shares out one for all."""
    if spec is None or spec.allocation != ERK:
        return sites
    shapes = {site.saved_variable: site.shape if site.part is None else site.part.full_shape for site in sites}
    targets = {site.saved_variable: site.pruning.target_sparsity for site in sites if site.pruning is not None}
    fixed = {name: targets[name] for name in shapes if spec.for_weight(whole_name(name)).fixed}
    found = erk_targets(shapes, spec.target_sparsity, spec.max_sparsity, fixed)
    return [
        replace(site, pruning=replace(site.pruning, target_sparsity=found[site.saved_variable]))
        if site.pruning is not None
        else site
        for site in sites
    ]


def _applicable(structure: Structure, shape: Tuple[int, ...]) -> Structure:
    is_matrix = sum(size > 1 for size in shape) == 2
    return Element() if isinstance(structure, Block) and structure.matrices_only and not is_matrix else structure
