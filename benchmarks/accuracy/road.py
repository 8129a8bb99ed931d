"""One run: train, fold, and score the folded checkpoint in the original graph."""

import shutil
import time
from pathlib import Path
from typing import Any, Callable, Dict

import numpy as np
import tensorflow.compat.v1 as tf

import graph_masker
from benchmarks.accuracy.counting import MASKED, count, pruning_spec, variables_of
from benchmarks.accuracy.images import SIDE, digits_for, scored_images, training_batches
from benchmarks.accuracy.net import model_fn
from benchmarks.accuracy.settings import Run
from benchmarks.machine import describe

# Runs go side by side, one thread each: that is faster than one after the other with two.
THREADS = 1
SCORED_BATCH = 100  # images
NEVER = 10**9  # steps

Progress = Callable[[int], None]


class _Steps(tf.train.SessionRunHook):
    def __init__(self, progress: Progress) -> None:
        self._progress, self._done = progress, 0

    def after_run(self, run_context: Any, run_values: Any) -> None:
        self._done += 1
        self._progress(self._done)


def go(run: Run, folder: Path, progress: Progress) -> Dict[str, Any]:
    """Trains and scores.

    Args:
        run: what.
        folder: for checkpoints, which are gone afterwards.
        progress: called with the steps done.

    Returns:
        Plain values: the run, its accuracy, counts and times.

    Raises:
        AssertionError: the folded checkpoint scores otherwise than the masked one, or masks are not what was asked.
    """
    place = folder / f"{run.name}.work"
    # Of a run that was killed.
    shutil.rmtree(str(place), ignore_errors=True)
    place.mkdir(parents=True)
    try:
        return _go(run, place, progress)
    finally:
        shutil.rmtree(str(place))


def _go(run: Run, place: Path, progress: Progress) -> Dict[str, Any]:
    train, scored = digits_for(run.scored)
    images, labels = scored_images(scored, run.distortion, run.views)
    dense = _estimator(run, place, model_fn)
    spec = pruning_spec(run.case, run.training)
    trained = _estimator(run, place, graph_masker.auto_mask(model_fn, spec)) if run.case.sparsity else dense

    def batches() -> Any:
        return tf.data.Dataset.from_generator(
            lambda: training_batches(train, run.training.batch, run.distortion, run.seed),
            (tf.float32, tf.int64),
            ([run.training.batch, SIDE, SIDE, 1], [run.training.batch]),
        )

    start = time.time()
    trained.train(batches, max_steps=run.training.steps, hooks=[_Steps(progress)])
    seconds = time.time() - start

    checkpoint = trained.latest_checkpoint()
    variables = variables_of(run.case, run.training)
    if run.case.sparsity:
        masked_logits = _logits(trained, checkpoint, images)
        folded = graph_masker.fold_checkpoint(checkpoint, str(place / "folded.ckpt"), drop_slots=True)
        checkpoint = folded.prefix
        masked = [name for name, kind in variables.kinds.items() if kind == MASKED]
        _expect(sorted(weight.variable for weight in folded.weights), sorted(masked), "masked weights")
    # From here on the model is the original one.
    logits = _logits(dense, checkpoint, images)
    if run.case.sparsity:
        _expect(logits.tobytes(), masked_logits.tobytes(), "logits of the folded checkpoint")
    return {
        "run": run.as_dict(),
        "accuracy": float(np.mean(np.argmax(logits, axis=1) == labels)),
        "digits": {"trained": len(train.labels), "scored": len(scored.labels), "images": len(labels)},
        "counts": count(checkpoint, variables),
        "zeros": sum(weight.zeros for weight in folded.weights) if run.case.sparsity else 0,
        "train_seconds": round(seconds, 1),
        "seconds": round(time.time() - start, 1),
        "machine": describe(),
    }


def _expect(found: Any, expected: Any, what: str) -> None:
    # An assert statement is gone under python -O.
    if found != expected:
        raise AssertionError(f"{what}: not what was expected")


def _estimator(run: Run, place: Path, function: Callable[..., Any]) -> Any:
    config = tf.estimator.RunConfig(
        model_dir=str(place / "model"),
        tf_random_seed=run.seed,
        session_config=tf.ConfigProto(intra_op_parallelism_threads=THREADS, inter_op_parallelism_threads=THREADS),
        save_checkpoints_steps=NEVER,
        save_summary_steps=NEVER,
        log_step_count_steps=NEVER,
        keep_checkpoint_max=1,
    )
    return tf.estimator.Estimator(function, config=config, params={"case": run.case, "training": run.training})


def _logits(estimator: Any, checkpoint: str, images: np.ndarray) -> np.ndarray:
    def batches() -> Any:
        return tf.data.Dataset.from_tensor_slices(images).batch(SCORED_BATCH)

    predictions = estimator.predict(batches, checkpoint_path=checkpoint)
    return np.stack([prediction["logits"] for prediction in predictions])
