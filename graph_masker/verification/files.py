"""verify_model: the guarantees of models that lie in files. Only `run` runs anything of them."""

from dataclasses import dataclass
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from graph_masker import tf_compat
from graph_masker.errors import UsageError, VerificationError
from graph_masker.files.graphs import Reader, read_graph, view_of
from graph_masker.files.source import CheckpointReader, Source, check_named, find_source
from graph_masker.inspection import plan_view, tensors_of
from graph_masker.naming import threshold_of
from graph_masker.plan import MaskPlan, Site
from graph_masker.verification.comparison import compare, lines, tensors_with_masks
from graph_masker.verification.execution import (
    Execution,
    Values,
    agree,
    executed,
    outputs_of,
    random_inputs,
    read_inputs,
    tensor_name,
)
from graph_masker.verify import is_regularized, verify_view
from graph_masker.view import GraphView
from rewriters import DEFAULT_RULES, Rule

_SEED = 0


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
    src: str,
    run: bool = False,
    outputs: Sequence[str] = (),
    rules: Sequence[Rule] = DEFAULT_RULES,
    against: Optional[str] = None,
    may_be_pruned: bool = False,
    inputs: Sequence[Tuple[str, str]] = (),
    tags: Sequence[str] = (),
) -> Verification:
    """Checks a masked model and, where it is given, that another file agrees with it.

    By the graph: G1, G2, G4, G5 as `verify_masked` does. By the data: every mask is there, has its weight's shape and
    holds zeros and ones only, and every threshold is a finite scalar. Against another file, of whatever kind: every
    tensor that both have is the same, bit for bit, as it is after folding.

    Args:
        src: checkpoint prefix or directory, .meta file, SavedModel or frozen graph.
        run: also execute the graph, its values restored. Where weights are masked, every product is `mask * weight`,
            bit for bit, and other values in the entries that are masked out change no output; with `against`, the
            outputs that both graphs have agree, bit for bit.
        outputs: names of the tensors to compare, and to search for paths past a mask; by default a training graph's
            losses, a SavedModel's outputs, and what no op of a frozen graph reads.
        rules: what is known of op types.
        against: a file of any of these kinds. With it, `src` need not be masked, nor have a graph if it is not run.
        may_be_pruned: accept entries that are zero in `src` and not in `against`.
        inputs: pairs of a tensor's name and a .npy file; other inputs are random.
        tags: which graph of a SavedModel.

    Raises:
        SourceError: the files are missing or damaged.
        UsageError: there is nothing to run, or an output is not in the graph.
        VerificationError: a guarantee does not hold.
    """
    source = find_source(src)
    other = None if against is None else _opened(against)
    if source.graph_path is None and other is not None and not run:
        return Verification(MaskPlan((), ()), tuple(_check_against(_Opened(source, None), other, may_be_pruned)))
    meta_graph = read_graph(source, tags)
    view = view_of(meta_graph)
    plan = plan_view(view, None, rules)
    masked = tuple(site for site in plan.sites if site.masked)
    if not masked and other is None:
        raise VerificationError(
            f"{src}: expected a masked model, found none of its {len(plan.sites)} weights masked; name the model "
            "that it was made of: --against"
        )
    plan = MaskPlan(masked, plan.skips)
    named = [tensor_name(name) for name in outputs or outputs_of(source, meta_graph)]
    for name in named:
        if name.partition(":")[0] not in view.nodes:
            raise UsageError(f"{name}: expected a tensor of {source.graph_path}, found no such op")
    checks = []
    # A loss with weight decay does change with weights that are masked out.
    compared = [name for name in named if not is_regularized(view, plan, name)]
    if masked:
        checks += _check_masked(source, meta_graph, view, plan, named)
    if other is not None:
        checks += _check_against(_Opened(source, meta_graph), other, may_be_pruned)
    if run:
        checks += _check_run(_Opened(source, meta_graph), view, masked, compared, inputs, other)
    return Verification(plan, tuple(checks))


def _check_masked(source: Source, meta_graph: Any, view: GraphView, plan: MaskPlan, outputs: List[str]) -> List[str]:
    sites = plan.sites
    for mask in (name.split(":")[0] for name in tf_compat.names_in_collection(meta_graph, "masks")):
        if mask in view.nodes and threshold_of(mask) in view.nodes and mask not in {site.mask for site in sites}:
            raise VerificationError(f"{mask}: expected it to multiply a weight that is consumed, found no such product")
    verify_view(view, plan, outputs)
    shown = f"and to {len(outputs)} outputs" if outputs else "(name outputs to search for paths to them, too)"
    checks = [f"graph: {len(sites)} masks, no path past them to {_consumers(sites)} consumers {shown}"]
    reader = tensors_of(source, meta_graph)
    if isinstance(reader, CheckpointReader):
        check_named(reader)
    if reader is not None:
        checks.append(_check_data(reader, sites))
    return checks


class _Opened(NamedTuple):
    """A source, and the graph in it; None where it has none."""

    source: Source
    meta_graph: Optional[Any]


def _opened(path: str) -> _Opened:
    source = find_source(path)
    return _Opened(source, None if source.graph_path is None else read_graph(source))


def _check_against(here: _Opened, there: _Opened, may_be_pruned: bool) -> List[str]:
    found = compare(tensors_with_masks(*here), tensors_with_masks(*there), may_be_pruned)
    return lines(found, here.source, there.source)


def _consumers(sites: Sequence[Site]) -> int:
    return sum(len(site.consumers) for site in sites)


def _check_data(reader: Reader, sites: Sequence[Site]) -> str:
    prefix, held = reader.prefix, set(reader.names())
    zeros = entries = 0
    for site in sites:
        mask_name, weight = site.saved_mask, site.saved_variable
        thresholds = site.state[1:]
        for name in (mask_name, weight, *thresholds):
            if name not in held:
                raise VerificationError(
                    f"{prefix}: expected '{name}', found no such tensor; was it saved without masks?"
                )
        if reader.shape(mask_name) != reader.shape(weight):
            raise VerificationError(
                f"{prefix}: expected '{mask_name}' of the weight's shape {reader.shape(weight)}, "
                f"found {reader.shape(mask_name)}"
            )
        mask = site.part_of(reader.tensor(mask_name))
        if not np.all((mask == 0) | (mask == 1)):
            raise VerificationError(f"{prefix}: expected zeros and ones in '{mask_name}', found other values")
        for threshold in map(reader.tensor, thresholds):
            if threshold.shape != () or not np.isfinite(threshold.astype(np.float64)):
                raise VerificationError(f"{prefix}: expected a finite scalar in '{site.threshold}', found {threshold}")
        zeros, entries = zeros + int(np.sum(mask == 0)), entries + mask.size
    sparsity = zeros / max(1, entries)
    return f"data: masks of zeros and ones only, {zeros:,} of {entries:,} entries masked out ({sparsity:.4f})"


def _check_run(
    here: _Opened,
    view: GraphView,
    sites: Sequence[Site],
    outputs: List[str],
    files: Sequence[Tuple[str, str]],
    there: Optional[_Opened],
) -> List[str]:
    if not outputs:
        raise UsageError(
            f"{here.source.path}: expected outputs to compare, found no loss but weight decay in the graph; "
            "name some (--output)"
        )
    checks = []
    with executed(*here) as execution:
        inputs = {**random_inputs(execution.graph), **read_inputs(files, execution.graph)}
        before = execution.run(outputs, inputs)
        if not agree(before, execution.run(outputs, inputs)):
            raise UsageError(
                f"{outputs[0]}: gives other values each time it is computed; name outputs without randomness"
            )
        if sites:
            checks += _check_masked_run(execution, view, sites, outputs, inputs, before)
    if there is not None:
        checks.append(_check_other_run(there, outputs, inputs, before))
    return checks


def _check_masked_run(
    execution: Execution,
    view: GraphView,
    sites: Sequence[Site],
    outputs: List[str],
    inputs: Values,
    before: List[np.ndarray],
) -> List[str]:
    random = np.random.RandomState(_SEED)
    hidden = []
    for site in sites:
        mask, weight = execution.value(site.mask), execution.value(site.variable)
        if not _is_always_computed(view, site.masked_weight):
            hidden.append(site.masked_weight)
        elif not agree([mask * weight], execution.run([f"{site.masked_weight}:0"], inputs)):
            raise VerificationError(f"{site.masked_weight}: expected {site.mask} * {site.variable}, found other values")
        noise = random.normal(size=weight.shape).astype(weight.dtype)
        # The sign stays, and with it that of the zero in the product.
        other = np.where(mask == 0, np.copysign(np.abs(noise) + np.abs(weight), weight), weight)
        execution.put(site.variable, other)
    if not agree(before, execution.run(outputs, inputs)):
        raise VerificationError(f"{outputs[0]}: changes with weights that are masked out; something reads past a mask")
    for site in sites:
        execution.put(site.variable, 2 * execution.value(site.variable))
    if agree(before, execution.run(outputs, inputs)):
        raise UsageError(f"{outputs[0]}: does not depend on the masked weights; name outputs that do")
    checks = [f"run: {len(outputs)} outputs equal, bit for bit, with other values in the entries masked out"]
    if hidden:
        checks.append(f"run: {len(hidden)} products are inside loops or conds, their values not looked at: {hidden[0]}")
    return checks


def _is_always_computed(view: GraphView, product: str) -> bool:
    """Tells whether a product is outside loops and conds, so that a session can fetch it."""
    types = {view.nodes[op].op_type for op in view.ancestors([product])}
    return not types & {"Enter", "RefEnter", "Switch", "RefSwitch"}


def _check_other_run(there: _Opened, outputs: List[str], inputs: Values, before: List[np.ndarray]) -> str:
    with executed(*there) as execution:
        names = {tensor.name for op in execution.graph.get_operations() for tensor in op.outputs}
        common = [name for name in outputs if name in names]
        if not common:
            raise UsageError(
                f"{there.source.path}: expected one of {', '.join(outputs)} to compare, found none; name outputs"
            )
        found = execution.run(common, {name: value for name, value in inputs.items() if name in names})
    for name, value in zip(common, found):
        if not agree([before[outputs.index(name)]], [value]):
            raise VerificationError(f"{name}: expected the values that {there.source.path} gives, found others")
    return f"run: {len(common)} outputs equal those of {there.source.path}, bit for bit"
