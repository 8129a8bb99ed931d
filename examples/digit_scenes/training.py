"""Training and evaluation through the API's own Estimator."""

from typing import Any, Callable, Dict, NamedTuple, Optional

import tensorflow.compat.v1 as tf
from object_detection import model_hparams, model_lib

from examples.digit_scenes.config import Phase

NEVER = 10**9  # steps

ModelFnCreator = Callable[..., Callable[..., tf.estimator.EstimatorSpec]]
Progress = Callable[[int], None]


class Scores(NamedTuple):
    """COCO metrics on the held-out scenes, 0 to 1.

    Attributes:
        mean: mAP averaged over the IoU thresholds 0.5, 0.55, ..., 0.95.
        at_50: mAP at the IoU threshold 0.5.
        masks_mean: The same of instance masks, where the model predicts them.
        masks_at_50: The same of instance masks at the IoU threshold 0.5.
    """

    mean: float
    at_50: float
    masks_mean: Optional[float] = None
    masks_at_50: Optional[float] = None


class _StepHook(tf.train.SessionRunHook):
    """Reports the number of training steps done so far."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._done = 0

    def after_run(self, run_context: Any, run_values: Any) -> None:
        self._done += 1
        self._progress(self._done)


def make_estimator(
    phase: Phase,
    seed: int,
    model_fn_creator: ModelFnCreator = model_lib.create_model_fn,
    session_config: Optional[tf.ConfigProto] = None,
) -> Dict[str, Any]:
    """Builds the API's Estimator and input functions for a phase.

    Args:
        phase: Its config must be written.
        seed: TensorFlow's graph seed.
        model_fn_creator: What makes the model_fn. This is the only place where pruning enters.
        session_config: Of every session; TensorFlow's defaults if None.

    Returns:
        What `model_lib.create_estimator_and_inputs` returns.
    """
    run_config = tf.estimator.RunConfig(
        model_dir=str(phase.model),
        tf_random_seed=seed,
        session_config=session_config,
        # The Estimator still saves once at the start and once at the end.
        save_checkpoints_steps=NEVER,
        save_summary_steps=NEVER,
        log_step_count_steps=NEVER,
        keep_checkpoint_max=1,
    )
    return model_lib.create_estimator_and_inputs(
        run_config,
        model_hparams.create_hparams(),
        str(phase.config),
        sample_1_of_n_eval_examples=1,
        model_fn_creator=model_fn_creator,
    )


def train(parts: Dict[str, Any], progress: Progress) -> str:
    """Trains for the steps of the config and returns the prefix of the last checkpoint."""
    estimator = parts["estimator"]
    estimator.train(parts["train_input_fn"], max_steps=parts["train_steps"], hooks=[_StepHook(progress)])
    return estimator.latest_checkpoint()


def evaluate(parts: Dict[str, Any], checkpoint: str, progress: Progress) -> Scores:
    """Evaluates a checkpoint (a prefix) on all held-out scenes, one scene per step."""
    metrics = parts["estimator"].evaluate(
        parts["eval_input_fns"][0], hooks=[_StepHook(progress)], checkpoint_path=checkpoint
    )
    names = [f"Detection{kind}_Precision/{name}" for kind in ("Boxes", "Masks") for name in ("mAP", "mAP@.50IOU")]
    return Scores(*(float(metrics[name]) for name in names if name in metrics))
