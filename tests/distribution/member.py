"""One process of a cluster: `python -m tests.distribution.member REQUEST`, its task in TF_CONFIG.

It trains, or evaluates, a small model by `train_and_evaluate`, and writes a line of JSON for every step that it takes:
the global step, and a digest of the masks that it sees.
"""

import hashlib
import json
import sys
from typing import Any, Dict, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker import PruningSpec, auto_mask

SHAPES = {"first/kernel": (20, 64), "second/kernel": (64, 10)}
BATCH = 8


class Request(NamedTuple):
    """What a cluster is to do.

    Attributes:
        folder: the model_dir.
        steps: global steps to train.
        spec: keywords of the PruningSpec; None trains the dense model.
        sync: whether workers add up their gradients, by SyncReplicasOptimizer.
        workers: that train, the chief included.
        partitions: how many parts each weight has.
        trace: step at which a worker writes what it receives from others, in bytes; -1 for none.
        pause: seconds to wait after each step.
        save_steps: between checkpoints.
    """

    folder: str
    steps: int
    spec: Any
    sync: bool = False
    workers: int = 1
    partitions: int = 1
    trace: int = -1
    pause: float = 0.0
    save_steps: int = 20


def say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def model_fn(features: Any, labels: Any, mode: str, params: Request) -> Any:
    """Two dense layers, their weights partitioned if asked for."""
    partitioner = tf.fixed_size_partitioner(params.partitions) if params.partitions > 1 else None
    with tf.variable_scope("", partitioner=partitioner):
        hidden = tf.layers.dense(features, 64, tf.nn.relu, name="first")
        logits = tf.layers.dense(hidden, 10, name="second")
    if mode == tf.estimator.ModeKeys.PREDICT:
        return tf.estimator.EstimatorSpec(mode, {"logits": logits})
    loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
    train_op, hooks = None, []
    if mode == tf.estimator.ModeKeys.TRAIN:
        optimizer = tf.train.MomentumOptimizer(0.05, 0.9)
        if params.sync:
            optimizer = tf.train.SyncReplicasOptimizer(optimizer, params.workers, params.workers)
            is_chief = json.loads(tf_config())["task"]["type"] == "chief"
            hooks.append(optimizer.make_session_run_hook(is_chief))
        train_op = optimizer.minimize(loss, tf.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, {"logits": logits}, loss, train_op, training_hooks=hooks)


def tf_config() -> str:
    import os

    return os.environ.get("TF_CONFIG", '{"task": {"type": "chief"}}')


def input_fn() -> Any:
    """Batches that differ from task to task."""
    task = json.loads(tf_config())["task"]
    random = np.random.RandomState(task.get("index", 0) + 10 * (task["type"] == "worker"))
    images, labels = random.rand(64, 20).astype(np.float32), random.randint(0, 10, 64)
    return tf.data.Dataset.from_tensor_slices((images, labels)).repeat().batch(BATCH)


class Look(tf.train.SessionRunHook):
    """Tells of every step."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def begin(self) -> None:
        graph = tf.get_default_graph()
        self._step = tf.train.get_global_step()
        self._last = [v for v in tf.global_variables() if v.op.name == "model_pruning/last_mask_update_step"]
        self._masks = {v.op.name: v.read_value() for v in graph.get_collection("masks")}
        self._traced = False

    def before_run(self, run_context: Any) -> Any:
        options = None
        if self._request.trace >= 0 and not self._traced:
            options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
        return tf.train.SessionRunArgs(self._step, options=options)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        import time

        step = int(run_values.results)
        if self._request.trace >= 0 and step >= self._request.trace and not self._traced:
            self._traced = True
            say(received=received(run_values.run_metadata))
        values = run_context.session.run([self._masks, self._last])
        say(step=step, masks=digest(values[0]), sparsity=sparsity(values[0]), last=[int(v) for v in values[1]])
        time.sleep(self._request.pause)


def digest(masks: Dict[str, Any]) -> str:
    """Returns what differs wherever a bit of the masks does."""
    found = hashlib.sha256()
    for name in sorted(masks):
        found.update(name.encode() + masks[name].tobytes())
    return found.hexdigest()[:16]


def sparsity(masks: Dict[str, Any]) -> float:
    """Returns the fraction of zeros in all masks."""
    size = sum(mask.size for mask in masks.values())
    return 1 - sum(float(mask.sum()) for mask in masks.values()) / size if size else 0.0


def received(metadata: Any) -> Dict[str, int]:
    """Returns the bytes of every tensor that came from another process in a traced step, by its name."""
    found: Dict[str, int] = {}
    for device in metadata.step_stats.dev_stats:
        for node in device.node_stats:
            if node.node_name == "RecvTensor":
                found[f"{device.device} {node.timeline_label}"] = 0
    return found


def main() -> None:
    tf.logging.set_verbosity(tf.logging.INFO)
    request = Request(**json.loads(sys.argv[1]))
    config = tf.estimator.RunConfig(
        request.folder,
        tf_random_seed=1,
        save_checkpoints_steps=request.save_steps,
        log_step_count_steps=None,
        experimental_max_worker_delay_secs=0,
        session_config=tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=2),
    )
    function = model_fn if request.spec is None else auto_mask(model_fn, PruningSpec(**request.spec))
    estimator = tf.estimator.Estimator(function, config=config, params=request)
    train = tf.estimator.TrainSpec(input_fn, max_steps=request.steps, hooks=[Look(request)])
    evaluate = tf.estimator.EvalSpec(input_fn, steps=2, start_delay_secs=0, throttle_secs=0)
    result = tf.estimator.train_and_evaluate(estimator, train, evaluate)
    say(done=True, result=str(result))


if __name__ == "__main__":
    main()
