"""verify_model: the guarantees of a masked model that lies in files. Only `run` runs anything of it."""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.errors import SourceError, UsageError, VerificationError
from graph_masker.graph_files import read_graph, view_of
from graph_masker.inspection import plan_view
from graph_masker.plan import MaskPlan, Site
from graph_masker.source import CheckpointReader, Source, find_source, one_line
from graph_masker.verify import is_regularized, verify_view
from graph_masker.view import threshold_of
from rewriters import DEFAULT_RULES, Rule

_SEED = 0
_UNKNOWN_SIZE = 2
_INPUTS = frozenset({"Placeholder", "IteratorGetNext", "QueueDequeueV2", "QueueDequeueManyV2", "QueueDequeueUpToV2"})


@dataclass(frozen=True)
class Verification:
    """What was checked.

    Attributes:
        plan: of the file's graph; every site is masked.
        checks: one line per check, with what it found.
    """

    plan: MaskPlan
    checks: Tuple[str, ...]


def verify_model(
    src: str, run: bool = False, outputs: Sequence[str] = (), rules: Sequence[Rule] = DEFAULT_RULES
) -> Verification:
    """Checks a masked checkpoint and the graph beside it.

    By the graph: G1, G2, G4, G5 as `verify_masked` does. By the data: every mask is there, has its weight's shape and
    holds zeros and ones only, and every threshold is a finite scalar.

    Args:
        src: checkpoint prefix, checkpoint directory or .meta file.
        run: also restore the checkpoint into the graph and run it: every product is `mask * weight`, bit for bit, and
            other values in the entries that are masked out change no output. This executes the file's graph.
        outputs: names of the tensors to compare, and to search for paths past a mask; by default the graph's losses.
        rules: what is known of op types.

    Raises:
        SourceError: the files are missing or damaged.
        UsageError: there is nothing to run, or an output is not in the graph.
        VerificationError: a guarantee does not hold.
    """
    source = find_source(src)
    meta_graph = read_graph(source)
    view = view_of(meta_graph)
    plan = plan_view(view, None, rules)
    masked = tuple(site for site in plan.sites if site.masked)
    if not masked:
        raise VerificationError(f"{src}: expected a masked model, found none of its {len(plan.sites)} weights masked")
    plan = MaskPlan(masked, plan.skips)
    named = [_full_name(name) for name in outputs or tf_compat.names_in_collection(meta_graph, tf.GraphKeys.LOSSES)]
    for name in named:
        if name.partition(":")[0] not in view.nodes:
            raise UsageError(f"{name}: expected a tensor of {source.graph_path}, found no such op")
    for mask in (name.split(":")[0] for name in tf_compat.names_in_collection(meta_graph, "masks")):
        if mask in view.nodes and threshold_of(mask) in view.nodes and mask not in {site.mask for site in masked}:
            raise VerificationError(f"{mask}: expected it to multiply a weight that is consumed, found no such product")
    verify_view(view, plan, named)
    shown = f"and to {len(named)} outputs" if named else "(name outputs to search for paths to them, too)"
    checks = [f"graph: {len(masked)} masks, no path past them to {_consumers(masked)} consumers {shown}"]
    if source.prefix is not None:
        checks.append(_check_data(source.prefix, masked))
    if run:
        # A loss with weight decay does change with weights that are masked out.
        compared = [name for name in named if not is_regularized(view, plan, name)]
        checks.append(_check_run(source, meta_graph, masked, compared))
    return Verification(plan, tuple(checks))


def _full_name(name: str) -> str:
    return name if ":" in name else f"{name}:0"


def _consumers(sites: Sequence[Site]) -> int:
    return sum(len(site.consumers) for site in sites)


def _check_data(prefix: str, sites: Sequence[Site]) -> str:
    reader = CheckpointReader(prefix)
    held = set(reader.names())
    zeros = entries = 0
    for site in sites:
        mask_name, weight = site.saved_mask, site.saved_variable
        for name in (mask_name, site.threshold, weight):
            if name not in held:
                raise VerificationError(
                    f"{prefix}: expected '{name}', found no such tensor; was it saved without masks?"
                )
        if reader.shape(mask_name) != reader.shape(weight):
            raise VerificationError(
                f"{prefix}: expected '{mask_name}' of the weight's shape {reader.shape(weight)}, "
                f"found {reader.shape(mask_name)}"
            )
        mask, threshold = site.part_of(reader.tensor(mask_name)), reader.tensor(site.threshold)
        if not np.all((mask == 0) | (mask == 1)):
            raise VerificationError(f"{prefix}: expected zeros and ones in '{mask_name}', found other values")
        if threshold.shape != () or not np.isfinite(threshold.astype(np.float64)):
            raise VerificationError(f"{prefix}: expected a finite scalar in '{site.threshold}', found {threshold}")
        zeros, entries = zeros + int(np.sum(mask == 0)), entries + mask.size
    return f"data: masks of zeros and ones only, {zeros:,} of {entries:,} entries masked out ({zeros / entries:.4f})"


def _check_run(source: Source, meta_graph: Any, sites: Sequence[Site], outputs: List[str]) -> str:
    if source.prefix is None:
        raise UsageError(f"{source.path}: expected a checkpoint to run, found only a graph; leave --run out")
    if not outputs:
        raise UsageError(
            f"{source.path}: expected outputs to compare, found no losses without weight decay in the graph; name some"
        )
    with tf.Graph().as_default() as graph:
        try:
            saver = tf.train.import_meta_graph(meta_graph, clear_devices=True)
        except (ValueError, KeyError, tf.errors.OpError) as error:
            raise SourceError(f"{source.graph_path}: cannot be imported: {one_line(error)}") from error
        config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        with tf.Session(graph=graph, config=config) as session:
            try:
                return _compare(session, saver, source.prefix, sites, outputs)
            except tf.errors.OpError as error:
                raise UsageError(
                    f"{outputs[0]}: cannot be computed from random inputs: {one_line(error)}; name another output"
                ) from error


def _compare(session: Any, saver: Optional[Any], prefix: str, sites: Sequence[Site], outputs: List[str]) -> str:
    graph = session.graph
    variables = {variable.op.name: variable for variable in graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)}
    (saver or tf.train.Saver(list(variables.values()))).restore(session, prefix)
    session.run(tf.local_variables_initializer())
    session.run(graph.get_collection(tf.GraphKeys.TABLE_INITIALIZERS))
    feed = _random_inputs(graph)
    before = session.run(outputs, feed)
    if not _same(before, session.run(outputs, feed)):
        raise UsageError(f"{outputs[0]}: gives other values each time it is computed; name outputs without randomness")
    random = np.random.RandomState(_SEED)
    for site in sites:
        mask, weight, product = session.run([variables[site.mask], variables[site.variable], f"{site.masked_weight}:0"])
        if (mask * weight).tobytes() != product.tobytes():
            raise VerificationError(f"{site.masked_weight}: expected {site.mask} * {site.variable}, found other values")
        noise = random.normal(size=weight.shape).astype(weight.dtype)
        # The sign stays, and with it that of the zero in the product.
        other = np.where(mask == 0, np.copysign(np.abs(noise) + np.abs(weight), weight), weight)
        tf_compat.load_variable(session, variables[site.variable], other)
    if not _same(before, session.run(outputs, feed)):
        raise VerificationError(f"{outputs[0]}: changes with weights that are masked out; something reads past a mask")
    for site in sites:
        tf_compat.load_variable(session, variables[site.variable], 2 * session.run(variables[site.variable]))
    if _same(before, session.run(outputs, feed)):
        raise UsageError(f"{outputs[0]}: does not depend on the masked weights; name outputs that do")
    return f"run: {len(outputs)} outputs equal, bit for bit, with other values in the entries masked out"


def _same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(one, other))


def _random_inputs(graph: Any) -> Dict[Any, Any]:
    """Returns values for placeholders, and for what comes from datasets and queues."""
    random = np.random.RandomState(_SEED)
    feed = {}
    for tensor in (tensor for op in graph.get_operations() if op.type in _INPUTS for tensor in op.outputs):
        sizes = [] if tensor.shape.ndims is None else tensor.shape.as_list()
        shape = [_UNKNOWN_SIZE if size is None else size for size in sizes]
        if tensor.dtype.is_floating:
            feed[tensor] = random.normal(size=shape).astype(tensor.dtype.as_numpy_dtype)
        elif tensor.dtype not in (tf.string, tf.resource, tf.variant):
            feed[tensor] = np.zeros(shape, tensor.dtype.as_numpy_dtype)
    return feed
