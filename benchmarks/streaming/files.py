"""The checkpoint that is measured: sharded, many tensors and one large one, masks and slots beside the weights."""

import os
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

_FLOAT = 4
# Of the weights but the large one: those of a ResNet's bottleneck, again and again.
_SHAPES = ((1, 1, 1024, 256), (3, 3, 256, 256), (1, 1, 256, 1024), (3, 3, 512, 512), (1, 1, 512, 2048))
_SHARDS = 5
# Of a weight: itself, its mask, its slot.
_COPIES = 3


class Checkpoint(NamedTuple):
    """What is to be made: bytes in all, and the share of them that one tensor has."""

    name: str
    title: str
    size: int
    largest: float


CHECKPOINTS = (
    Checkpoint("large", "5 GB, one tensor of 1 GB", 5 * 10**9, 0.2),
    Checkpoint("even", "1 GB, tensors of at most 9 MB", 10**9, 0.0),
)


class Made(NamedTuple):
    """What was made.

    Attributes:
        size: bytes of all its files.
        largest: bytes of its largest tensor.
        tensors: how many it holds.
    """

    size: int
    largest: int
    tensors: int


def make(folder: str, kind: Checkpoint) -> Made:
    """Writes a checkpoint: every weight has a mask, at sparsity 0.9, a threshold, and a slot of Momentum."""
    rows = int(kind.largest * kind.size) // _FLOAT // 1024
    shapes: List[Tuple[int, ...]] = [(rows, 1024)] if rows else []
    left = kind.size // _FLOAT - _COPIES * rows * 1024
    while left > 0:
        shapes.append(_SHAPES[len(shapes) % len(_SHAPES)])
        left -= _COPIES * int(np.prod(shapes[-1]))
    prefix, block = os.path.join(folder, "model.ckpt-1000"), np.random.RandomState(0).standard_normal(2**20)
    pieces, count = [], 0
    for shard in range(_SHARDS):
        pieces.append(f"{prefix}.piece-{shard}")
        count += _save(pieces[-1], dict(list(enumerate(shapes))[shard::_SHARDS]), block.astype(np.float32))
    with tf.Graph().as_default(), tf.Session() as session:
        session.run(tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=pieces, destination_prefix=prefix))
    Path(folder, "checkpoint").write_text('model_checkpoint_path: "model.ckpt-1000"\n')
    size = sum(path.stat().st_size for path in Path(folder).iterdir())
    return Made(size, _FLOAT * max(int(np.prod(shape)) for shape in shapes), count)


def _save(prefix: str, shapes: Dict[int, Tuple[int, ...]], block: np.ndarray) -> int:
    names, tensors, feeds = [], [], {}
    with tf.Graph().as_default(), tf.Session() as session:
        for number, shape in shapes.items():
            values = np.resize(np.roll(block, number), shape)
            made = {"weights": values, "weights/Momentum": values * np.float32(0.1), "threshold": np.float32(1.645)}
            made["mask"] = (np.abs(values) > made["threshold"]).astype(np.float32)
            for name, value in made.items():
                names.append(f"layer{number:04d}/{name}")
                tensors.append(tf.placeholder(tf.float32, value.shape))
                feeds[tensors[-1]] = value
        parts = [""] * len(names)
        session.run(
            tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=parts, tensors=tensors), feeds
        )
    return len(names)
