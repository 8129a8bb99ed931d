"""Strips a masked, frozen net by turns: graph_masker on the protocol buffer, contrib's tool by a session."""

import importlib
import os
import tempfile
from typing import Any, Dict, List, NamedTuple, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from benchmarks.engine.nets import CLASSES, SIDE, Net
from benchmarks.engine.turns import by_turns
from graph_masker import PruningSpec, mask_graph, strip_model
from graph_masker.files.sizes import raw_and_gzipped
from graph_masker.unmasking import strip_graph

SPARSITY = 0.9


class Cost(NamedTuple):
    """What was measured of one net.

    Attributes:
        title: of the net.
        masks: number of masked weights.
        seconds: of each round, by what was timed: ``ours`` and ``contrib``, from GraphDef to GraphDef; the same with
            ``, files`` from file to file.
        masked, plain: bytes of the files, raw and gzipped.
    """

    title: str
    masks: int
    seconds: Dict[str, List[float]]
    masked: Tuple[int, int]
    plain: Tuple[int, int]


def measure(net: Net, rounds: int) -> Cost:
    """Strips a net in each round by both, and checks that they give the same bits.

    Raises:
        RuntimeError: they do not.
    """
    from tensorflow.contrib.model_pruning.python.strip_pruning_vars_lib import strip_pruning_vars_fn

    content, masks = frozen(net)
    with tempfile.TemporaryDirectory() as folder:
        source, ours, theirs = (os.path.join(folder, name) for name in ("masked.pb", "ours.pb", "theirs.pb"))
        with open(source, "wb") as stream:
            stream.write(content)
        # Stripped in place, so that each round has its own.
        parsed = iter([tf.GraphDef.FromString(content) for _ in range(rounds)])
        masked = tf.GraphDef.FromString(content)

        def contribs_files() -> None:
            with open(source, "rb") as stream:
                stripped = strip_pruning_vars_fn(tf.GraphDef.FromString(stream.read()), ["output"])
            with open(theirs, "wb") as stream:
                stream.write(stripped.SerializeToString())

        seconds = by_turns(
            {
                "ours": lambda: strip_graph(next(parsed)),
                "contrib": lambda: strip_pruning_vars_fn(masked, ["output"]),
                "ours, files": lambda: strip_model(source, ours, overwrite=True),
                "contrib, files": contribs_files,
            },
            rounds,
        )
        _check(ours, theirs)
        return Cost(net.title, masks, seconds, raw_and_gzipped([source]), raw_and_gzipped([ours]))


def frozen(net: Net) -> Tuple[bytes, int]:
    """Returns a net for inference, masked to `SPARSITY` and frozen, as a serialized GraphDef; and how many masks."""
    from tensorflow.contrib import slim

    module = importlib.import_module(f"nets.{net.module}")
    arg_scope = getattr(importlib.import_module(f"nets.{net.arg_scope_module}"), net.arg_scope)
    random = np.random.RandomState(0)
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [1, SIDE, SIDE, 3], name="images")
        with slim.arg_scope(arg_scope()):
            logits, _ = getattr(module, net.function)(images, CLASSES, is_training=False)
        output = tf.identity(logits, "output")
        masker = mask_graph(graph, PruningSpec(SPARSITY, 0, 1), outputs=[output])
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            for mask in masker.masks.values():
                kept = random.uniform(size=mask.shape.as_list()) > SPARSITY
                mask.load(kept.astype(np.float32), session)
            found = tf.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["output"])
    return found.SerializeToString(), len(masker.masks)


def _check(ours: str, theirs: str) -> None:
    """Both hold the same weights, under other names, and predict the same, bit for bit."""
    found, weights = [], []
    for path in (ours, theirs):
        with open(path, "rb") as stream:
            graph_def = tf.GraphDef.FromString(stream.read())
        weights.append(sorted(_content(node) for node in graph_def.node if node.op == "Const"))
        images = np.random.RandomState(1).normal(size=[1, SIDE, SIDE, 3])
        with tf.Graph().as_default():
            tf.import_graph_def(graph_def, name="")
            with tf.Session() as session:
                found.append(session.run("output:0", {"images:0": images}))
    if weights[0] != weights[1]:
        raise RuntimeError("the stripped graphs hold other constants")
    if found[0].tobytes() != found[1].tobytes():
        raise RuntimeError("the stripped graphs predict otherwise")


def _content(node: Any) -> bytes:
    value: bytes = tf.make_ndarray(node.attr["value"].tensor).tobytes()
    return value
