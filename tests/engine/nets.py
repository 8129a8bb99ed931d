"""A small net that graph_masker masks, in each of its ways, and a session in which it trains step by step."""

import contextlib
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker import mask_graph
from graph_masker.estimator import auto_mask
from graph_masker.spec import PruningSpec
from tests.helpers.running import initialize, single_threaded, variables_by_name

CONV, DENSE = "conv/kernel", "dense/kernel"
WEIGHTS = (CONV, DENSE)
BATCH = (4, 6, 6, 2)

Values = Dict[str, Any]


def momentum() -> Any:
    """The optimizer of most tests."""
    return tf.train.MomentumOptimizer(0.05, 0.9)


def descent() -> Any:
    """One without slots."""
    return tf.train.GradientDescentOptimizer(0.1)


@dataclass(frozen=True)
class Net:
    """A convolution and a dense layer, with weight decay on the dense one.

    Attributes:
        dtype: of everything.
        use_resource: kind of the variables.
        optimizer: made anew for each graph.
        clipped: whether gradients are clipped by their global norm.
        summarized: whether summaries of the gradients are built.
    """

    dtype: Any = tf.float32
    use_resource: bool = False
    optimizer: Callable[[], Any] = momentum
    clipped: bool = False
    summarized: bool = False

    def loss(self, batch: Any) -> Tuple[Any, Any]:
        """Returns the data's loss and the penalty."""
        images = tf.cast(batch, self.dtype)
        with tf.variable_scope(tf.get_variable_scope(), use_resource=self.use_resource, dtype=self.dtype):
            hidden = tf.layers.conv2d(images, 4, 3, activation=tf.tanh, name="conv")
            logits = tf.layers.dense(tf.layers.flatten(hidden), 3, name="dense")
            with tf.variable_scope("dense", reuse=True):
                penalty = tf.cast(0.01, self.dtype) * tf.nn.l2_loss(tf.get_variable("kernel"))
        return tf.reduce_mean(tf.square(logits - 1.0)), penalty

    def minimize(self, loss: Any) -> Any:
        """Returns the train op."""
        optimizer = self.optimizer()
        pairs = optimizer.compute_gradients(loss)
        if self.clipped:
            clipped, _ = tf.clip_by_global_norm([gradient for gradient, _ in pairs], 0.5)
            pairs = [(gradient, variable) for gradient, (_, variable) in zip(clipped, pairs)]
        if self.summarized:
            for gradient, variable in pairs:
                tf.summary.histogram(f"{variable.op.name}/gradient", gradient)
                tf.summary.scalar(f"{variable.op.name}/norm", tf.norm(gradient))
        return optimizer.apply_gradients(pairs, tf.train.get_or_create_global_step())


def before_gradients(net: Net, spec: PruningSpec) -> Any:
    """Masks through `auto_mask`; returns what a training step runs."""

    def model_fn(features: Any, mode: Any) -> Any:
        tf.train.get_or_create_global_step()
        loss = tf.add_n(net.loss(features))
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=net.minimize(loss))

    batch = tf.placeholder(tf.float32, BATCH, name="batch")
    return auto_mask(model_fn, spec)(batch, mode=tf.estimator.ModeKeys.TRAIN).train_op


def after_gradients(net: Net, spec: PruningSpec) -> Any:
    """Masks through `mask_graph`, when gradients and train op are there."""
    tf.train.get_or_create_global_step()
    loss = tf.add_n(net.loss(tf.placeholder(tf.float32, BATCH, name="batch")))
    train_op = net.minimize(loss)
    masker = mask_graph(tf.get_default_graph(), spec, losses=[loss])
    return tf.group(train_op, masker.update_op)


WAYS = {"auto_mask": before_gradients, "mask_graph": after_gradients}


def batch_of(step: int) -> Any:
    """The batch of a step."""
    return np.random.RandomState(100 + step).normal(size=BATCH).astype(np.float32)


class Training:
    """A graph being trained, one step after the other.

    Attributes:
        session: that it runs in.
        variables: of the graph, by name.
        step: the steps made.
        train_op: what a step runs.
    """

    def __init__(self, graph: Any, train_op: Any, session: Any) -> None:
        self.graph = graph
        self.session = session
        self.variables = variables_by_name(graph)
        self.step = 0
        self.train_op = train_op

    def run(self, *fetches: Any) -> List[Any]:
        """Makes a step, fetching other things in the same call."""
        self.step += 1
        return self.session.run([*fetches, self.train_op], {"batch:0": batch_of(self.step)})[:-1]

    def values(self) -> Values:
        """Returns all variables."""
        return self.session.run(self.variables)

    def steps(self, count: int) -> List[Values]:
        """Makes steps and returns all variables after each."""
        found = []
        for _ in range(count):
            self.run()
            found.append(self.values())
        return found

    def load(self, name: str, value: Any) -> None:
        """Sets a variable."""
        op = self.variables[name].initializer
        self.session.run(op, {op.inputs[1]: value})


@contextlib.contextmanager
def training(net: Net, spec: PruningSpec, way: Callable[[Net, PruningSpec], Any] = before_gradients) -> Iterator[Any]:
    """Builds a net, masks it and initializes it, always to the same values."""
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(3)
        train_op = way(net, spec)
        with single_threaded(graph) as session:
            initialize(session)
            yield Training(graph, train_op, session)


def record(net: Net, spec: PruningSpec, count: int, way: Callable[[Net, PruningSpec], Any] = before_gradients) -> Any:
    """Trains a number of steps; returns all variables before the first and after each."""
    with training(net, spec, way) as run:
        return [run.values(), *run.steps(count)]


def sparsity_of(mask: Any) -> float:
    """Fraction of zeros."""
    return 1.0 - float(np.mean(mask.astype(np.float64)))


def mask_of(weight: str) -> str:
    """Name of a weight's mask."""
    return weight.replace("kernel", "mask")


def threshold_of(weight: str) -> str:
    """Name of a weight's threshold."""
    return weight.replace("kernel", "threshold")
