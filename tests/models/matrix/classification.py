"""The road of one of slim's image classifiers, trained in plain sessions inside `masking`."""

from pathlib import Path
from typing import Any, Dict, Optional

import numpy as np
import tensorflow.compat.v1 as tf

from benchmarks.engine.nets import minimize
from benchmarks.rewriting.training import Training
from graph_masker import MaskPlan, fold_checkpoint, masking
from tests.helpers.running import as_written, initialize
from tests.models.matrix import checking
from tests.models.matrix.checking import SPEC, Stage
from tests.models.matrix.costs import costs_of
from tests.models.matrix.inference import run_masked, run_plain
from tests.models.matrix.nets import CLASSES, Net
from tests.models.matrix.result import Result

CHECKS = ("verified", "told", "exact", "resumed", "folded", "same", "matters")
IMAGES, LABELS, OUTPUT = "images", "labels", "logits"


def run(net: Net, folder: Path, brief: bool) -> Result:
    """Takes a net through the whole road; see `detection.run`."""
    folder.mkdir(parents=True)
    stages = checking.stages_of(brief)
    masked, plan, parameters = _train(net, folder / "first", stages[0])
    checking.check_masks(masked, plan, stages[0])
    for stage in stages[1:]:
        masked, again, _ = _train(net, folder / "second", stage, masked)
        assert again == plan
        checking.check_masks(masked, plan, stage)
    folded = fold_checkpoint(masked, str(folder / "folded" / "model.ckpt")).prefix
    checking.check_folded(masked, folded, plan)
    feed = {f"{IMAGES}:0": _images(net, 0)}
    inference = run_masked(lambda: _outputs(net), masked, feed)
    inference.check(run_plain(lambda: _outputs(net), folded, feed))
    return Result(
        net.name,
        inference.ops,
        len(plan.sites),
        inference.shared,
        plan.entries,
        parameters,
        checking.reasons_of(plan),
        tuple(check for check in CHECKS if check != "resumed" or not brief),
        costs=None if brief else costs_of(Training(_model_fn(net), lambda: _inputs(net))),
    )


def _train(net: Net, folder: Path, stage: Stage, start: Optional[str] = None) -> Any:
    """Trains up to a stage's end, from a checkpoint where it is given; returns the new one, plan and parameters."""
    folder.mkdir()
    with tf.Graph().as_default() as graph, masking(SPEC) as masker:
        tf.set_random_seed(1)
        features, labels = _inputs(net)
        spec = _model_fn(net)(features, labels, tf.estimator.ModeKeys.TRAIN)
        saver = tf.train.Saver()
        with tf.Session(config=as_written()) as session:
            if start is None:
                initialize(session)
            else:
                saver.restore(session, start)
            plan: MaskPlan = masker.plan
            checking.check_graph(graph, plan, [spec.loss.name])
            checking.check_nothing_silent(plan, graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES))
            if start is not None:
                checking.check_resumed(session, start, plan)
            for number in range(session.run(tf.train.get_global_step()), stage.steps):
                session.run(spec.train_op, {features: _images(net, number), labels: [number % CLASSES]})
            return saver.save(session, str(folder / "model.ckpt")), plan, checking.parameters_of(graph)


def _inputs(net: Net) -> Any:
    return tf.placeholder(tf.float32, [1, *net.shape], IMAGES), tf.placeholder(tf.int32, [1], LABELS)


def _images(net: Net, number: int) -> Any:
    return np.random.RandomState(number).normal(size=[1, *net.shape]).astype(np.float32)


def _model_fn(net: Net) -> Any:
    def model_fn(features: Any, labels: Any, mode: Any) -> Any:
        # As an Estimator does: a net that asks for it first would make it under a scope of its own.
        tf.train.get_or_create_global_step()
        logits = net.logits(features, is_training=True)
        tf.losses.sparse_softmax_cross_entropy(labels, tf.reshape(logits, [1, CLASSES]))
        loss = tf.losses.get_total_loss()
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=minimize(loss))

    return model_fn


def _outputs(net: Net) -> Dict[str, Any]:
    return {OUTPUT: net.logits(_inputs(net)[0], is_training=False)}
