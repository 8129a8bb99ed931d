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


class Made(NamedTuple):
    """A checkpoint.

    Attributes:
        prefix: of its files.
        size: bytes of all its files.
        largest: bytes of its largest tensor.
        tensors: how many it holds.
    """

    prefix: str
    size: int
    largest: int
    tensors: int


def make(folder: str, size: int, masked: bool) -> Made:
    """Writes a checkpoint of about `size` bytes, a fifth of it one tensor.

    Args:
        folder: a new one.
        size: in bytes.
        masked: whether every weight has a mask, at sparsity 0.9, and a threshold. Each has a slot of Momentum.
    """
    copies = 3 if masked else 2
    rows = size // 5 // _FLOAT // 1024
    shapes: List[Tuple[int, ...]] = [(rows, 1024)]
    left = size // _FLOAT - copies * rows * 1024
    while left > 0:
        shapes.append(_SHAPES[len(shapes) % len(_SHAPES)])
        left -= copies * int(np.prod(shapes[-1]))
    prefix, random = os.path.join(folder, "model.ckpt-1000"), np.random.RandomState(0)
    block = random.standard_normal(2**20).astype(np.float32)
    pieces, count = [], 0
    for shard in range(_SHARDS):
        pieces.append(f"{prefix}.piece-{shard}")
        count += _save(pieces[-1], dict(list(enumerate(shapes))[shard::_SHARDS]), block, masked)
    with tf.Graph().as_default(), tf.Session() as session:
        session.run(tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=pieces, destination_prefix=prefix))
    Path(folder, "checkpoint").write_text('model_checkpoint_path: "model.ckpt-1000"\n')
    written = sum(path.stat().st_size for path in Path(folder).iterdir())
    return Made(prefix, written, rows * 1024 * _FLOAT, count)


def _save(prefix: str, shapes: Dict[int, Tuple[int, ...]], block: np.ndarray, masked: bool) -> int:
    names, tensors, feeds = [], [], {}
    with tf.Graph().as_default(), tf.Session() as session:
        for number, shape in shapes.items():
            values = np.resize(np.roll(block, number), shape)
            made = {"weights": values, "weights/Momentum": values * np.float32(0.1)}
            if masked:
                made["mask"] = (np.abs(values) > 1.645).astype(np.float32)
                made["threshold"] = np.float32(1.645)
            for name, value in made.items():
                names.append(f"layer{number:04d}/{name}")
                tensors.append(tf.placeholder(tf.float32, value.shape))
                feeds[tensors[-1]] = value
        parts = [""] * len(names)
        session.run(
            tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=parts, tensors=tensors), feeds
        )
    return len(names)
