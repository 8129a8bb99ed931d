"""What is checked of every model, detector or classifier."""

import re
from collections import Counter
from fractions import Fraction
from typing import Any, Dict, Iterable, NamedTuple, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker import MaskPlan, PruningSpec, verify_masked
from graph_masker.plan import LAST_UPDATE_STEP
from tests.helpers.bits import assert_same_bits


class Stage(NamedTuple):
    """A run of training: up to which step, the step of its mask update, and the sparsity that this reaches."""

    steps: int
    update: int
    sparsity: Fraction


# An update in the first run, and one, which reaches the target, after it has been resumed; a step follows each.
# Both sparsities are exact in floating point, so that nobody can argue about a count.
STAGES = (Stage(2, 1, Fraction(1, 2)), Stage(4, 3, Fraction(3, 4)))
SPEC = PruningSpec(
    target_sparsity=float(STAGES[1].sparsity),
    initial_sparsity=float(STAGES[0].sparsity),
    begin_step=STAGES[0].update,
    end_step=STAGES[1].update,
    frequency=STAGES[1].update - STAGES[0].update,
)

WEIGHT_OPS = ("Conv2D", "Conv2DBackpropInput", "Conv3D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2")


def zeros_of(entries: int, sparsity: Fraction) -> int:
    """Returns how many of so many entries are zero: n - round(n (1 - s)), halves to even, at least one stays."""
    return entries - max(round(entries * (1 - sparsity)), 1)


def ops_of(graph: Any) -> Dict[str, int]:
    """Counts the ops of a graph whose type can take a weight, by type."""
    types = Counter(op.type for op in graph.get_operations())
    return {name: types[name] for name in WEIGHT_OPS if types[name]}


def parameters_of(graph: Any) -> int:
    """Returns the number of entries of all trainable variables."""
    trainable = graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES)
    return sum(variable.shape.num_elements() for variable in trainable)


def shared(plan: MaskPlan) -> int:
    """Returns how many weights several ops read; the plan's graph has no gradients, which read them, too."""
    return sum(len({consumer.op for consumer in site.consumers}) > 1 for site in plan.sites)


def check_graph(graph: Any, plan: MaskPlan, outputs: Iterable[str]) -> None:
    """Asserts that a masked graph keeps its guarantees, seen from its outputs: names of tensors."""
    assert plan.sites
    verify_masked(graph, plan, outputs)


def check_nothing_silent(plan: MaskPlan, variables: Iterable[Any]) -> None:
    """Asserts that every variable is masked, or left dense for a reason that is told."""
    sites, skips = {site.variable for site in plan.sites}, {skip.variable: skip.reason for skip in plan.skips}
    assert not sites & set(skips)
    assert all(skips.values())
    untold = sorted({variable.op.name for variable in variables} - sites - set(skips))
    assert not untold, f"neither masked nor listed: {untold}"


def stages_of(brief: bool) -> Sequence[Stage]:
    """Returns the runs of training: the first alone, or both."""
    return STAGES[:1] if brief else STAGES


def check_masks(prefix: str, plan: MaskPlan, stage: Stage) -> None:
    """Asserts that the masks of a checkpoint are zeros and ones, exactly as many as asked, and when they were made."""
    reader = tf.train.load_checkpoint(prefix)
    assert reader.get_tensor("global_step") == stage.steps
    assert reader.get_tensor(LAST_UPDATE_STEP) == stage.update
    for site in plan.sites:
        mask = reader.get_tensor(site.mask)
        assert mask.shape == site.shape, site.mask
        zeros = zeros_of(site.entries, stage.sparsity)
        found, expected = (np.count_nonzero(mask == 0), np.count_nonzero(mask == 1)), (zeros, site.entries - zeros)
        assert found == expected, f"{site.variable}: {found} zeros and ones, expected {expected}"


def check_folded(masked: str, folded: str, plan: MaskPlan) -> None:
    """Asserts that a folded checkpoint holds products of weights and masks, and nothing of pruning."""
    before, after = tf.train.load_checkpoint(masked), tf.train.load_checkpoint(folded)
    names = set(after.get_variable_to_shape_map())
    assert not names & {LAST_UPDATE_STEP, *(name for site in plan.sites for name in site.state)}
    assert names <= set(before.get_variable_to_shape_map())
    averages = 0
    for site in plan.sites:
        mask = before.get_tensor(site.mask)
        for name in (site.variable, f"{site.variable}/ExponentialMovingAverage"):
            if name in names:
                averages += name != site.variable
                assert after.get_tensor(name).tobytes() == (before.get_tensor(name) * mask).tobytes(), name
    assert averages in (0, len(plan.sites))


def check_resumed(session: Any, prefix: str, plan: MaskPlan) -> None:
    """Asserts that a session which goes on from a checkpoint has its masks, thresholds and step of the last update."""
    known = {variable.op.name: variable for variable in session.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)}
    names = [LAST_UPDATE_STEP, *(name for site in plan.sites for name in site.state)]
    found = session.run({name: known[name] for name in names})
    reader = tf.train.load_checkpoint(prefix)
    assert_same_bits(found, {name: reader.get_tensor(name) for name in names})


class Resumed(tf.train.SessionRunHook):
    """`check_resumed` in an Estimator."""

    def __init__(self, prefix: str, plan: MaskPlan) -> None:
        self._start = prefix, plan

    def after_create_session(self, session: Any, coord: Any) -> None:
        check_resumed(session, *self._start)


def forget_masks(session: Any, plan: MaskPlan) -> None:
    """Puts ones into all masks of a session."""
    variables = {variable.op.name: variable for variable in tf.global_variables()}
    for site in plan.sites:
        variables[site.mask].load(np.ones(site.shape, site.dtype), session)


def reasons_of(plan: MaskPlan) -> Dict[str, int]:
    """Returns for how many variables each reason was given; names of ops, which it may quote, are left out."""
    return dict(Counter(re.sub(r" ?'[^']*'", "", skip.reason) for skip in plan.skips))
