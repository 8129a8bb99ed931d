"""Training steps of a net as it is, masked by graph_masker, and built of contrib's masked layers, by turns."""

import time
from typing import Any, Callable, Dict, List, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

import graph_masker
from benchmarks.engine.nets import CLASSES, SIDE, Net, contribs_layers, loss_of, minimize, net_named
from benchmarks.engine.sessions import session_for
from benchmarks.engine.specs import FREQUENCY, contribs_pruning, spec
from benchmarks.engine.turns import by_turns

LAST_UPDATE = "model_pruning/last_mask_update_step:0"


class Trained(NamedTuple):
    """A net's session and what a step runs; `update` is what contrib runs after each step."""

    session: Any
    loss: Any
    train: Any
    update: Any = None


def measure(net: str, batch: int, blocks: int) -> Dict[str, Any]:
    """Times training in blocks of `FREQUENCY` rounds, the last of which updates the masks.

    One block comes first, untimed. A round is a step of each.

    Args:
        net: its name.
        batch: images per step.
        blocks: how many are timed.

    Returns:
        seconds of each step, by ``dense``, ``dense again``, ``ours``, ``contrib`` and, apart, ``contrib update``, and
        numbers of masks.

    Raises:
        RuntimeError: masks were not updated when they were due, or training diverged.
    """
    chosen = net_named(net)
    dense, ours, contrib = _dense(chosen, batch), _ours(chosen, batch), _contribs(chosen, batch)
    updates: List[float] = []

    def contribs_turn() -> None:
        contrib.session.run(contrib.train)
        start = time.perf_counter()
        contrib.session.run(contrib.update)
        updates.append(time.perf_counter() - start)

    runs: Dict[str, Callable[[], object]] = {
        "dense": lambda: dense.session.run(dense.train),
        # The same once more, to see how far two of the same differ.
        "dense again": lambda: dense.session.run(dense.train),
        "ours": lambda: ours.session.run(ours.train),
        "contrib": contribs_turn,
    }
    by_turns(runs, FREQUENCY)
    updates.clear()
    seconds = by_turns(runs, blocks * FREQUENCY)
    seconds["contrib"] = [both - update for both, update in zip(seconds["contrib"], updates)]
    seconds["contrib update"] = updates
    _check(dense, None)
    for masked in (ours, contrib):
        _check(masked, (blocks + 1) * FREQUENCY)
    masks = {
        name: len(made.loss.graph.get_collection("masks")) for name, made in (("ours", ours), ("contrib", contrib))
    }
    return {"seconds": seconds, "masks": masks}


def _dense(net: Net, batch: int) -> Trained:
    with tf.Graph().as_default() as graph:
        return _trained(graph, _built(_model_fn(net), batch))


def _ours(net: Net, batch: int) -> Trained:
    masked = graph_masker.auto_mask(_model_fn(net), spec(FREQUENCY, FREQUENCY))
    with tf.Graph().as_default() as graph:
        return _trained(graph, _built(masked, batch))


def _contribs(net: Net, batch: int) -> Trained:
    with tf.Graph().as_default() as graph:
        with contribs_layers():
            built = _built(_model_fn(net), batch)
        return _trained(graph, built, contribs_pruning(FREQUENCY, FREQUENCY).conditional_mask_update_op())


def _model_fn(net: Net) -> Callable[..., Any]:
    def model_fn(features: Any, labels: Any, mode: Any) -> Any:
        loss = loss_of(net, features, labels)
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=minimize(loss))

    return model_fn


def _built(model_fn: Callable[..., Any], batch: int) -> Any:
    """Calls a model_fn with one batch of noise, the same for all."""
    random = np.random.RandomState(0)
    images = random.uniform(-1, 1, [batch, SIDE, SIDE, 3]).astype(np.float32)
    labels = random.randint(CLASSES, size=batch).astype(np.int32)
    return model_fn(features=tf.constant(images), labels=tf.constant(labels), mode=tf.estimator.ModeKeys.TRAIN)


def _trained(graph: Any, built: Any, update: Any = None) -> Trained:
    # The op alone: fetching a value would copy it out.
    train = getattr(built.train_op, "op", built.train_op)
    return Trained(session_for(graph), built.loss, train, update)


def _check(trained: Trained, last_update: Any) -> None:
    loss = trained.session.run(trained.loss)
    if not np.isfinite(loss):
        raise RuntimeError(f"training: expected a finite loss, found {loss}; what was timed is no training")
    if last_update is not None:
        found = trained.session.run(LAST_UPDATE)
        if found != last_update:
            raise RuntimeError(f"training: expected the last update at step {last_update}, found it at {found}")
