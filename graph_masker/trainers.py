"""Finds, in a graph that trains, where the update of its masks belongs: once per training step, after all writes.

A *write* changes a masked weight by what training has found. A *count* adds one to the step. A *hook* is the op that
the update is to run right before: the count itself, which then still waits for the update,

    writes -> (update) -> count

or, where more is written beside it, the first op that waits for all of it, such as a tf.group:

    writes, count -> (update) -> group

Both are ops that the model has, so that whoever runs them, under whatever name, runs the update.
"""

from typing import Any, Dict, FrozenSet, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.errors import UsageError

_OURS = "model_pruning/"
_ADDITIONS = ("AssignAdd", "AssignAddVariableOp")
_ASSIGNMENTS = ("Assign", "AssignVariableOp")
# Prefixes of the types of ops that write a variable; assignments are writes of training only if their value is.
_APPLICATIONS = ("Apply", "SparseApply", "ResourceApply", "ResourceSparseApply")
_WRITES = (*_APPLICATIONS, "AssignAdd", "AssignSub", "Scatter", "ResourceScatter")

# By which a variable enters conds and loops.
_PASSAGES = frozenset(("Switch", "RefSwitch", "Enter", "RefEnter"))


class Hook(NamedTuple):
    """Where an update is to run.

    Attributes:
        op: what is to wait for the update.
        step: the variable that counts steps; None where nothing does.
        is_count: whether `op` itself counts, so that the update runs just before.
        apart: writes that no op waits for together with `op`.
    """

    op: Any
    step: Any
    is_count: bool
    apart: Tuple[str, ...]


def trains(graph: Any) -> bool:
    """Tells whether a graph has an optimizer's op."""
    return any(op.type.startswith(_APPLICATIONS) for op in graph.get_operations())


def train_ops_of(graph: Any, weights: Sequence[Any]) -> List[Any]:
    """Returns what an update of masks is to wait for, in a graph of which nobody says what its train op is.

    Whoever runs the update runs these. So they are an optimizer's ops and those that count the global step, and no
    assignments by others: these may be for other occasions. Nothing where no optimizer or no global step is.
    """
    step = tf_compat.global_step(graph)
    writes = [op for weight in weights for op in _first_read_by(weight) if op.type.startswith(_APPLICATIONS)]
    if step is None or not writes:
        return []
    # What is inside of a cond does not always run, and nothing outside can wait for what is inside of a loop.
    buffers = {tf_compat.buffer_of(variable).name for variable in (*weights, step)}
    return [op for op in (*writes, *_counted_by(step)) if op.inputs[0].name in buffers]


def written_by_training(weights: Sequence[Any], gradient_ops: FrozenSet[str]) -> Set[str]:
    """Returns the names of those of some masked variables that training writes."""
    return {weight.op.name for weight in weights if _writes([weight], gradient_ops)[0]}


def hooks_of(graph: Any, weights: Sequence[Any], gradient_ops: FrozenSet[str]) -> List[Hook]:
    """Returns where the update of all masks is to run; nothing where the graph does not train.

    Args:
        graph: the graph.
        weights: the masked variables.
        gradient_ops: names of the ops that autodiff made.

    Raises:
        UsageError: training writes the weights where no update can be made to follow.
    """
    writes, more = _writes(weights, gradient_ops)
    if not writes:
        return []
    step, counts = _counts(graph, writes)
    cone = _Cone([*writes, *more, *counts])
    found: Dict[Any, Hook] = {}
    for seed in counts or [max(writes, key=tf_compat.number_of)]:
        op = cone.join(seed, is_count=bool(counts))
        if op is None:
            raise UsageError(
                f"{seed.name}: this op trains a weight and nothing waits for it, so that no mask update can follow; "
                "put all ops that train into one tf.group and run that"
            )
        if tf_compat.is_in_loop(op):
            raise UsageError(f"{op.name}: expected a train op outside of loops, found it in one; masks cannot follow")
        apart = tuple(sorted(write.name for write in writes if not cone.includes(op, write)))
        found.setdefault(op, Hook(op, step, op in counts, apart))
    return list(found.values())


def _writes(weights: Sequence[Any], gradient_ops: FrozenSet[str]) -> Tuple[List[Any], List[Any]]:
    """Returns the ops by which training writes weights, and those that write what they make of the weight alone."""
    writes: List[Any] = []
    more: List[Any] = []
    for weight in weights:
        for op in _first_read_by(weight):
            if op.type.startswith(_WRITES):
                writes.append(op)
            elif op.type in _ASSIGNMENTS and op is not weight.initializer:
                origins = _Origins(op.inputs[1].op, gradient_ops, weight.op)
                if origins.gradient:
                    writes.append(op)
                elif origins.variable:
                    more.append(op)
    return writes, more


def _counts(graph: Any, writes: Sequence[Any]) -> Tuple[Any, List[Any]]:
    """Returns the variable that counts training steps and the ops that count; None and nothing where there is none.

    That is the global step where something adds to it, or else what an op adds one to that waits for writes: the
    variable given to `minimize`, or the `iterations` of a Keras optimizer.
    """
    step = tf_compat.global_step(graph)
    if step is not None:
        counts = _counted_by(step)
        if counts:
            return step, counts
    after = set(_Cone(writes).ops())
    latest, number = None, 0
    for variable in tf_compat.variables_of(graph):
        for op in _first_read_by(variable) if variable.shape.ndims == 0 else ():
            if op in after and op.type in _ADDITIONS and _is_one(op.inputs[1]) and tf_compat.number_of(op) > number:
                latest, number = variable, tf_compat.number_of(op)
    return latest, [] if latest is None else _counted_by(latest)


def _counted_by(step: Any) -> List[Any]:
    counts = []
    for op in _first_read_by(step):
        is_next = op.type in _ASSIGNMENTS and op is not step.initializer
        if op.type in _ADDITIONS or (is_next and _Origins(op.inputs[1].op, frozenset(), step.op).variable):
            counts.append(op)
    return counts


def _first_read_by(variable: Any) -> List[Any]:
    """Returns the ops whose first input is a variable, as that of an op that writes it is; conds and loops included."""
    found: List[Any] = []
    waiting = [tf_compat.buffer_of(variable)]
    for buffer in waiting:
        for op in buffer.consumers():
            if op.inputs[0] is not buffer or op.name.startswith(_OURS):
                continue
            if op.type in _PASSAGES:
                waiting.extend(op.outputs)
            else:
                found.append(op)
    return found


def _is_one(tensor: Any) -> bool:
    value = tf.get_static_value(tensor)
    return value is not None and value.size == 1 and float(value) == 1.0


class _Origins:
    """What a value is computed from: whether from one of autodiff's ops, and whether from a variable."""

    def __init__(self, op: Any, gradient_ops: FrozenSet[str], variable: Any) -> None:
        self.gradient = self.variable = False
        waiting, seen = [op], {op}
        while waiting:
            current = waiting.pop()
            self.gradient = self.gradient or current.name in gradient_ops
            self.variable = self.variable or current is variable
            if self.gradient:
                return
            for tensor in current.inputs:
                if tensor.op not in seen:
                    seen.add(tensor.op)
                    waiting.append(tensor.op)


class _Cone:
    """All ops that come after some ops, and after which of them each comes."""

    def __init__(self, seeds: Iterable[Any]) -> None:
        self._bits: Dict[Any, int] = {}
        self._seeds: Dict[Any, int] = {}
        for seed in seeds:
            self._seeds.setdefault(seed, 1 << len(self._seeds))
        waiting = [(seed, bit) for seed, bit in self._seeds.items()]
        while waiting:
            op, bits = waiting.pop()
            known = self._bits.get(op, 0)
            if bits | known == known or op.name.startswith(_OURS):
                continue
            self._bits[op] = known | bits
            waiting.extend((reader, known | bits) for reader in tf_compat.readers_after(op))

    def ops(self) -> List[Any]:
        """Returns the ops that come after a seed, the seeds included."""
        return list(self._bits)

    def includes(self, op: Any, seed: Any) -> bool:
        """Tells whether an op is a seed or comes after it."""
        return bool(self._bits.get(op, 0) & self._seeds[seed])

    def join(self, seed: Any, is_count: bool) -> Optional[Any]:
        """Returns the first op that comes after a seed and as many of the others as any does.

        Args:
            seed: one of the seeds.
            is_count: whether that one may be the seed itself.
        """
        found = [
            op for op in self._bits if self.includes(op, seed) and ((op is seed and is_count) or op not in self._seeds)
        ]
        most = max((bin(self._bits[op]).count("1") for op in found), default=0)
        best = {op for op in found if bin(self._bits[op]).count("1") == most}
        return min(best, key=tf_compat.number_of) if best else None
