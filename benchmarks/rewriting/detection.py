"""Training graphs of the Object Detection API from pip: a pipeline config, through the API's own entry point."""

from pathlib import Path
from typing import Any, Callable, Dict, List

import tensorflow.compat.v1 as tf

from benchmarks.rewriting.training import Inputs, Training

CONFIGS = Path(__file__).with_name("configs")
BOXES = 20  # ground-truth boxes per image, padding included
CLASSES = 3
SIDE = 300  # pixels


def detector(config: str, with_masks: bool = False) -> Callable[[], Training]:
    """Returns what makes a detector's model_fn and inputs.

    Args:
        config: name of the pipeline config.
        with_masks: the ground truth has instance masks.
    """
    return lambda: training_of(CONFIGS / f"{config}.config", SIDE, with_masks)


def training_of(config: Path, side: int, with_masks: bool) -> Training:
    """Returns the model_fn that the API makes from a pipeline config of three classes, and its inputs.

    Args:
        config: the pipeline config.
        side: of the images, pixels.
        with_masks: the ground truth has instance masks.
    """
    from object_detection import model_hparams, model_lib

    made: List[Any] = []

    def creator(*args: Any, **kwargs: Any) -> Any:
        made.append(model_lib.create_model_fn(*args, **kwargs))
        return made[-1]

    model_lib.create_estimator_and_inputs(
        tf.estimator.RunConfig(model_dir="never-trained"),
        model_hparams.create_hparams(),
        str(config),
        sample_1_of_n_eval_examples=1,
        model_fn_creator=creator,
    )
    return Training(made[0], lambda: _inputs(side, with_masks))


def _inputs(side: int, with_masks: bool) -> Inputs:
    """One image and its ground truth, in the fields and shapes that the API's input pipeline gives."""
    features = {
        "image": tf.placeholder(tf.float32, [1, side, side, 3]),
        "true_image_shape": tf.placeholder(tf.int32, [1, 3]),
    }
    labels: Dict[str, Any] = {
        "num_groundtruth_boxes": tf.placeholder(tf.int32, [1]),
        "groundtruth_boxes": tf.placeholder(tf.float32, [1, BOXES, 4]),
        "groundtruth_classes": tf.placeholder(tf.float32, [1, BOXES, CLASSES]),
        "groundtruth_weights": tf.placeholder(tf.float32, [1, BOXES]),
    }
    if with_masks:
        labels["groundtruth_instance_masks"] = tf.placeholder(tf.float32, [1, BOXES, side, side])
    return features, labels
