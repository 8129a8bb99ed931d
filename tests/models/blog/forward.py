"""The model that predicts, masked either way: names, and outputs of the same values."""

from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from tests.helpers.running import random_mask, single_threaded, variables_by_name
from tests.models.blog import runs

SIDE = 128  # pixels


class Forward(NamedTuple):
    """A graph that predicts.

    Attributes:
        masked: weight, mask and threshold of each masked layer.
        shapes: by variable.
        predictions: by name.
    """

    graph: Any
    masked: List[Any]
    shapes: Dict[str, Any]
    predictions: Dict[str, Any]

    @property
    def weights(self) -> List[str]:
        """Names of all weights of layers."""
        return [name for name in self.shapes if name.endswith("weights")]


def build(scenes: runs.Scenes, creator: Callable[..., Any], folder: Path) -> Forward:
    """Builds the graph, as an Estimator would to predict."""
    estimator = scenes.parts(folder, 1, creator)["estimator"]
    with tf.Graph().as_default() as graph, runs.numbered_seeds():
        tf.set_random_seed(1)
        tf.train.get_or_create_global_step()
        features = {
            "image": tf.placeholder(tf.float32, [1, SIDE, SIDE, 3], name="image"),
            "true_image_shape": tf.constant([[SIDE, SIDE, 3]], name="true_shape"),
        }
        spec = estimator.model_fn(features, None, tf.estimator.ModeKeys.PREDICT, estimator.config)
        variables = variables_by_name(graph)
        shapes = {name: tuple(variable.shape.as_list()) for name, variable in variables.items()}
        return Forward(graph, runs.masked_layers(graph), shapes, spec.predictions)


def values_of(model: Forward) -> Dict[str, np.ndarray]:
    """Returns initial values, with masks of zeros and ones."""
    with single_threaded(model.graph) as session:
        variables = variables_by_name(model.graph)
        session.run([variable.initializer for variable in variables.values()])
        values = session.run(variables)
    return {**values, **{mask: random_mask(mask, model.shapes[mask]) for _, mask, _ in model.masked}}


def predict(model: Forward, values: Dict[str, np.ndarray], image: np.ndarray) -> Dict[str, np.ndarray]:
    """Returns the predictions that some values of the variables make."""
    with single_threaded(model.graph) as session:
        variables = variables_by_name(model.graph)
        # As Variable.load does, but all at once.
        feed = {variable.initializer.inputs[1]: values[name] for name, variable in variables.items()}
        session.run([variable.initializer for variable in variables.values()], feed)
        return session.run(model.predictions, {"image:0": image[np.newaxis].astype(np.float32)})
