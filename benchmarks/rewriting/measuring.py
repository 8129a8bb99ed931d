"""Builds each model as it is and masked, by turns, and times what masking does."""

import contextlib
import gc
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import tensorflow.compat.v1 as tf
from tensorflow.python.ops import gradients_util

import graph_masker
from benchmarks.rewriting.models import Model
from benchmarks.rewriting.training import Training, build
from benchmarks.stopwatch import GARBAGE, Path, Stopwatch

SPEC = graph_masker.PruningSpec(target_sparsity=0.9, begin_step=1000, end_step=10000, frequency=100)

_HELPER = "tensorflow.python.ops.gradients_util:_GradientsHelper"
# What is timed, by the phase it belongs to.
PLACES = {
    "view": "graph_masker.tf_compat:view_of_graph",
    "sites": "graph_masker.sites:find_sites",
    "plan": "graph_masker.planning:make_plan",
    "surgery": "graph_masker.surgery:apply_plan",
    "verify": "graph_masker.verify:verify_masked",
    "autodiff": "graph_masker.accumulators:Accumulators.masked",
    "last update": "graph_masker.engine.last_update:last_update_step",
    "update": "graph_masker.masker:Masker.attach_update",
    "savers": "graph_masker.estimator:_prepare_savers",
}
PHASES = ("view", "sites", "plan", "surgery", "autodiff", "update", "savers", "verify", "collector", "rest")
# All that happens inside these is theirs.
_WHOLE = {"surgery": "surgery", "last update": "surgery", "update": "update", "savers": "savers", "verify": "verify"}
_MODEL = ("model", "gradients", "saver")
TENSORFLOW_PLACES = {"gradients": _HELPER, "saver": "tensorflow.python.training.saver:Saver.build"}

Progress = Callable[[str], None]


class Build(NamedTuple):
    """One graph built.

    Attributes:
        ops, sites: number of ops and of masked weights.
        seconds, garbage: CPU seconds in all, and those of the garbage collector among them.
        laps: own CPU seconds by path.
        missing: labels of what was to be timed and was not found.
    """

    ops: int
    sites: int
    seconds: float
    garbage: float
    laps: Dict[Path, float]
    missing: Tuple[str, ...]


class Pair(NamedTuple):
    """A model built as it is, and masked right after or before."""

    dense: Build
    masked: Build

    @property
    def phases(self) -> Dict[str, float]:
        """CPU seconds that masking adds, by phase."""
        seconds = dict.fromkeys(PHASES, 0.0)
        for path, own in self.masked.laps.items():
            phase = phase_of(path)
            if phase is not None:
                seconds[phase] += own
        # A saver that the model builds has the masks to save, too: that much more than in the dense graph.
        seconds["savers"] += _model_saver(self.masked) - _model_saver(self.dense)
        # When the collector runs depends on all that was made before, so that only the sums can be compared.
        seconds["collector"] = self.masked.garbage - self.dense.garbage
        return seconds


def phase_of(path: Path) -> Optional[str]:
    """Returns the phase that a lap's own time belongs to; None where it is the model's own, or the collector's."""
    for label in path:
        if label in _WHOLE:
            return None if path[-1] == GARBAGE else _WHOLE[label]
    innermost = path[-1]
    if innermost in _MODEL or innermost == GARBAGE:
        return None
    return innermost if innermost in PHASES else "rest"


def _model_saver(built: Build) -> float:
    return sum(own for path, own in built.laps.items() if path[-1] == "saver" and "savers" not in path)


def measure(model: Model, repeat: int, progress: Progress) -> List[Pair]:
    """Builds a model `repeat` times as it is and `repeat` times masked, in turns that start with either."""
    training = model.prepare()
    progress("once, untimed")
    build_once(training, masked=True)
    pairs = []
    for number in range(repeat):
        built = {}
        for masked in (False, True) if number % 2 == 0 else (True, False):
            progress(f"{number + 1} of {repeat}, {'masked' if masked else 'as it is'}")
            built[masked] = build_once(training, masked)
        pairs.append(Pair(built[False], built[True]))
    return pairs


def build_once(training: Training, masked: bool) -> Build:
    """Builds a training graph from scratch, with nothing left over from the one before."""
    gc.collect()
    watch = Stopwatch()
    with tf.Graph().as_default() as graph, contextlib.ExitStack() as stack:
        inputs = training.inputs()
        stack.enter_context(watch.around(TENSORFLOW_PLACES))
        if masked:
            stack.enter_context(watch.around(PLACES, "graph_masker"))
        model_fn = _watched(watch, training.model_fn)
        if masked:
            model_fn = graph_masker.auto_mask(model_fn, SPEC)
        with watch.garbage_apart(), watch.lap("all"):
            build(model_fn, inputs)
        sites = len(graph.get_collection("masks"))
        missing = tuple(sorted(watch.missing))
        garbage = sum(own for path, own in watch.seconds.items() if path[-1] == GARBAGE)
        seconds = sum(watch.seconds.values())
        return Build(len(graph.get_operations()), sites, seconds, garbage, watch.seconds, missing)


def _watched(watch: Stopwatch, model_fn: Callable[..., Any]) -> Callable[..., Any]:
    def watched(features: Any, labels: Any, mode: Any) -> Any:
        # By now masking has put its own function before TensorFlow's: what that adds is timed as "hook".
        hook = {} if gradients_util._GradientsHelper.__module__.startswith("tensorflow") else {"hook": _HELPER}
        with watch.lap("model"), watch.around(hook):
            return model_fn(features=features, labels=labels, mode=mode)

    return watched


def missing_places(pairs: Sequence[Pair]) -> List[str]:
    """Returns the labels of what was to be timed and was not found."""
    return sorted({label for pair in pairs for label in pair.masked.missing})
