"""A model's training graph: its model_fn and what it is called with."""

from typing import Any, Callable, NamedTuple, Tuple

import tensorflow.compat.v1 as tf

Inputs = Tuple[Any, Any]


class Training(NamedTuple):
    """A model_fn, as an Estimator takes it, and what makes its features and labels in the default graph."""

    model_fn: Callable[..., Any]
    inputs: Callable[[], Inputs]


def build(model_fn: Callable[..., Any], inputs: Inputs) -> Any:
    """Builds a training graph into the default graph, as an Estimator would."""
    features, labels = inputs
    return model_fn(features=features, labels=labels, mode=tf.estimator.ModeKeys.TRAIN)
