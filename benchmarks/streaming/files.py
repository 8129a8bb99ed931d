"""The checkpoints that are measured: sharded, many tensors and one large one, with slots; masked or dense."""

import os
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

_FLOAT = 4
# Of the weights but the large one: those of a ResNet's bottleneck, again and again.
_SHAPES = ((1, 1, 1024, 256), (3, 3, 256, 256), (1, 1, 256, 1024), (3, 3, 512, 512), (1, 1, 512, 2048))
_SHARDS = 5
# Of a masked weight: itself, its slot, its mask; a dense one has no mask.
_MASKED, _DENSE = 3, 2
_MODEL = "model.ckpt-1000"


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


def make(folder: str, kind: Checkpoint, is_masked: bool) -> Made:
    """Writes a checkpoint: every weight has a slot of Momentum.

    Args:
        folder: where.
        kind: how large.
        is_masked: whether every weight has a mask, at sparsity 0.9, and a threshold; where not, the training graph lies
            beside the checkpoint.
    """
    copies, rows = _MASKED if is_masked else _DENSE, int(kind.largest * kind.size) // _FLOAT // 1024
    shapes: List[Tuple[int, ...]] = [(rows, 1024)] if rows else []
    left = kind.size // _FLOAT - copies * rows * 1024
    while left > 0:
        shapes.append(_SHAPES[len(shapes) % len(_SHAPES)])
        left -= copies * int(np.prod(shapes[-1]))
    prefix, block = os.path.join(folder, _MODEL), np.random.RandomState(0).standard_normal(2**20).astype(np.float32)
    pieces, count = [], 0
    for shard in range(_SHARDS):
        pieces.append(f"{prefix}.piece-{shard}")
        chosen = dict(list(enumerate(shapes))[shard::_SHARDS])
        count += _save(pieces[-1], chosen, block, is_masked, has_step=not (shard or is_masked))
    with tf.Graph().as_default(), tf.Session() as session:
        session.run(tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=pieces, destination_prefix=prefix))
    if not is_masked:
        _write_graph(prefix + ".meta", shapes)
    Path(folder, "checkpoint").write_text(f'model_checkpoint_path: "{_MODEL}"\n')
    size = sum(path.stat().st_size for path in Path(folder).iterdir())
    return Made(size, _FLOAT * max(int(np.prod(shape)) for shape in shapes), count)


def _save(prefix: str, shapes: Dict[int, Tuple[int, ...]], block: np.ndarray, is_masked: bool, has_step: bool) -> int:
    names, tensors, feeds = [], [], {}
    with tf.Graph().as_default(), tf.Session() as session:
        if has_step:
            names.append("global_step")
            tensors.append(tf.constant(1000, tf.int64))
        for number, shape in shapes.items():
            values = np.resize(np.roll(block, number), shape)
            made = {"weights": values, "weights/Momentum": values * np.float32(0.1)}
            if is_masked:
                made["threshold"] = np.float32(1.645)
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


def _write_graph(path: str, shapes: List[Tuple[int, ...]]) -> None:
    """Writes the graph of a model that trains these weights, each in a layer beside the others."""
    with tf.Graph().as_default():
        losses = []
        for number, shape in enumerate(shapes):
            with tf.variable_scope(f"layer{number:04d}"):
                weights = tf.get_variable("weights", shape, initializer=tf.zeros_initializer())
                if len(shape) == 2:
                    outputs = tf.matmul(tf.placeholder(tf.float32, [None, shape[0]]), weights)
                else:
                    outputs = tf.nn.conv2d(tf.placeholder(tf.float32, [None, 8, 8, shape[2]]), weights, 1, "SAME")
                losses.append(tf.reduce_mean(tf.square(outputs)))
        step = tf.train.get_or_create_global_step()
        tf.train.MomentumOptimizer(0.1, 0.9).minimize(tf.add_n(losses), step)
        tf.train.Saver(sharded=True).export_meta_graph(path)
