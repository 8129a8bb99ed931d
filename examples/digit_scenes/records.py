"""Scenes as the Object Detection API reads them: TFRecord files and a label map."""

import io
from pathlib import Path
from typing import Iterable, Sequence

import numpy as np
import tensorflow.compat.v1 as tf
from PIL import Image

from examples.digit_scenes.digits import CLASSES
from examples.digit_scenes.scenes import Scene


def _bytes(values: Sequence[bytes]) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def _ints(values: Sequence[int]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _floats(values: Sequence[float]) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def _png(pixels: np.ndarray) -> bytes:
    """Encodes uint8 [height, width]."""
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, format="png", compress_level=1)
    return encoded.getvalue()


def to_example(scene: Scene, name: str) -> tf.train.Example:
    """Encodes a scene with the feature keys the API's decoder knows.

    Args:
        scene: Image and ground truth.
        name: Unique over the data set: COCO metrics tell images apart by it.
    """
    height, width = scene.image.shape[:2]
    ymin, xmin, ymax, xmax = scene.boxes.T
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                "image/height": _ints([height]),
                "image/width": _ints([width]),
                "image/filename": _bytes([name.encode()]),
                "image/source_id": _bytes([name.encode()]),
                # Three equal channels: one is stored, and the API's decoder makes them three again.
                "image/encoded": _bytes([_png(scene.image[:, :, 0])]),
                "image/format": _bytes([b"png"]),
                "image/object/bbox/ymin": _floats(ymin),
                "image/object/bbox/xmin": _floats(xmin),
                "image/object/bbox/ymax": _floats(ymax),
                "image/object/bbox/xmax": _floats(xmax),
                "image/object/class/text": _bytes([str(label).encode() for label in scene.labels]),
                # Class 0 is the background by the API's convention, so digit d is class d + 1.
                "image/object/class/label": _ints(scene.labels + 1),
                # Read only where a config says load_instance_masks.
                "image/object/mask": _bytes([_png(mask.astype(np.uint8)) for mask in scene.masks]),
            }
        )
    )


def write_records(scenes: Iterable[Scene], path: Path, prefix: str) -> int:
    """Writes scenes as one TFRecord file and returns how many there were."""
    count = 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        for count, scene in enumerate(scenes, start=1):
            writer.write(to_example(scene, f"{prefix}-{count:05d}.png").SerializeToString())
    return count


def write_label_map(path: Path) -> None:
    """Writes the label map: digit d has the id d + 1."""
    path.write_text("".join(f"item {{\n  id: {d + 1}\n  name: '{d}'\n}}\n" for d in range(CLASSES)))
