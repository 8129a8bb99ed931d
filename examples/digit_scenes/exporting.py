"""Export by the API's own exporter, and the frozen graphs that come out of it."""

import gzip
from pathlib import Path
from typing import List, NamedTuple, Optional

import numpy as np
import tensorflow.compat.v1 as tf
from object_detection import exporter

from examples.digit_scenes.config import Phase, read_config


class Sizes(NamedTuple):
    """Size of a file in bytes, as it is and compressed by gzip."""

    raw: int
    gzipped: int


class Detections(NamedTuple):
    """Detections in one scene, best first.

    Attributes:
        boxes: float32 [n, 4], ymin, xmin, ymax, xmax as fractions of the side.
        scores: float32 [n], 0 to 1.
        labels: int64 [n], digits 0 to 9.
        masks: float32 [n, height, width], probability of ink over the area of each box, if the model predicts it.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: Optional[np.ndarray] = None


def export(phase: Phase, config: Path, checkpoint: str) -> None:
    """Freezes a checkpoint into the phase's export folder.

    Args:
        phase: Where to export to.
        config: The pipeline config that describes the model.
        checkpoint: Prefix of a checkpoint with the variables of the unmodified model.
    """
    with tf.Graph().as_default():
        exporter.export_inference_graph("image_tensor", read_config(config), checkpoint, str(phase.exported))


def file_sizes(path: Path) -> Sizes:
    """Measures a file."""
    data = path.read_bytes()
    return Sizes(raw=len(data), gzipped=len(gzip.compress(data, compresslevel=9)))


def detect(frozen_graph: Path, images: np.ndarray) -> List[Detections]:
    """Runs a frozen graph in a plain session.

    Args:
        frozen_graph: A file written by the API's exporter.
        images: uint8 [n, height, width, 3].
    """
    definition = tf.GraphDef.FromString(frozen_graph.read_bytes())
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        with tf.Session(graph=graph) as session:
            names = ["detection_boxes", "detection_scores", "detection_classes", "detection_masks"]
            fetched = [f"{name}:0" for name in names if any(node.name == name for node in definition.node)]
            found = session.run(["num_detections:0", *fetched], {"image_tensor:0": images})
    return [_detections(*(values[i, :n] for values in found[1:])) for i, n in enumerate(found[0].astype(int))]


def _detections(
    boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, masks: Optional[np.ndarray] = None
) -> Detections:
    # Class ids start at 1, because the API keeps 0 for the background.
    return Detections(boxes, scores, classes.astype(np.int64) - 1, masks)
