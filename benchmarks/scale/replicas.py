"""Builds and trains a net under MirroredStrategy on virtual CPU devices, as it is and masked, by turns."""

from typing import Any, Dict, List, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

import graph_masker
from benchmarks.engine.nets import CLASSES, loss_of, minimize, net_named
from benchmarks.engine.sessions import THREADS
from benchmarks.engine.specs import FREQUENCY, spec
from benchmarks.engine.turns import by_turns

SIDE = 128  # pixels; devices that share two cores get slow enough with these
LAST_UPDATE = "model_pruning/last_mask_update_step/Read/ReadVariableOp:0"


class Built(NamedTuple):
    """A graph, the op that trains all replicas, and how many masks it has, copies included."""

    graph: Any
    train: Any
    masks: int


def measure(net: str, replicas: int, batch: int, builds: int, blocks: int) -> Dict[str, Any]:
    """Times building, and then training in blocks of `FREQUENCY` steps, the last of which updates the masks.

    The first build of each, and the first block, are not timed.

    Args:
        net: its name.
        replicas: how many devices.
        batch: images per replica and step.
        builds: how often each graph is built.
        blocks: how many blocks of steps are timed.

    Returns:
        seconds of each build and of each step, by ``dense`` and ``masked``, and the number of masks on all devices.

    Raises:
        RuntimeError: masks were not updated when they were due.
    """
    built: Dict[str, Built] = {}

    def build(name: str) -> None:
        built[name] = _build(net, replicas, batch, name == "masked")

    runs = {name: lambda name=name: build(name) for name in ("dense", "masked")}
    by_turns(runs, 1)
    building = by_turns(runs, builds)
    sessions = {name: _session(item, replicas) for name, item in built.items()}
    steps = {name: lambda name=name: sessions[name].run(built[name].train) for name in runs}
    by_turns(steps, FREQUENCY)
    training = by_turns(steps, blocks * FREQUENCY)
    last = sessions["masked"].run(LAST_UPDATE)
    if last != (blocks + 1) * FREQUENCY:
        raise RuntimeError(f"expected the last update at step {(blocks + 1) * FREQUENCY}, found it at {last}")
    return {"building": building, "training": training, "masks": built["masked"].masks}


def _build(net: str, replicas: int, batch: int, masked: bool) -> Built:
    random = np.random.RandomState(0)
    images = random.uniform(-1, 1, [batch, SIDE, SIDE, 3]).astype(np.float32)
    labels = random.randint(CLASSES, size=batch).astype(np.int32)

    def model_fn(features: Any, labels: Any, mode: Any) -> Any:
        loss = loss_of(net_named(net), features, labels)
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=minimize(loss))

    function = graph_masker.auto_mask(model_fn, spec(FREQUENCY, FREQUENCY)) if masked else model_fn

    def replica() -> Any:
        built = function(features=tf.constant(images), labels=tf.constant(labels), mode=tf.estimator.ModeKeys.TRAIN)
        return getattr(built.train_op, "op", built.train_op)

    with tf.Graph().as_default() as graph:
        strategy = tf.distribute.MirroredStrategy([f"/cpu:{index}" for index in range(replicas)])
        with strategy.scope():
            tf.train.get_or_create_global_step()
            ops: List[Any] = strategy.experimental_local_results(strategy.extended.call_for_each_replica(replica))
        return Built(graph, tf.group(*ops), len(graph.get_collection("masks")))


def _session(built: Built, replicas: int) -> Any:
    config = tf.ConfigProto(
        device_count={"CPU": replicas}, intra_op_parallelism_threads=THREADS, inter_op_parallelism_threads=THREADS
    )
    session = tf.Session(graph=built.graph, config=config)
    with built.graph.as_default():
        session.run(tf.global_variables_initializer())
    return session
