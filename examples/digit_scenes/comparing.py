"""Raw outputs of two versions of a model on the same held-out scenes."""

from typing import Any, Dict

import numpy as np
import tensorflow.compat.v1 as tf

Outputs = Dict[str, np.ndarray]

# What an SSD predicts before non-maximum suppression, by the names the API gives these tensors. A Mask R-CNN has its
# raw outputs among its predictions.
RAW_OUTPUTS = {
    "box_encodings": "Postprocessor/raw_box_encodings:0",  # [batch, anchors, 4]
    "class_scores": "Postprocessor/raw_box_scores:0",  # [batch, anchors, classes + 1]
    "feature_maps": "Postprocessor/raw_box_features:0",  # [batch, values]
}


def raw_outputs(parts: Dict[str, Any], checkpoint: str, scenes: int) -> Outputs:
    """Runs an Estimator's model in prediction mode from a checkpoint, on the first held-out scenes.

    Args:
        parts: What `training.make_estimator` returned; its model_fn decides whether the graph is masked.
        checkpoint: Prefix of a checkpoint with every variable of that graph.
        scenes: How many scenes.

    Returns:
        The images, the raw outputs and the detection tensors, by name, each with `scenes` as first dimension.
    """
    estimator = parts["estimator"]
    with tf.Graph().as_default() as graph:
        iterator = parts["eval_input_fns"][0]().make_initializable_iterator()
        features, _ = iterator.get_next()
        spec = estimator.model_fn(
            features=features, labels=None, mode=tf.estimator.ModeKeys.PREDICT, config=estimator.config
        )
        ops = {op.name for op in graph.get_operations()}
        fetches = {
            name: graph.get_tensor_by_name(tensor)
            for name, tensor in RAW_OUTPUTS.items()
            if tensor.rpartition(":")[0] in ops
        }
        fetches.update(spec.predictions)
        fetches["image"] = features["image"]
        saver = tf.train.Saver()
        with tf.Session(graph=graph) as session:
            saver.restore(session, checkpoint)
            session.run([iterator.initializer, tf.tables_initializer()])
            runs = [session.run(fetches) for _ in range(scenes)]
    return {name: np.concatenate([run[name] for run in runs]) for name in fetches}


def differences(first: Outputs, second: Outputs) -> Dict[str, float]:
    """Gives the largest absolute difference of every output.

    Raises:
        ValueError: The two did not see the same images or do not have the same outputs.
    """
    if first.keys() != second.keys() or not np.array_equal(first["image"], second["image"]):
        raise ValueError("the two models were not run on the same scenes")
    return {
        name: float(np.max(np.abs(first[name].astype(np.float64) - second[name].astype(np.float64))))
        for name in sorted(first)
        if name != "image"
    }
