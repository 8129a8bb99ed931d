"""One process of a cluster: `python -m tests.distribution.member REQUEST`, its task in TF_CONFIG.

It trains, or evaluates, a small model by `train_and_evaluate`, and writes a line of JSON for every step that it takes:
the global step, and a digest of the masks that it sees.
"""

import glob
import hashlib
import json
import os
import re
import sys
import time
from typing import Any, Dict, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker import PruningSpec, auto_mask

SHAPES = {"first/kernel": (20, 64), "second/kernel": (64, 10)}
BATCH = 8
TRACED = 5


class Request(NamedTuple):
    """What a cluster is to do.

    Attributes:
        folder: the model_dir.
        steps: global steps to train.
        spec: keywords of the PruningSpec; None trains the dense model.
        sync: whether workers add up their gradients, by SyncReplicasOptimizer.
        workers: that train, the chief included.
        partitions: how many parts each weight has.
        trace: step from which on a process writes what it is sent and sends, in bytes, for `TRACED` steps; -1 for none.
        pause: seconds to wait after each step.
        save_steps: between checkpoints.
        strategy: name of a class of tf.distribute.experimental that trains; empty for none.
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
    strategy: str = ""


def say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def uneven(shape: Any, dtype: Any = tf.float32, partition_info: Any = None) -> Any:
    """Initializes the first part of a weight with values that are much larger than those of the others."""
    is_first = partition_info is None or not any(partition_info.var_offset)
    return tf.random_uniform(shape, -1.0, 1.0, dtype) * (0.3 if is_first else 0.03)


def model_fn(features: Any, labels: Any, mode: str, params: Request) -> Any:
    """Two dense layers, their weights partitioned if asked for."""
    partitioner = tf.fixed_size_partitioner(params.partitions) if params.partitions > 1 else None
    with tf.variable_scope("", partitioner=partitioner, initializer=uneven if partitioner else None):
        hidden = tf.layers.dense(features, 64, tf.nn.relu, use_bias=False, name="first")
        logits = tf.layers.dense(hidden, 10, name="second")
    if mode == tf.estimator.ModeKeys.PREDICT:
        return tf.estimator.EstimatorSpec(mode, {"logits": logits})
    loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
    train_op, hooks = None, []
    if mode == tf.estimator.ModeKeys.TRAIN:
        # What is uneven is to stay so, however stale the gradients of other workers are.
        optimizer = tf.train.MomentumOptimizer(0.05 if params.partitions == 1 else 0.002, 0.9)
        if params.sync:
            optimizer = tf.train.SyncReplicasOptimizer(optimizer, params.workers, params.workers)
            is_chief = task()["type"] == "chief"
            hooks.append(optimizer.make_session_run_hook(is_chief))
        train_op = optimizer.minimize(loss, tf.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, {"logits": logits}, loss, train_op, training_hooks=hooks)


def task() -> Dict[str, Any]:
    """Returns type and index of this process in its cluster."""
    found: Dict[str, Any] = json.loads(os.environ.get("TF_CONFIG") or os.environ["CLUSTER"])["task"]
    return found


def batches(kind: str, index: int) -> Any:
    """Returns batches that differ from task to task."""
    random = np.random.RandomState(index + 10 * (kind == "worker"))
    images, labels = random.rand(64, 20).astype(np.float32), random.randint(0, 10, 64)
    return tf.data.Dataset.from_tensor_slices((images, labels)).repeat().batch(BATCH)


class Look(tf.train.SessionRunHook):
    """Tells of the graph, and of every step."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def begin(self) -> None:
        graph = tf.get_default_graph()
        operations = graph.get_operations()
        self._step = tf.train.get_global_step()
        found = [op.outputs[0] for op in operations if op.name == "model_pruning/last_mask_update_step"]
        self._last = [
            tf.raw_ops.ReadVariableOp(resource=item, dtype=tf.int32) if item.dtype == tf.resource else item
            for item in found
        ]
        self._masks = {mask.op.name: mask.read_value() for mask in graph.get_collection("masks")}
        self._known = -1
        self._traced = TRACED if self._request.trace < 0 else 0

    def after_create_session(self, session: Any, coord: Any) -> None:
        """The chief waits for all workers: it would be done before a slow one has started."""
        del coord
        operations = session.graph.get_operations()
        places = {op.name: op.device for op in operations if re.search("kernel|weights|mask|global_step", op.name)}
        say(places=places, updates=[op.name for op in operations if op.name.startswith("model_pruning/update")])
        name = f"{self._request.folder}.worker-"
        if task()["type"] == "worker":
            open(f"{name}{task()['index']}", "w").close()
        end = time.time() + 120
        while task()["type"] == "chief" and len(glob.glob(f"{name}*")) < self._request.workers - 1:
            assert time.time() < end, "workers have not come"
            time.sleep(0.05)

    def before_run(self, run_context: Any) -> Any:
        options = None
        if self._traced < TRACED and self._known >= self._request.trace:
            options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
        return tf.train.SessionRunArgs(self._step, options=options)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        if run_values.options.trace_level == tf.RunOptions.FULL_TRACE:
            self._traced += 1
            say(**traffic(run_values.run_metadata))
        run, before, last = run_context.session.run, None, run_context.session.run(self._last)
        while before != last:
            # An update writes masks first, and its step last: these are of the step, or of an update under way.
            before = last
            step, masks = run([self._step, self._masks])
            last = run(self._last)
        self._known = int(step)
        say(step=self._known, masks=digest(masks), sparsity=sparsity(masks), last=[int(value) for value in last])
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


def traffic(metadata: Any) -> Dict[str, Dict[str, int]]:
    """Returns the bytes of every tensor that this process was sent, and that it sent, in a traced step, by its name."""
    here = f"/job:{task()['type']}/replica:0/task:{task()['index']}/"
    found: Dict[str, Dict[str, int]] = {"received": {}, "sent": {}}
    label = re.compile(r"\[(\d+)B\] \[\S+\] edge_\d+_(\S+) from (\S+) to (\S+)")
    for device in metadata.step_stats.dev_stats:
        for node in device.node_stats:
            if node.node_name != "RecvTensor":
                continue
            size, name, source, target = label.search(node.timeline_label).groups()
            if source.startswith(here) != target.startswith(here):
                sums = found["received" if target.startswith(here) else "sent"]
                sums[name] = sums.get(name, 0) + int(size)
    return found


def session_config() -> Any:
    """Sees parameter servers alone, as an Estimator has it by default, so that no worker waits for another one."""
    filters = {"chief": ["/job:ps", "/job:chief"], "worker": ["/job:ps", f"/job:worker/task:{task()['index']}"]}
    return tf.ConfigProto(
        intra_op_parallelism_threads=1, inter_op_parallelism_threads=2, device_filters=filters.get(task()["type"])
    )


def ask_often() -> None:
    """Workers ask every half second whether the chief has made all variables ready; TensorFlow has them wait for 30."""
    original = tf.train.SessionManager.__init__

    def impatient(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **{"recovery_wait_secs": 0.5, **kwargs})

    tf.train.SessionManager.__init__ = impatient


def main() -> None:
    request = Request(**json.loads(sys.argv[1]))
    ask_often()
    strategy = getattr(tf.distribute.experimental, request.strategy)() if request.strategy else None
    config = tf.estimator.RunConfig(
        request.folder,
        keep_checkpoint_max=3,
        tf_random_seed=1,
        save_checkpoints_steps=request.save_steps,
        log_step_count_steps=None,
        experimental_max_worker_delay_secs=0,
        session_config=session_config(),
        train_distribute=strategy,
    )
    function = model_fn if request.spec is None else auto_mask(model_fn, PruningSpec(**request.spec))
    estimator = tf.estimator.Estimator(function, config=config, params=request)

    def input_fn() -> Any:
        return batches(task()["type"], task()["index"])

    train = tf.estimator.TrainSpec(input_fn, max_steps=request.steps, hooks=[Look(request)])
    evaluate = tf.estimator.EvalSpec(input_fn, steps=2, start_delay_secs=0, throttle_secs=0)
    tf.estimator.train_and_evaluate(estimator, train, evaluate)
    say(done=True)


if __name__ == "__main__":
    main()
