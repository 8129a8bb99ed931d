"""rewrite_checkpoint: a dense checkpoint with its training graph becomes a masked one, without the model's code."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

from graph_masker import tf_compat
from graph_masker.engine import UPDATE
from graph_masker.errors import SourceError, VerificationError
from graph_masker.files import writing
from graph_masker.files.changes import Addition, Changes
from graph_masker.files.copying import Progress, copy_checkpoint
from graph_masker.files.destination import check_checkpoint_destination
from graph_masker.files.graphs import read_meta_graph
from graph_masker.files.source import CheckpointReader, Kind, Source, find_source, open_complete
from graph_masker.inspection import plan_view
from graph_masker.naming import threshold_of
from graph_masker.plan import MaskPlan, Site
from graph_masker.rewriting.metagraph import MaskedMetaGraph, imported
from graph_masker.rewriting.metasavers import weight_keys
from graph_masker.sites.effects import is_write
from graph_masker.spec import PruningSpec
from graph_masker.verify import verify_view
from graph_masker.view import GraphView
from rewriters import DEFAULT_RULES, Rule

# By which a variable enters conds and loops.
_PASSAGES = frozenset(("Switch", "RefSwitch", "Enter", "RefEnter"))


@dataclass(frozen=True)
class RewriteResult:
    """What `rewrite_checkpoint` wrote.

    Attributes:
        prefix: of the new checkpoint.
        plan: the weights that are masked in it, and why every other one is not.
        added: keys that the new checkpoint has and the source does not.
        train_ops: ops of the graph that now run the mask update; none where the graph does not train.
        apart: ops that train weights and that the update does not wait for.
    """

    prefix: str
    plan: MaskPlan
    added: Tuple[str, ...]
    train_ops: Tuple[str, ...]
    apart: Tuple[str, ...]


def rewrite_checkpoint(
    src: str,
    dst: str,
    spec: PruningSpec,
    meta: Optional[str] = None,
    rules: Sequence[Rule] = DEFAULT_RULES,
    progress: Optional[Progress] = None,
    overwrite: bool = False,
) -> RewriteResult:
    """Adds masks of ones to a dense checkpoint, and to the training graph beside it all that pruning needs.

    The new checkpoint restores into the model under `auto_mask`. Its .meta file trains with pruning by
    `tf.train.import_meta_graph` and the graph's own train op, and its savers save and restore the masks. Nothing of
    the graph is run. A weight that the graph masks already keeps its mask.

    Args:
        src: prefix of a checkpoint, or a checkpoint directory, whose latest is taken.
        dst: prefix of the new checkpoint, or, where `src` is a directory, a new directory.
        spec: what to mask, and when.
        meta: the .meta file of the graph, where it does not lie beside the checkpoint.
        rules: what is known of op types.
        progress: called with bytes done and bytes in all.
        overwrite: replace a destination that is there, as `fold_checkpoint` does.

    Raises:
        SourceError: the source is missing, damaged or masked already, or has no .meta file.
        PlanError: nothing is to be masked, or the graph cannot be masked with certainty.
        DestinationError: the destination exists or cannot be written.
        VerificationError: what was written does not read back as it should. Nothing is left behind.
    """
    source = find_source(src)
    if source.kind not in (Kind.CHECKPOINT, Kind.META_GRAPH):
        raise SourceError(
            f"{src}: expected a checkpoint, found {source.kind.value}; rewrite the one that it was made of"
        )
    if source.prefix is None:
        raise SourceError(f"{src}: expected a checkpoint with data, found only a .meta file")
    destination = check_checkpoint_destination(source, dst, overwrite)
    reader = open_complete(source.prefix)
    path = _meta_path(source, meta)
    # TensorFlow and Python work on the graph while the system copies: both take long, and need little of each other.
    with destination.publishing() as prefix, ThreadPoolExecutor(1) as pool:
        masking = pool.submit(_masked, reader, path, spec, rules)
        attaching = pool.submit(lambda: _attached(reader, masking.result()[0]))
        writing_graph = pool.submit(lambda: _write_graph(prefix + ".meta", masking.result()[0], rules))

        def advance(done: int, total: int) -> None:
            if masking.done():
                masking.result()  # What cannot be masked need not be copied.
            if progress is not None:
                progress(done, total)

        # What is large of what is new is known first.
        changes = Changes(additions=(lambda: masking.result()[1], attaching.result))
        try:
            copy_checkpoint(reader, changes, prefix, advance)
        except BaseException:
            attaching.cancel()
            writing_graph.cancel()
            raise
        writing_graph.result()
    masked, added = masking.result()[0], attaching.result()
    apart = {name for hook in masked.hooks for name in hook.apart}
    train_ops = tuple(hook.op.name for hook in masked.hooks)
    return RewriteResult(destination.prefix, masked.plan, tuple(sorted(added)), train_ops, tuple(sorted(apart)))


# What TensorFlow makes of a graph is one large cycle, which is garbage when all of it is.
@tf_compat.paused_collector()
def _masked(
    reader: CheckpointReader, path: str, spec: PruningSpec, rules: Sequence[Rule]
) -> Tuple[MaskedMetaGraph, Dict[str, Addition]]:
    """Reads and masks the graph, and finds its weights in the checkpoint; returns the masks that this is to get."""
    meta_graph = read_meta_graph(path)
    # Importing checks that the graph is whole, on which all that looks at it relies.
    graph = imported(meta_graph, path)
    view = tf_compat.view_of_meta_graph(meta_graph)
    _check_dense(reader, path, view, spec, rules)
    masked = MaskedMetaGraph(meta_graph, view, graph, path, spec, rules)
    _check_weights(reader, path, masked.plan, weight_keys(meta_graph, view, path))
    return masked, _added(reader, masked)


@tf_compat.paused_collector()
def _attached(reader: CheckpointReader, masked: MaskedMetaGraph) -> Dict[str, Addition]:
    """Has the masks updated in training; returns all that the checkpoint is to hold besides."""
    masked.attach()
    return _added(reader, masked)


def _meta_path(source: Source, meta: Optional[str]) -> str:
    """Returns where the graph is. Which tensors are weights is never guessed from the data alone."""
    path = meta if meta is not None else source.graph_path
    if path is None:
        raise SourceError(
            f"{source.prefix}.meta: expected the graph of this checkpoint, which tells its weights, found no such "
            "file; give a .meta file of the same model (--meta FILE)"
        )
    return path


def _check_dense(
    reader: CheckpointReader, meta_path: str, view: GraphView, spec: PruningSpec, rules: Sequence[Rule]
) -> None:
    """Refuses what is masked already, or has an update of masks that another one would get in the way of."""
    sites = plan_view(view, spec, rules).sites if view.masks else ()
    masked = [site for site in sites if site.masked]
    if masked and len(masked) == len(sites):
        raise SourceError(
            f"{meta_path}: expected a dense model, found masks on all {len(masked)} weights that the spec asks for; it "
            "is masked already: train it as it is, or fold it first"
        )
    updates = [UPDATE] if UPDATE in view.nodes else [op for site in masked for op in _updates(view, site)]
    written = next(iter(updates), None)
    if written is not None:
        raise SourceError(
            f"{meta_path}: expected a graph that updates no masks, found '{written}', which does; train it as it is, "
            "or fold it and take the dense graph"
        )
    held = set(reader.names())
    known = {name.partition(":")[0] for name in view.saved}
    for name in sorted(held):
        threshold = threshold_of(name) if name.endswith("mask") else ""
        if threshold in held and reader.shape(threshold) == () and name not in known | view.mask_state():
            raise SourceError(
                f"{reader.prefix}: expected a dense checkpoint, found mask '{name}', which the graph in {meta_path} "
                "does not have; fold it first, or give the .meta file that it was saved with"
            )


def _updates(view: GraphView, site: Site) -> List[str]:
    """Returns the ops that write an existing mask while training: neither its initializer nor a saver."""
    found = []
    waiting = list(view.edges_from(site.mask))
    for edge in waiting:
        node = view.nodes[edge.op]
        if edge.port == 0 and node.op_type in _PASSAGES:
            waiting.extend(view.edges_from(edge.op))
        if edge.port != 0 or not is_write(node.op_type) or edge.op == f"{site.mask}/Assign":
            continue
        source = node.inputs[1].op
        while view.nodes[source].op_type == "Identity":
            source = view.nodes[source].inputs[0].op
        if not view.nodes[source].op_type.startswith("Restore"):
            found.append(edge.op)
    return found


def _check_weights(reader: CheckpointReader, meta_path: str, plan: MaskPlan, keys: Any) -> None:
    """Checks that the checkpoint holds the graph's weights; a saver may hold them under names of its own."""
    held = set(reader.names())
    for site in plan.sites:
        key = keys.get(site.variable, site.saved_variable)
        shape = site.shape if site.part is None else site.part.full_shape
        if key not in held:
            raise SourceError(
                f"{reader.prefix}: expected '{key}', a weight of the graph in {meta_path}, found no such tensor; give "
                "the .meta file of this checkpoint"
            )
        if reader.shape(key) != tuple(shape):
            raise SourceError(
                f"{reader.prefix}: expected '{key}' of shape {tuple(shape)}, as the graph in {meta_path} has it, found "
                f"{reader.shape(key)}; give the .meta file of this checkpoint"
            )


def _added(reader: CheckpointReader, masked: MaskedMetaGraph) -> Dict[str, Addition]:
    """Returns the pruning state that the checkpoint lacks; the parts of a partitioned mask are one tensor."""
    held = set(reader.names())
    found = {}
    for variable, value in masked.state():
        if variable.key not in held:
            found[variable.key] = Addition(variable.dtype, variable.shape, value)
        elif reader.shape(variable.key) != variable.shape:
            raise SourceError(
                f"{reader.prefix}: expected '{variable.key}' of shape {variable.shape}, or none, found one of shape "
                f"{reader.shape(variable.key)}; fold the checkpoint first"
            )
    return found


@tf_compat.paused_collector()
def _write_graph(path: str, masked: MaskedMetaGraph, rules: Sequence[Rule]) -> None:
    """Finds in the graph every weight that was masked, with its mask, and writes it."""
    definition = masked.definition()
    writing.write_checked(path, definition.SerializeToString(deterministic=True))
    view = tf_compat.view_of_meta_graph(definition)
    plan = plan_view(view, masked.plan.spec, rules)
    found = {(site.variable, site.mask) for site in plan.sites if site.masked}
    for site in masked.plan.sites:
        if (site.variable, site.mask) not in found:
            raise VerificationError(f"{path}: expected mask '{site.mask}' on '{site.variable}', found none")
    verify_view(view, plan)
