"""Image classifiers of slim from pip, unchanged: as they are, and with contrib's masked layers in their place."""

import contextlib
import importlib
from typing import Any, Iterator, List, NamedTuple, Sequence

import tensorflow.compat.v1 as tf

import graph_masker
from benchmarks.engine.specs import FREQUENCY, spec

CLASSES = 1001
SIDE = 224  # pixels

Shape = Sequence[int]


class Net(NamedTuple):
    """A net by its short name: its module, and the module's functions that build it and its arg scope."""

    name: str
    title: str
    module: str
    function: str
    arg_scope_module: str
    arg_scope: str


NETS = (
    Net("inception_v2", "Inception V2", "inception_v2", "inception_v2", "inception_v2", "inception_v2_arg_scope"),
    Net("resnet_v1_50", "ResNet-50 V1", "resnet_v1", "resnet_v1_50", "resnet_utils", "resnet_arg_scope"),
    Net("mobilenet_v1", "MobileNet V1", "mobilenet_v1", "mobilenet_v1", "mobilenet_v1", "mobilenet_v1_arg_scope"),
)


def net_named(name: str) -> Net:
    """Returns the net of a name."""
    return next(net for net in NETS if net.name == name)


def loss_of(net: Net, images: Any, labels: Any) -> Any:
    """Builds a net in training mode and returns its loss, weight decay included.

    Args:
        net: which.
        images: float32 [batch, side, side, 3].
        labels: int32 [batch].
    """
    from tensorflow.contrib import slim

    module = importlib.import_module(f"nets.{net.module}")
    arg_scope = getattr(importlib.import_module(f"nets.{net.arg_scope_module}"), net.arg_scope)
    with slim.arg_scope(arg_scope()):
        logits, _ = getattr(module, net.function)(images, CLASSES, is_training=True)
    tf.losses.sparse_softmax_cross_entropy(labels, tf.reshape(logits, [-1, CLASSES]))
    return tf.losses.get_total_loss()


def minimize(loss: Any) -> Any:
    """Returns the train op: momentum, as in slim's own training script, and the updates of batch normalization."""
    step = tf.train.get_or_create_global_step()
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        return tf.train.MomentumOptimizer(0.001, 0.9).minimize(loss, step)


@contextlib.contextmanager
def contribs_layers() -> Iterator[None]:
    """While open, nets that ask slim for a layer get the masked one of tf.contrib.model_pruning."""
    from tensorflow.contrib import model_pruning, slim

    masked = {"conv2d": model_pruning.masked_conv2d, "fully_connected": model_pruning.masked_fully_connected}
    plain = {name: getattr(slim, name) for name in masked}
    try:
        for name, layer in masked.items():
            setattr(slim, name, layer)
        yield
    finally:
        for name, layer in plain.items():
            setattr(slim, name, layer)


def weight_shapes(net: Net) -> List[Shape]:
    """Returns the shapes of the weights that graph_masker masks in a net."""
    with tf.Graph().as_default() as graph:
        loss = loss_of(net, tf.placeholder(tf.float32, [1, SIDE, SIDE, 3]), tf.placeholder(tf.int32, [1]))
        plan = graph_masker.plan_graph(graph, spec(0, FREQUENCY), losses=[loss])
        return [list(site.shape) for site in plan.sites]
