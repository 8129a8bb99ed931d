"""prune_model: which kind of file it is, and where the pruned one goes."""

import functools
import os
import shutil
from dataclasses import replace
from typing import Any, Callable, Iterable, Iterator, Optional, Sequence, Tuple

from graph_masker.errors import DestinationError, SourceError
from graph_masker.files import writing
from graph_masker.files.bundle import data_files
from graph_masker.files.changes import Changes
from graph_masker.files.copying import copy_checkpoint
from graph_masker.files.destination import (
    check_checkpoint_destination,
    check_destination,
    publishing,
    publishing_saved_model,
)
from graph_masker.files.graphs import ConstantsReader, is_text, read_graph, read_saved_model, view_of
from graph_masker.files.source import (
    CheckpointReader,
    Kind,
    Source,
    check_named,
    find_source,
    is_saved_model,
    open_complete,
)
from graph_masker.plan import MaskPlan, Skip
from graph_masker.pruning.constants import check_constants, with_constants
from graph_masker.pruning.plans import plan_one_shot, unused_fields
from graph_masker.pruning.result import PruneResult
from graph_masker.pruning.tensors import Tensors
from graph_masker.sites import find_sites
from graph_masker.spec import PruningSpec
from rewriters import DEFAULT_RULES, Rule

# Called with parts done and parts in all.
Progress = Callable[[int, int], None]

_SHARE = 1000
_VARIABLES = os.path.join("variables", "variables")


def prune_model(
    src: str,
    dst: str,
    spec: PruningSpec,
    rules: Sequence[Rule] = DEFAULT_RULES,
    meta: Optional[str] = None,
    tags: Iterable[str] = (),
    progress: Optional[Progress] = None,
    overwrite: bool = False,
) -> PruneResult:
    """Prunes a model in one shot: its weights get zeros, and nothing else of it changes.

    The zeros are those that one mask update at the spec's targets makes: see docs/files.md.

    Args:
        src: checkpoint prefix or directory, whose latest is taken; SavedModel; or frozen graph (.pb, .pbtxt).
        dst: of the same kind, and new.
        spec: targets, structures, allocation, criterion, rules, include and exclude. When and how often a training
            would prune is of no concern.
        rules: what is known of op types.
        meta: .meta file with the graph of a checkpoint that has none beside it.
        tags: which of a SavedModel's graphs says what its weights are; by default the one for serving, or the only one.
        progress: called with parts done and parts in all.
        overwrite: replace what `dst` names, if it is of the kind that is written.

    Raises:
        SourceError: the source is missing, damaged or incomplete, or a weight is not finite; the message names it.
        PlanError: there is nothing to prune, or a pattern matches nothing.
        DestinationError: the destination exists or cannot be written.
        VerificationError: what was written does not read back as it should. Nothing is left behind.
    """
    source = find_source(src)
    if meta is not None:
        if source.kind not in (Kind.CHECKPOINT, Kind.META_GRAPH):
            raise SourceError(f"{src}: is {source.kind.value}, which has its graph; leave --meta out")
        source = source._replace(graph_path=meta)
    if source.kind is Kind.FROZEN:
        work: Callable[..., PruneResult] = _prune_frozen
    elif source.prefix is None:
        raise SourceError(
            f"{src}: expected tensors to prune, found {source.kind.value} without any"
            + ("; prune the frozen graph that it was made of" if source.kind is Kind.SAVED_MODEL else "")
        )
    elif source.graph_path is None:
        check_named(CheckpointReader(source.prefix))
        raise SourceError(
            f"{source.prefix}.meta: expected the graph of this checkpoint, which tells what its weights are, found no "
            "such file; copy it from the training directory, or name one by --meta"
        )
    else:
        # A graph that the user brought stays where it is.
        work = functools.partial(_prune_checkpoint, with_graph=meta is None)
        if source.kind is Kind.SAVED_MODEL:
            work = _prune_saved_model
    meta_graph = read_graph(source, tags)
    plan = plan_one_shot(view_of(meta_graph), spec, rules)
    if source.kind is Kind.SAVED_MODEL:
        plan = replace(plan, skips=(*plan.skips, *_left_by_tags(source, plan, rules)))
    return work(source, meta_graph, plan, dst, overwrite, progress)


def _left_by_tags(source: Source, plan: MaskPlan, rules: Sequence[Rule]) -> Iterator[Skip]:
    """Yields the weights that only other graphs of a SavedModel have."""
    assert source.graph_path is not None
    known = {site.variable for site in plan.sites} | {skip.variable for skip in plan.skips}
    meta_graphs = read_saved_model(source.graph_path).meta_graphs
    # All weights of the chosen one are in the plan.
    for meta_graph in meta_graphs if len(meta_graphs) > 1 else ():
        for candidate in find_sites(view_of(meta_graph), rules).candidates:
            if candidate.variable not in known:
                known.add(candidate.variable)
                named = ",".join(meta_graph.meta_info_def.tags)
                yield Skip(candidate.variable, "", f"only a graph that was not chosen has it (--tags {named})")


def _prune_checkpoint(
    source: Source,
    meta_graph: Any,
    plan: MaskPlan,
    dst: str,
    overwrite: bool,
    progress: Optional[Progress],
    with_graph: bool,
) -> PruneResult:
    assert source.prefix is not None and source.graph_path is not None
    destination = check_checkpoint_destination(source, dst, overwrite)
    reader = open_complete(source.prefix)
    tensors = Tensors(reader, plan, _part(progress, 0, 1))
    with destination.publishing() as prefix:
        changes = Changes(replacements=tensors.edits)
        copy_checkpoint(reader, changes, prefix, _part(progress, 1, 2))
        if with_graph:
            shutil.copyfile(source.graph_path, prefix + ".meta")
    return _result(destination.prefix, data_files(destination.prefix), plan, tensors)


def _prune_saved_model(
    source: Source, meta_graph: Any, plan: MaskPlan, dst: str, overwrite: bool, progress: Optional[Progress]
) -> PruneResult:
    assert source.prefix is not None and source.graph_path is not None
    folder = os.path.dirname(source.graph_path) or "."
    check_destination(folder, dst, overwrite, is_saved_model)
    reader = open_complete(source.prefix)
    tensors = Tensors(reader, plan, _part(progress, 0, 1))
    own = os.path.relpath(os.path.dirname(source.prefix), folder)
    with publishing_saved_model(folder, dst, [own]) as new:
        os.mkdir(os.path.join(new, own))
        prefix = os.path.join(new, _VARIABLES)
        copy_checkpoint(reader, Changes(replacements=tensors.edits), prefix, _part(progress, 1, 2))
    return _result(dst, data_files(os.path.join(dst, _VARIABLES)), plan, tensors)


def _prune_frozen(
    source: Source, meta_graph: Any, plan: MaskPlan, dst: str, overwrite: bool, progress: Optional[Progress]
) -> PruneResult:
    assert source.graph_path is not None
    check_destination(source.path, dst, overwrite, os.path.isfile)
    if is_text(dst) != is_text(source.path):
        raise DestinationError(
            f"{dst}: expected the ending of {source.path}, whose bytes are kept; choose another name"
        )
    tensors = Tensors(ConstantsReader(source.path, meta_graph.graph_def), plan, _part(progress, 0, 1))
    content = with_constants(source.graph_path, meta_graph.graph_def, tensors.edits)
    with publishing(dst) as new:
        writing.write_checked(new, content)
        check_constants(new, meta_graph.graph_def, tensors.edits)
        shutil.copymode(source.graph_path, new)
    if progress is not None:
        progress(3, 3)
    return _result(dst, (dst,), plan, tensors)


def _result(path: str, names: Tuple[str, ...], plan: MaskPlan, tensors: Tensors) -> PruneResult:
    assert plan.spec is not None
    unused = unused_fields(plan.spec)
    return PruneResult(path, names, plan, tensors.weights, tensors.copies, tensors.masks, unused)


def _part(progress: Optional[Progress], first: int, parts: int) -> Optional[Progress]:
    """Returns what draws some of the three parts of the work: deciding, writing, checking."""
    if progress is None:
        return None
    draw = progress
    return lambda done, total: draw(_SHARE * first + _SHARE * parts * done // max(1, total), 3 * _SHARE)
