"""Export by the API's own exporter, and the frozen graphs that come out of it."""

import gzip
from pathlib import Path
from typing import List, NamedTuple

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
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


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
            boxes, scores, classes, counts = session.run(
                ["detection_boxes:0", "detection_scores:0", "detection_classes:0", "num_detections:0"],
                {"image_tensor:0": images},
            )
    return [
        # Class ids start at 1, because the API keeps 0 for the background.
        Detections(boxes[i, :n], scores[i, :n], classes[i, :n].astype(np.int64) - 1)
        for i, n in enumerate(counts.astype(int))
    ]
