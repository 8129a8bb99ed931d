"""From seconds to ratios, and from these to outcomes."""

from statistics import median
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from benchmarks.budgets import Budget, Outcome
from benchmarks.engine.nets import Net, Shape
from benchmarks.engine.specs import FREQUENCY
from benchmarks.engine.turns import Seconds

STEP = Budget("step", "training step off schedule / dense", 1.03, "{:.3f}")
# At this many images a step is long enough for what masks add to it to be next to nothing.
LARGE_BATCH = 8
STEP_OF_LARGE_BATCH = STEP._replace(limit=1.01)
STEP_BESIDE_CONTRIB = Budget("step beside contrib", "training step off schedule / contrib's", 1.0, "{:.3f}")
TRAINING = Budget("training", f"training with an update every {FREQUENCY} steps / dense", 1.06, "{:.3f}")
UPDATE = Budget("update", "one update of all masks / contrib's", 1 / 12, "{:.3f}")
UPDATE_SHARE = Budget("update share", "one update of all masks / a dense training step", 0.25, "{:.2f}")
GLOBAL = Budget("global", "one threshold over all weights, ns per entry", 8.0, "{:.1f}")
OFF_SCHEDULE = Budget("off schedule", "the update off schedule, ms", 0.3, "{:.2f}")
OPS = Budget("ops", "ops that the update adds per weight", 6.0, "{:.1f}")
MEMORY = Budget("memory", "peak extra memory of an update / the largest weight", 2.0, "{:.1f}")

Spread = Tuple[float, float]


class Ratio(NamedTuple):
    """Paired ratios of one run: their median, and the quartiles that hold the middle half of them."""

    median: float
    quartiles: Spread


class Pace(NamedTuple):
    """Training with one engine, as ratios to dense training in the same rounds.

    Attributes:
        step: of steps without an update.
        training: of whole blocks, one update in each.
        masks: number of masked weights.
    """

    step: Ratio
    training: Ratio
    masks: int


class Update(NamedTuple):
    """One engine's updates.

    Attributes:
        seconds: of one update of all masks.
        sparsity: reached by it, fraction of zeros.
        off_seconds: what an update that is not due adds to running an op that does next to nothing.
        ops: that each weight adds.
        memory: peak of an update, as a multiple of the largest weight; None where the system does not tell.
    """

    seconds: float
    sparsity: float
    off_seconds: float
    ops: float
    memory: Optional[float]


class Cost(NamedTuple):
    """What pruning costs on one net. `ours` is graph_masker; every figure is a median, but memory the highest.

    Attributes:
        net, title: of the net.
        weights, entries, largest: number of masked weights, their entries, and bytes of the largest one.
        batch: images per step.
        dense_seconds: one training step of the net as it is.
        dense_again: the same steps against themselves.
        ours, contrib: training with either.
        beside_contrib: steps without an update, ours over contrib's.
        our_update, contribs_update: one update with either.
        update_ratio: one update, ours over contrib's.
        empty_seconds: a run of an op that does next to nothing.
        global_seconds: one update with one threshold over all weights; None where this is not offered.
        sparseml_seconds: one update with SparseML; None where it is not installed.
    """

    net: str
    title: str
    weights: int
    entries: int
    largest: int
    batch: int
    dense_seconds: float
    dense_again: Ratio
    ours: Pace
    contrib: Pace
    beside_contrib: Ratio
    our_update: Update
    contribs_update: Update
    update_ratio: Ratio
    empty_seconds: float
    global_seconds: Optional[float]
    sparseml_seconds: Optional[float]


def summarize(
    net: Net,
    shapes: Sequence[Shape],
    batch: int,
    training: Mapping[str, Any],
    updates: Mapping[str, Any],
    memory: Mapping[str, Mapping[str, Any]],
) -> Cost:
    """Returns the medians of what was measured on one net.

    Args:
        net: which.
        shapes: of its masked weights.
        batch: images per step.
        training: what `training.measure` returned.
        updates: what `updates.measure` returned.
        memory: what `memory.measure` returned, by engine.
    """
    seconds, due = training["seconds"], updates["due"]["seconds"]
    steps = {name: off_schedule(seconds[name]) for name in ("dense", "dense again", "ours", "contrib")}
    with_update = [step + update for step, update in zip(seconds["contrib"], seconds["contrib update"])]
    return Cost(
        net=net.name,
        title=net.title,
        weights=len(shapes),
        entries=sum(int(np.prod(shape)) for shape in shapes),
        largest=memory["ours"]["largest"],
        batch=batch,
        dense_seconds=median(steps["dense"]),
        dense_again=paired(steps["dense again"], steps["dense"]),
        ours=_pace(steps["ours"], steps["dense"], seconds["ours"], seconds["dense"], training["masks"]["ours"]),
        contrib=_pace(steps["contrib"], steps["dense"], with_update, seconds["dense"], training["masks"]["contrib"]),
        beside_contrib=paired(steps["ours"], steps["contrib"]),
        our_update=_update("ours", updates, memory),
        contribs_update=_update("contrib", updates, memory),
        update_ratio=paired(due["ours"], due["contrib"]),
        empty_seconds=median(updates["off"]["seconds"]["ours alone"]),
        global_seconds=median(due["global"]) if "global" in due else None,
        sparseml_seconds=median(due["sparseml"]) if "sparseml" in due else None,
    )


def paired(these: Sequence[float], those: Sequence[float]) -> Ratio:
    """Returns the median and the quartiles of the ratios of what was measured in the same rounds."""
    ratios = [this / that for this, that in zip(these, those)]
    low, high = np.percentile(ratios, [25, 75])
    return Ratio(median(ratios), (float(low), float(high)))


def off_schedule(seconds: Sequence[float]) -> List[float]:
    """Returns the seconds of the rounds in which no update is due: all but the last of each block."""
    return [value for number, value in enumerate(seconds, 1) if number % FREQUENCY != 0]


def blocks(seconds: Sequence[float]) -> List[float]:
    """Returns the seconds of whole blocks of rounds, each with one update."""
    return [sum(seconds[start : start + FREQUENCY]) for start in range(0, len(seconds), FREQUENCY)]


def _pace(
    steps: Sequence[float], dense_steps: Sequence[float], rounds: Sequence[float], dense: Sequence[float], masks: int
) -> Pace:
    return Pace(paired(steps, dense_steps), paired(blocks(rounds), blocks(dense)), masks)


def _update(engine: str, updates: Mapping[str, Any], memory: Mapping[str, Mapping[str, Any]]) -> Update:
    off: Seconds = updates["off"]["seconds"]
    peaks = memory[engine]["peaks"]
    return Update(
        seconds=median(updates["due"]["seconds"][engine]),
        sparsity=updates["due"]["sparsity"][engine],
        off_seconds=median(both - alone for both, alone in zip(off[engine], off[f"{engine} alone"])),
        ops=updates["ops"][engine],
        memory=max(peaks) / memory[engine]["largest"] if peaks else None,
    )


def outcomes(costs: Sequence[Cost]) -> List[Outcome]:
    """Compares every net with the budgets; what was not measured or is not offered has no outcome."""
    measured: Dict[Budget, List[Outcome]] = {}
    for cost in costs:
        step = STEP_OF_LARGE_BATCH if cost.batch >= LARGE_BATCH else STEP
        for budget, value in (
            (step, cost.ours.step.median),
            (STEP_BESIDE_CONTRIB, cost.beside_contrib.median),
            (TRAINING, cost.ours.training.median),
            (UPDATE, cost.update_ratio.median),
            (UPDATE_SHARE, cost.our_update.seconds / cost.dense_seconds),
            (GLOBAL, per_entry(cost.global_seconds, cost)),
            (OFF_SCHEDULE, cost.our_update.off_seconds * 1e3),
            (OPS, cost.our_update.ops),
            (MEMORY, cost.our_update.memory),
        ):
            if value is not None:
                measured.setdefault(budget, []).append(Outcome(budget, cost.title, value))
    return [outcome for found in measured.values() for outcome in found]


def per_entry(seconds: Optional[float], cost: Cost) -> Optional[float]:
    """Returns nanoseconds per entry of all masked weights."""
    return None if seconds is None else seconds / cost.entries * 1e9
