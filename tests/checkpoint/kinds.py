"""Checkpoints of every kind, made by TensorFlow's own ops and savers; each has one mask, of `layer/kernel`."""

import os
from typing import Any, Callable, Dict, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

SHAPE = (6, 5)


def masked_values() -> Dict[str, np.ndarray]:
    """Returns a weight with its mask, threshold and a slot."""
    random = np.random.RandomState(1)
    kernel = random.standard_normal(SHAPE).astype(np.float32)
    return {
        "layer/kernel": kernel,
        "layer/kernel/Adam": random.standard_normal(SHAPE).astype(np.float32),
        "layer/mask": (np.abs(kernel) > 0.7).astype(np.float32),
        "layer/threshold": np.float32(0.7),
        "model_pruning/last_mask_update_step": np.int32(7),
        "global_step": np.int64(9),
    }


def save(prefix: str, values: Dict[str, Any]) -> None:
    """Saves tensors or arrays as one shard."""
    with tf.Graph().as_default(), tf.Session() as session:
        made = {name: tf.convert_to_tensor(value() if callable(value) else value) for name, value in values.items()}
        names = list(made)
        tensors = [made[name] for name in names]
        parts = [""] * len(names)
        session.run(tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=parts, tensors=tensors))


def merge(prefix: str, pieces: Sequence[str]) -> None:
    """Joins checkpoints as shards of one."""
    with tf.Graph().as_default(), tf.Session() as session:
        session.run(tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=pieces, destination_prefix=prefix))


def single(folder: str) -> str:
    """One file of data."""
    save(os.path.join(folder, "model.ckpt-9"), masked_values())
    return os.path.join(folder, "model.ckpt-9")


def sharded(folder: str) -> str:
    """Three files of data; weight, mask and slot in different ones."""
    values, prefix = masked_values(), os.path.join(folder, "model.ckpt-9")
    names = sorted(values)
    pieces = [f"{prefix}-piece{number}" for number in range(3)]
    for number, piece in enumerate(pieces):
        save(piece, {name: values[name] for name in names[number::3]})
    merge(prefix, pieces)
    return prefix


def every_type(folder: str) -> str:
    """All types that can be saved, strings of all lengths, tensors without entries and scalars."""
    random = np.random.RandomState(2)
    values: Dict[str, Any] = dict(masked_values())
    for kind in (tf.float16, tf.float32, tf.float64, tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16):
        values[f"types/{kind.name}"] = random.uniform(0, 100, [3, 7]).astype(kind.as_numpy_dtype)
    for kind in (tf.complex64, tf.complex128):
        values[f"types/{kind.name}"] = (random.rand(5) + 1j * random.rand(5)).astype(kind.as_numpy_dtype)
    values["types/bool"] = random.rand(11) > 0.5
    values["types/bfloat16"] = lambda: tf.cast(tf.constant(random.rand(4, 3)), tf.bfloat16)
    for kind in (tf.qint8, tf.quint8, tf.qint32):
        values[f"types/{kind.name}"] = lambda kind=kind: (
            tf.quantize(tf.constant(random.rand(9), tf.float32), 0.0, 1.0, kind).output
        )
    values["types/nan"] = np.array([np.nan, -np.nan, np.inf, -0.0], np.float32)
    values["types/string"] = np.array([[b"", b"a"], [b"\0\xff", b"x" * 1000]], object)
    values["types/no_string"] = np.zeros([0], object)
    values["types/empty"] = np.zeros([0, 4], np.float32)
    values["types/scalar"] = np.float64(np.pi)
    values["\u00fcn\u00efcode/name with spaces"] = np.arange(3)
    save(os.path.join(folder, "model.ckpt-9"), values)
    return os.path.join(folder, "model.ckpt-9")


def partitioned(folder: str) -> str:
    """Weight, mask and slot in parts of unequal size, one file per part; one tensor of which only a part is there."""
    values, prefix = masked_values(), os.path.join(folder, "model.ckpt-9")
    cuts = {"0,4:-": slice(0, 4), "4,2:-": slice(4, 6)}
    pieces = []
    for number, (cut, rows) in enumerate(cuts.items()):
        pieces.append(f"{prefix}-piece{number}")
        whole = {name: value for name, value in values.items() if np.ndim(value) == 0 and number == 0}
        parts = {name: value[rows] for name, value in values.items() if np.ndim(value) == 2}
        names = [*whole, *parts, *(["layer/kernel/Ftrl"] if number == 0 else [])]
        specs = [""] * len(whole) + [f"6 5 {cut}"] * (len(names) - len(whole))
        tensors = [*whole.values(), *parts.values(), *([values["layer/kernel"][rows]] if number == 0 else [])]
        with tf.Graph().as_default(), tf.Session() as session:
            session.run(
                tf.raw_ops.SaveV2(prefix=pieces[-1], tensor_names=names, shape_and_slices=specs, tensors=tensors)
            )
    merge(prefix, pieces)
    return prefix


def first_format(folder: str) -> str:
    """The format of TensorFlow before 0.12: one file, without an index."""
    values, prefix = masked_values(), os.path.join(folder, "model.ckpt-9")
    with tf.Graph().as_default(), tf.Session() as session:
        variables = {name: tf.Variable(value, name=name) for name, value in values.items()}
        session.run(tf.global_variables_initializer())
        saver = tf.train.Saver(variables, write_version=tf.train.SaverDef.V1)
        return str(saver.save(session, prefix, write_meta_graph=False))


def object_based(folder: str) -> str:
    """tf.train.Checkpoint of objects with resource variables; a string tensor says which key is whose."""
    values = masked_values()
    with tf.Graph().as_default(), tf.Session() as session:
        root = tf.train.Checkpoint()
        root.layer = tf.train.Checkpoint()
        for name in ("kernel", "mask", "threshold"):
            setattr(root.layer, name, tf.Variable(values[f"layer/{name}"], name=f"layer/{name}", use_resource=True))
        session.run(tf.global_variables_initializer())
        return str(root.save(os.path.join(folder, "model.ckpt"), session))


KINDS: Dict[str, Callable[[str], str]] = {
    kind.__name__: kind for kind in (single, sharded, every_type, partitioned, first_format)
}
