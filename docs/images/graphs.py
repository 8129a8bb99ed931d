"""Draws the pictures of docs/how-it-works.md: small models before and after masking, as `graph-masker inspect` does.

    python docs/images/graphs.py [FOLDER]

Each model is built twice, the second time inside `masking`, and saved as a .meta file, which `inspect` then reads.
"""

import contextlib
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import tensorflow.compat.v1 as tf

import graph_masker
from graph_masker.cli import commands

SPEC = graph_masker.PruningSpec(target_sparsity=0.9, begin_step=0, end_step=100)


def layer() -> Any:
    """One convolution with weight decay."""
    images = tf.placeholder(tf.float32, [8, 16, 16, 3], name="images")
    kernel = tf.get_variable("conv/kernel", [3, 3, 3, 16])
    tf.add_to_collection(tf.GraphKeys.REGULARIZATION_LOSSES, tf.multiply(1e-4, tf.nn.l2_loss(kernel), name="decay"))
    net = tf.nn.conv2d(images, kernel, 1, "SAME", name="conv/Conv2D")
    return tf.reduce_mean(tf.square(net), name="data_loss") + tf.losses.get_regularization_loss()


def shared() -> Any:
    """One kernel for two levels of a pyramid, as in the box predictors of feature pyramid networks."""
    kernel = tf.get_variable("predictor/kernel", [3, 3, 8, 4])
    losses = []
    for size in (16, 8):
        level = tf.placeholder(tf.float32, [8, size, size, 8], name=f"level{size}")
        losses.append(tf.reduce_mean(tf.square(tf.nn.conv2d(level, kernel, 1, "SAME", name=f"predict{size}"))))
    return tf.add_n(losses)


def loop() -> Any:
    """A recurrent cell in a while loop: its kernel is read outside, and enters."""
    kernel = tf.get_variable("cell/kernel", [8, 8])
    _, state = tf.while_loop(
        lambda step, _: step < 5,
        lambda step, state: (step + 1, tf.tanh(tf.matmul(state, kernel, name="MatMul"))),
        (0, tf.placeholder(tf.float32, [4, 8], name="state")),
    )
    return tf.reduce_mean(tf.square(state))


def draw(build: Any, is_masked: bool, path: Path) -> None:
    """Builds a model that trains, masked or not, saves its graph and draws what reads its weight."""
    with tf.Graph().as_default(), tempfile.TemporaryDirectory() as folder:
        with graph_masker.masking(SPEC) if is_masked else contextlib.nullcontext():
            tf.train.GradientDescentOptimizer(0.1).minimize(build(), tf.train.get_or_create_global_step())
        meta = Path(folder) / "model.ckpt.meta"
        tf.train.Saver().export_meta_graph(str(meta))
        # As `graph-masker inspect META --graph PATH --overwrite`, whose tables are of no concern here.
        with contextlib.redirect_stdout(io.StringIO()):
            commands(["inspect", str(meta), "--graph", str(path), "--overwrite"], standalone_mode=False)


def main(folder: str = str(Path(__file__).parent)) -> None:
    """Draws all of them into a folder."""
    tf.logging.set_verbosity(tf.logging.ERROR)
    for build in (layer, shared, loop):
        for is_masked, when in ((False, "before"), (True, "after")):
            draw(build, is_masked, Path(folder) / f"{build.__name__}_{when}.svg")


if __name__ == "__main__":
    main(*sys.argv[1:])
