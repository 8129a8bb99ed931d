"""A small net on fixed data, the ways in which it can be trained, and the oracle that each is compared with."""

from typing import Any, Dict

import tensorflow.compat.v1 as tf

from graph_masker import PruningSpec, mask_graph
from tests.helpers.running import initialize, normal_value, single_threaded, variables_by_name

STEPS = 12
SPEC = PruningSpec(target_sparsity=0.75, begin_step=2, end_step=10, frequency=3)
KERNELS = ("conv/kernel", "dense/kernel")
STATE = ("conv/mask", "conv/threshold", "dense/mask", "dense/threshold")
CONFIG = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)

Values = Dict[str, Any]


def value_of(name: str) -> Any:
    """An initializer whose values depend on the name alone, whatever else a graph holds."""

    def initializer(shape: Any, dtype: Any = tf.float32, partition_info: Any = None) -> Any:
        dims = tf.TensorShape(shape).as_list()
        return tf.constant(0.3 * normal_value(name, dims), dtype)

    return initializer


def logits(images: Any) -> Any:
    """The net, [8, 6, 6, 3] -> [8, 4]."""
    net = tf.layers.conv2d(images, 4, 3, activation=tf.nn.relu, name="conv", kernel_initializer=value_of("conv"))
    return tf.layers.dense(tf.layers.flatten(net), 4, name="dense", kernel_initializer=value_of("dense"))


def images() -> Any:
    """The data."""
    return tf.constant(normal_value("images", [8, 6, 6, 3]))


def loss() -> Any:
    """The net's loss."""
    return tf.losses.mean_squared_error(normal_value("labels", [8, 4]), logits(images()))


def optimizer() -> Any:
    """What all ways train with."""
    return tf.train.MomentumOptimizer(0.1, 0.9)


def trained(values: Values) -> Values:
    """Returns what every way of training is to end with, however it calls its steps."""
    return {name: values[name] for name in (*KERNELS, *STATE, "dense/bias", "dense/kernel/Momentum")}


def all_values(session: Any) -> Values:
    """Returns the values of all variables."""
    return dict(session.run(variables_by_name(session.graph)))


def oracle(spec: PruningSpec = SPEC, steps: int = STEPS) -> Values:
    """Trains with a mask update that is run by its own name: a graph masked after its gradients were built."""
    with tf.Graph().as_default() as graph:
        value = loss()
        train_op = optimizer().minimize(value, tf.train.get_or_create_global_step())
        masker = mask_graph(graph, spec, losses=[value])
        with single_threaded(graph) as session:
            initialize(session)
            for _ in range(steps):
                session.run([train_op, masker.update_op])
            return all_values(session)
