"""Trains the API's Mask R-CNN Inception V2 masked by hand, or by auto_mask, and records every bit of every step."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict, List, NamedTuple, Optional, Sequence, Tuple
from unittest import mock

import numpy as np
import tensorflow.compat.v1 as tf
from google.protobuf import text_format
from object_detection import model_hparams, model_lib
from object_detection.protos import optimizer_pb2
from tensorflow.python.framework import random_seed

from examples.digit_scenes import config
from examples.digit_scenes.layout import Layout
from graph_masker import PruningSpec, auto_mask
from graph_masker.plan import LAST_UPDATE_STEP
from tests.helpers.running import as_written, variables_by_name
from tests.models.blog import by_hand
from tests.models.scenes import write_scenes
from tests.oracle.training import contribs_pruning

STEPS, HALF, RESUMED = 30, 12, 18
LOSSES = (
    "Loss/RPNLoss/localization_loss",
    "Loss/RPNLoss/objectness_loss",
    "Loss/BoxClassifierLoss/localization_loss",
    "Loss/BoxClassifierLoss/classification_loss",
    "Loss/BoxClassifierLoss/mask_loss",
    "regularization_loss",
    "total_loss",
)

Digests = Dict[str, Any]


class Way(NamedTuple):
    """One pair of the same masked layers.

    Attributes:
        substituted: which layers contrib's take the place of.
        spec: makes auto_mask mask the same ones; updates at steps 5, 10, 15, 20 and 25.
    """

    substituted: by_hand.Substitution
    spec: PruningSpec


_SCHEDULE: Dict[str, Any] = {
    "initial_sparsity": 0.1,
    "target_sparsity": 0.8,
    "begin_step": 5,
    "end_step": 25,
    "frequency": 5,
}
# Both leave the separable convolution dense, for which contrib has no masked layer.
BLOG = Way(
    by_hand.copied_files,
    PruningSpec(include=("FeatureExtractor/InceptionV2/.*/weights$",), **_SCHEDULE),
)
EVERY = Way(by_hand.every_file, PruningSpec(exclude=("/pointwise_weights$",), **_SCHEDULE))
# What auto_mask does when it is asked for nothing else.
DEFAULT = PruningSpec(**_SCHEDULE)


@dataclass(frozen=True)
class Recording:
    """What a run did.

    Attributes:
        steps: by step, the losses and a digest of each variable's bytes.
        sizes: entries by variable.
        masked: weight, mask and threshold of each masked layer, in the order of the graph's collections.
        ties: where contrib kept too many entries.
    """

    steps: Dict[int, Digests]
    sizes: Dict[str, int]
    masked: List[Tuple[str, str, str]]
    ties: List[by_hand.Tie]

    def flat(self) -> Digests:
        """Returns everything under one name each."""
        return {f"step {step}: {name}": value for step, values in self.steps.items() for name, value in values.items()}


class Scenes(NamedTuple):
    """Where a few scenes with instance masks are, and everything that is made of them."""

    root: Path
    layout: Layout

    @classmethod
    def write(cls, root: Path) -> "Scenes":
        """Writes the scenes."""
        return cls(root, write_scenes(root / "scenes")[0])

    def parts(self, folder: Path, steps: int, creator: Callable[..., Any]) -> Dict[str, Any]:
        """Makes the API's Estimator and input functions, for one thread and without shuffling."""
        phase = config.Phase(folder, steps, 1e-3, template=config.MASK_RCNN)
        folder.mkdir(parents=True, exist_ok=True)
        config.write_config(phase, self.layout)
        pipeline = config.read_config(phase.config)
        # Batch norm that trains has more to compare. A schedule does not depend on where a run is to stop.
        pipeline.model.faster_rcnn.feature_extractor.batch_norm_trainable = True
        pipeline.train_config.batch_size = 1
        rate, optimizer = optimizer_pb2.LearningRate(), pipeline.train_config.optimizer
        rate.CopyFrom(optimizer.adam_optimizer.learning_rate)
        rate.cosine_decay_learning_rate.total_steps = STEPS
        rate.cosine_decay_learning_rate.warmup_steps = STEPS // 10
        optimizer.momentum_optimizer.learning_rate.CopyFrom(rate)
        pipeline.train_input_reader.shuffle = False
        phase.config.write_text(text_format.MessageToString(pipeline))
        # Grappler makes one sum of many, which is what `summed_in_pairs` avoids.
        session = as_written()
        session.intra_op_parallelism_threads = session.inter_op_parallelism_threads = 1
        run_config = tf.estimator.RunConfig(
            str(phase.model),
            tf_random_seed=1,
            session_config=session,
            save_checkpoints_steps=10**9,
            save_summary_steps=10**9,
            log_step_count_steps=10**9,
        )
        return model_lib.create_estimator_and_inputs(
            run_config,
            model_hparams.create_hparams(),
            str(phase.config),
            sample_1_of_n_eval_examples=1,
            model_fn_creator=creator,
        )


class Recorder(tf.train.SessionRunHook):
    """Takes down every step, after all hooks before it have run, and saves one of them whole."""

    def __init__(self, save_at: Optional[int] = None, save_to: Optional[Path] = None) -> None:
        self._save_at = save_at
        self._save_to = save_to
        self.steps: Dict[int, Digests] = {}

    def begin(self) -> None:
        graph = tf.get_default_graph()
        self._variables = variables_by_name(graph)
        self._losses = {name: graph.get_tensor_by_name(f"{name}:0") for name in LOSSES}
        # The API's own saver is made before the blog's hook adds the step of the last update, and misses it.
        self._saver = tf.train.Saver(list(self._variables.values()), save_relative_paths=True)
        self.masked = masked_layers(graph)
        self.sizes = {name: int(np.prod(v.shape.as_list())) for name, v in self._variables.items()}

    def before_run(self, run_context: Any) -> Any:
        return tf.train.SessionRunArgs(self._losses)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        values = run_context.session.run(self._variables)
        # Before its first update contrib's says 0, ours -1, so that an update at step 0 is not missed.
        values[LAST_UPDATE_STEP] = np.maximum(values[LAST_UPDATE_STEP], 0)
        step = int(values["global_step"])
        self.steps[step] = {**run_values.results, **{name: digest(value) for name, value in values.items()}}
        if step == self._save_at:
            prefix = str(self._save_to / "model.ckpt")
            self._saver.save(run_context.session, prefix, step, write_meta_graph=False)


def masked_layers(graph: Any) -> List[Tuple[str, str, str]]:
    """Returns weight, mask and threshold of each masked layer, in the order of contrib's collections."""
    collections = [graph.get_collection(name) for name in ("kernel", "masks", "thresholds")]
    assert len({len(collection) for collection in collections}) == 1
    layers = [tuple(variable.op.name for variable in layer) for layer in zip(*collections)]
    # contrib adds a layer once for each time that the model calls it.
    return list(dict.fromkeys(layers))


def digest(value: np.ndarray) -> np.ndarray:
    """Returns 16 bytes that stand for an array's bytes."""
    return np.frombuffer(hashlib.blake2b(np.ascontiguousarray(value).tobytes(), digest_size=16).digest(), np.uint8)


def by_hand_run(scenes: Scenes, way: Way, folder: Path, end: int, hook_first: bool = False, **saving: Any) -> Recording:
    """Trains what contrib's layers mask, with the blog's hook.

    Args:
        scenes: data.
        way: which layers.
        folder: of the run; what it holds goes on.
        end: step.
        hook_first: make contrib's Pruning before the model, so that the API's saver holds the last update's step, too.
            The blog's is made after, and cannot go on.
        saving: options of the Recorder.
    """

    def pruning() -> None:
        if hook_first:
            tf.train.get_or_create_global_step()
            contribs_pruning(way.spec)

    parts = scenes.parts(folder, end, by_hand.masked_creator(way.substituted, pruning))
    ties = by_hand.TieHook(way.spec)
    recorder = Recorder(**saving)
    _train(parts, end, [by_hand.UpdateHook(way.spec), ties, recorder])
    return Recording(recorder.steps, recorder.sizes, recorder.masked, ties.ties)


def auto_masked_run(scenes: Scenes, spec: PruningSpec, folder: Path, end: int, **saving: Any) -> Recording:
    """Trains the untouched model under auto_mask; the arguments are those of `by_hand_run`."""
    recorder = Recorder(**saving)
    _train(scenes.parts(folder, end, auto_masked_creator(spec)), end, [recorder])
    return Recording(recorder.steps, recorder.sizes, recorder.masked, [])


def auto_masked_creator(spec: PruningSpec, **options: Any) -> Callable[..., Any]:
    """Returns the API's creator of a model_fn, under auto_mask."""

    def create(*args: Any, **kwargs: Any) -> Any:
        return auto_mask(model_lib.create_model_fn(*args, **kwargs), spec, **options)

    return create


def start_from(checkpoint: Path, folder: Path) -> Path:
    """Makes a run's folder that goes on from what a Recorder has saved."""
    shutil.copytree(str(checkpoint), str(folder / "model"))
    return folder


def _train(parts: Dict[str, Any], end: int, hooks: Sequence[Any]) -> None:
    with numbered_seeds(), summed_in_pairs():
        parts["estimator"].train(parts["train_input_fn"], max_steps=end, hooks=hooks)


def summed_in_pairs() -> ContextManager[Any]:
    """Has gradients that meet added up one after the other.

    TensorFlow's AddN adds into whichever of its inputs nobody reads any more, and begins with that one: of three or
    more, the sum's last bits depend on which other op is done by then, and differ from run to run, on one thread, too.
    """
    original = tf.train.Optimizer.compute_gradients

    def compute_gradients(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **{**kwargs, "aggregation_method": tf.AggregationMethod.EXPERIMENTAL_TREE})

    return mock.patch.object(tf.train.Optimizer, "compute_gradients", compute_gradients)


def numbered_seeds() -> ContextManager[Any]:
    """Seeds random ops by their number among random ops.

    TensorFlow seeds an op by the number of ops before it. A model masked by hand has more of them in the same place
    than the model that auto_mask leaves as it is until its gradients are asked for, and would draw other numbers.
    """
    given: Dict[Any, int] = {}
    original = random_seed.get_seed

    def get_seed(op_seed: Optional[int]) -> Any:
        graph = tf.get_default_graph()
        if op_seed is None:
            given[graph] = op_seed = given.get(graph, 0) + 1
        return original(op_seed)

    return mock.patch.object(random_seed, "get_seed", get_seed)
