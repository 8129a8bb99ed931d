"""The road of a detector, through the API's own entry points, its own Estimator and its own exporter."""

import math
import re
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf
from object_detection import exporter
from object_detection.builders import graph_rewriter_builder, model_builder

from benchmarks.rewriting.detection import training_of
from examples.digit_scenes import config, exporting, training
from graph_masker import MaskPlan, auto_mask_estimator, fold_checkpoint
from tests.helpers.running import as_written
from tests.models.matrix import checking
from tests.models.matrix.checking import SPEC, Stage
from tests.models.matrix.configs import Config
from tests.models.matrix.costs import costs_of
from tests.models.matrix.inference import Masked, run_frozen, run_masked
from tests.models.matrix.result import Result
from tests.models.matrix.scenes import write_data

LOSS = "total_loss:0"
CHECKS = ("verified", "told", "exact", "resumed", "evaluated", "folded", "exported", "same", "matters")


class _Graph(NamedTuple):
    """A graph's plan, and the number of entries of its trainable variables."""

    plan: MaskPlan
    parameters: int


class _Look(tf.train.SessionRunHook):
    """Checks the graph that an Estimator is about to run, and counts what it holds."""

    def __init__(self, plans: List[MaskPlan]) -> None:
        self._plans = plans
        self.seen: Optional[_Graph] = None

    def begin(self) -> None:
        graph, plan = tf.get_default_graph(), self._plans[-1]
        checking.check_graph(graph, plan, [LOSS])
        checking.check_nothing_silent(plan, graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES))
        self.seen = _Graph(plan, checking.parameters_of(graph))


class _Calmed(tf.train.SessionRunHook):
    """Starts from a tenth of what some variables would start from."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def begin(self) -> None:
        variables = [item for item in tf.trainable_variables() if re.search(self._pattern, item.op.name)]
        assert variables, f"{self._pattern} matches no variable"
        self._assigns = [item.assign(0.1 * item.initialized_value()) for item in variables]

    def after_create_session(self, session: Any, coord: Any) -> None:
        session.run(self._assigns)


class _Road:
    """One model's Estimator, made anew for every use, as a training program that is started again does."""

    def __init__(self, folder: Path, made: Config) -> None:
        data = write_data(folder / "data", made.side)
        self.phase = config.Phase(folder, checking.STAGES[-1].steps, 0.0)
        self.phase.config.write_text(made.text(data.train, data.held_out, data.label_map))
        self.feed = {"image_tensor:0": data.image}
        self._plans: List[MaskPlan] = []

    def _parts(self) -> Dict[str, Any]:
        # TensorFlow would take longer to optimize these graphs than to run them a few times.
        parts = training.make_estimator(self.phase, 1, session_config=as_written())
        masked = auto_mask_estimator(parts["estimator"], SPEC, on_plan=lambda plan, *_: self._plans.append(plan))
        return {**parts, "estimator": masked}

    def train(self, stage: Stage, *hooks: Any) -> Tuple[str, _Graph]:
        """Trains up to a stage's end; returns the checkpoint's prefix, and what was trained."""
        parts, look = self._parts(), _Look(self._plans)
        parts["estimator"].train(parts["train_input_fn"], max_steps=stage.steps, hooks=[look, *hooks])
        assert look.seen is not None
        return parts["estimator"].latest_checkpoint(), look.seen

    def evaluate(self) -> Dict[str, float]:
        """Evaluates the latest checkpoint on the image held out."""
        parts, look = self._parts(), _Look(self._plans)
        return parts["estimator"].evaluate(parts["eval_input_fns"][0], hooks=[look])


def run(name: str, made: Config, folder: Path, brief: bool) -> Result:
    """Takes a model through the whole road.

    Args:
        name: the model's.
        made: its pipeline config.
        folder: where everything goes; made anew.
        brief: whether it trains but once, and what masking adds to building it is not measured.

    Raises:
        AssertionError: a check failed.
    """
    folder.mkdir(parents=True)
    road = _Road(folder, made)
    stages = checking.stages_of(brief)
    masked, seen = road.train(stages[0], *([_Calmed(made.calmed)] if made.calmed else []))
    checking.check_masks(masked, seen.plan, stages[0])
    for stage in stages[1:]:
        masked, resumed = road.train(stage, checking.Resumed(masked, seen.plan))
        assert resumed == seen
        checking.check_masks(masked, seen.plan, stage)
    scores = road.evaluate()
    assert scores["global_step"] == stages[-1].steps and math.isfinite(scores["loss"])
    assert 0 <= scores["DetectionBoxes_Precision/mAP"] <= 1
    folded = fold_checkpoint(masked, str(folder / "folded" / "model.ckpt")).prefix
    checking.check_folded(masked, folded, seen.plan)
    exporting.export(road.phase, road.phase.config, folded)
    frozen = tf.GraphDef.FromString(road.phase.frozen_graph.read_bytes())
    _check_frozen(frozen, seen.plan, stages[-1])
    inference = _run_masked(road, masked)
    inference.check(run_frozen(frozen, list(inference.outputs), road.feed))
    return Result(
        name,
        inference.ops,
        len(seen.plan.sites),
        inference.shared,
        seen.plan.entries,
        seen.parameters,
        checking.reasons_of(seen.plan),
        tuple(check for check in CHECKS if check != "resumed" or not brief),
        costs=None if brief else costs_of(training_of(road.phase.config, made.side, made.with_masks)),
    )


def _run_masked(road: _Road, checkpoint: str) -> Masked:
    """Runs the graph that the exporter builds, masked, and as it does: with moving averages, if they are asked for."""
    pipeline = config.read_config(road.phase.config)

    def build() -> Dict[str, Any]:
        model = model_builder.build(pipeline.model, is_training=False)
        hook = None
        if pipeline.HasField("graph_rewriter"):
            hook = graph_rewriter_builder.build(pipeline.graph_rewriter, is_training=False)
        return exporter.build_detection_graph("image_tensor", model, None, "inference_op", hook)[0]

    def averages_of(graph: Any, prefix: str) -> str:
        if not pipeline.eval_config.use_moving_averages:
            return prefix
        averages = road.phase.folder / "averages"
        averages.mkdir()
        exporter.replace_variable_values_with_moving_averages(graph, prefix, str(averages / "model.ckpt"))
        return str(averages / "model.ckpt")

    return run_masked(build, checkpoint, road.feed, averages_of)


def _check_frozen(frozen: Any, plan: MaskPlan, stage: Stage) -> None:
    """Asserts that an exported graph has nothing of pruning, and all zeros of the weights that it has."""
    ours = {name for site in plan.sites for name in (*site.state, site.masked_weight)}
    assert not [node.name for node in frozen.node if node.name in ours]
    constants = {node.name: node for node in frozen.node if node.op == "Const"}
    kept = [site for site in plan.sites if site.variable in constants]
    assert kept
    for site in kept:
        values = tf.make_ndarray(constants[site.variable].attr["value"].tensor)
        assert np.count_nonzero(values) <= site.entries - checking.zeros_of(site.entries, stage.sparsity), site.variable
