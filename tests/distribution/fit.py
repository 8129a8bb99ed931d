"""`python -m tests.distribution.fit DEVICES`: fits a Keras model on two replicas, masked, in a session of so many CPUs.

Keras makes its own session, with the devices that are configured before TensorFlow starts. It writes one line of JSON.
"""

import json
import sys
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker import PruningSpec, masking

SPEC = {"target_sparsity": 0.75, "begin_step": 1, "end_step": 4, "frequency": 1}
SHAPES = {"first/kernel": (6, 8), "second/kernel": (8, 3)}
REPLICAS = 2
BATCH = 8
REFUSED = "colocated with a group of nodes that required incompatible device"


def configure(devices: int) -> None:
    """Gives the sessions of Keras a number of CPU devices."""
    kind = tf.config.experimental.VirtualDeviceConfiguration
    cpu = tf.config.experimental.list_physical_devices("CPU")[0]
    tf.config.experimental.set_virtual_device_configuration(cpu, [kind() for _ in range(devices)])


def built() -> Any:
    """Builds and compiles a model."""
    layers = [tf.keras.layers.Dense(8, input_shape=(6,), name="first"), tf.keras.layers.Dense(3, name="second")]
    model = tf.keras.Sequential(layers)
    model.compile(tf.keras.optimizers.SGD(0.01), "mse")
    return model


def fitted() -> None:
    """Fits a model in the default graph."""
    random = np.random.RandomState(0)
    images, targets = random.rand(64, 6).astype(np.float32), random.rand(64, 3).astype(np.float32)
    with tf.distribute.MirroredStrategy([f"/cpu:{number}" for number in range(REPLICAS)]).scope():
        model = built()
    dataset = tf.data.Dataset.from_tensor_slices((images, targets)).repeat().batch(BATCH)
    model.fit(dataset, steps_per_epoch=4, epochs=2, verbose=0)


def refused_dense() -> bool:
    """Tells whether, without any masking, a variable beside one of a fitted model's second replica cannot be placed."""
    with tf.Graph().as_default() as graph:
        fitted()
        weight = graph.get_operation_by_name("first/kernel/replica_1")
        with tf.colocate_with(weight, ignore_existing=True):
            variable = tf.get_variable("beside", [], use_resource=True)
        try:
            tf.keras.backend.get_session().run(variable.initializer)
        except tf.errors.InvalidArgumentError as error:
            return REFUSED in error.message
    return False


def masks() -> Any:
    """Returns the masks of a model fitted under masking, or None where they cannot be placed."""
    with tf.Graph().as_default(), masking(PruningSpec(**SPEC)) as masker:
        try:
            fitted()
        except tf.errors.InvalidArgumentError as error:
            assert REFUSED in error.message
            return None
        session = tf.keras.backend.get_session()
        return {name: session.run(mask).tolist() for name, mask in masker.masks.items()}


if __name__ == "__main__":
    configure(int(sys.argv[1]))
    print(json.dumps({"masks": masks(), "refused_dense": refused_dense()}))
