"""What is trained and killed: small models, each saved in another way, on input that follows the global step.

A batch is computed from the step alone, so that a resumed run sees what the uninterrupted one saw, and no op draws
random numbers that a checkpoint does not hold.
"""

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import PruningSpec, auto_mask, masking

STEPS = 24
SAVE_STEPS = 3
KEPT = 2
# Updates at 2, 6, 10, 14, 18 and 21: some where a checkpoint is written, some between two.
SPEC = PruningSpec(
    target_sparsity=0.8,
    begin_step=2,
    end_step=21,
    frequency=4,
    rules=[{"match": "^conv/", "sparsity": 0.5}],
)
CRITERIA = PruningSpec.from_dict(
    {
        **SPEC.to_dict(),
        "rules": [{"match": "^conv/", "sparsity": 0.5, "criterion": "taylor"}, {"match": ".", "criterion": "movement"}],
    }
)
UPDATES = (2, 6, 10, 14, 18, 21)
LAST_UPDATE = "model_pruning/last_mask_update_step"


def batch(step: Any) -> Tuple[Any, Any]:
    """Returns images `[8, 6, 6, 2]` and labels `[8]`, a function of an integer scalar."""
    seed = tf.stack([tf.cast(step, tf.int64), 5])
    images = tf.random.stateless_normal([8, 6, 6, 2], seed)
    return images, tf.random.stateless_uniform([8], seed, 0, 10, tf.int32)


def current_batch() -> Tuple[Any, Any]:
    """An input_fn: the batch of the graph's global step."""
    return batch(tf.train.get_global_step())


def loss_of(images: Any, labels: Any) -> Any:
    """A convolution `[3, 3, 2, 8]`, batch norm and two dense layers, with weight decay."""
    options = {"kernel_regularizer": tf.keras.regularizers.l2(1e-3)}
    hidden = tf.layers.conv2d(images, 8, 3, name="conv", **options)
    hidden = tf.nn.relu(tf.layers.batch_normalization(hidden, training=True, name="norm"))
    hidden = tf.layers.dense(tf.layers.flatten(hidden), 40, tf.nn.relu, name="hidden", **options)
    logits = tf.layers.dense(hidden, 10, name="logits", **options)
    return tf.losses.sparse_softmax_cross_entropy(labels, logits) + tf.losses.get_regularization_loss()


def minimized(loss: Any, optimizer: Any) -> Any:
    """Returns a train_op that also moves the statistics of batch norm and, after all else, moving averages."""
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        train_op = optimizer.minimize(loss, tf.train.get_global_step())
    with tf.control_dependencies([train_op]):
        return tf.train.ExponentialMovingAverage(0.9).apply(tf.trainable_variables())


def plain(features: Any, labels: Any, mode: str) -> Any:
    """Momentum, and the saver that an Estimator makes."""
    loss = loss_of(features, labels)
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=minimized(loss, tf.train.MomentumOptimizer(0.05, 0.9)))


def own_scaffold(features: Any, labels: Any, mode: str) -> Any:
    """Adam, and a Saver and Scaffold made inside model_fn, as the Object Detection API makes them."""
    loss = loss_of(features, labels)
    train_op = minimized(loss, tf.train.AdamOptimizer(0.01))
    saver = tf.train.Saver(sharded=True, max_to_keep=KEPT)
    tf.add_to_collection(tf.GraphKeys.SAVERS, saver)
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op, scaffold=tf.train.Scaffold(saver=saver))


def early_saver(features: Any, labels: Any, mode: str) -> Any:
    """A Saver and Scaffold that are there before any gradient, and so before any mask. Not sharded."""
    loss = loss_of(features, labels)
    # What such a saver does not know is lost, pruned or not: no slots, and averages that are taken first.
    average = tf.train.ExponentialMovingAverage(0.9).apply(tf.trainable_variables())
    scaffold = tf.train.Scaffold(saver=tf.train.Saver(tf.global_variables(), max_to_keep=KEPT))
    with tf.control_dependencies([*tf.get_collection(tf.GraphKeys.UPDATE_OPS), average]):
        train_op = tf.train.GradientDescentOptimizer(0.05).minimize(loss, tf.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op, scaffold=scaffold)


def resource_variables(features: Any, labels: Any, mode: str) -> Any:
    """Adam, resource variables."""
    with tf.variable_scope(tf.get_variable_scope(), use_resource=True):
        loss = loss_of(features, labels)
        train_op = minimized(loss, tf.train.AdamOptimizer(0.01))
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)


def forgetting(features: Any, labels: Any, mode: str) -> Any:
    """The control: masked, but with a saver that leaves out the pruning state, as if it were none of its business."""
    masked = auto_mask(plain, SPEC)(features, labels, mode=mode)
    state = [v for v in tf.global_variables() if v.op.name.endswith(("mask", "threshold", "last_mask_update_step"))]
    kept = [v for v in tf.global_variables() if v not in state]
    initializer = tf.group(tf.variables_initializer(state), tf.train.Scaffold.default_local_init_op())
    saver = tf.train.Saver(kept, sharded=True, max_to_keep=KEPT)
    # It was given the state when it was made; this takes it away.
    saver._var_list, saver._is_built, saver.saver_def = kept, False, None
    saver.build()
    # Otherwise a session refuses to start on what was not restored.
    ready = tf.constant([], tf.string)
    scaffold = tf.train.Scaffold(saver=saver, local_init_op=initializer, ready_for_local_init_op=ready)
    return masked._replace(scaffold=scaffold)


@dataclass(frozen=True)
class Trained:
    """A model_fn and the spec that it is masked with; None where it masks itself."""

    model_fn: Callable[..., Any]
    spec: Optional[PruningSpec]
    # Whether its checkpoints come from the op that merges shards.
    sharded: bool = True
    # Whether it is no Estimator that trains it, but a session inside masking().
    in_session: bool = False


MODELS: Dict[str, Trained] = {
    "plain": Trained(plain, SPEC),
    "own_scaffold": Trained(own_scaffold, SPEC),
    "early_saver": Trained(early_saver, SPEC, sharded=False),
    "criteria": Trained(resource_variables, CRITERIA),
    "session": Trained(plain, SPEC, in_session=True),
    "forgetting": Trained(forgetting, None),
}


def train(name: str, model_dir: str, steps: int, hooks: List[Any], listeners: List[Any]) -> None:
    """Trains a model to a step, in a way that repeats itself exactly."""
    model = MODELS[name]
    if model.in_session:
        _train_in_session(model, model_dir, steps, hooks, listeners)
        return
    model_fn = model.model_fn if model.spec is None else auto_mask(model.model_fn, model.spec)
    estimator = tf.estimator.Estimator(model_fn, model_dir, exact_config())
    estimator.train(current_batch, max_steps=steps, hooks=hooks, saving_listeners=listeners)


def _train_in_session(model: Trained, model_dir: str, steps: int, hooks: List[Any], listeners: List[Any]) -> None:
    assert model.spec is not None
    with tf.Graph().as_default(), masking(model.spec):
        tf.set_random_seed(7)
        tf.train.create_global_step()
        train_op = model.model_fn(*current_batch(), mode="train").train_op
        scaffold = tf.train.Scaffold(saver=tf.train.Saver(sharded=True, max_to_keep=KEPT))
        with tf.train.MonitoredTrainingSession(
            checkpoint_dir=model_dir,
            scaffold=scaffold,
            hooks=[tf.train.StopAtStepHook(last_step=steps), *hooks],
            chief_only_hooks=[
                tf.train.CheckpointSaverHook(model_dir, save_steps=SAVE_STEPS, scaffold=scaffold, listeners=listeners)
            ],
            save_checkpoint_secs=None,
            save_summaries_steps=None,
            save_summaries_secs=None,
            log_step_count_steps=None,
            config=exact_config().session_config,
        ) as session:
            while not session.should_stop():
                session.run(train_op)


def exact_config() -> Any:
    """A RunConfig of one thread and one seed that writes checkpoints every few steps and keeps two."""
    session = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    return tf.estimator.RunConfig(
        tf_random_seed=7,
        session_config=session,
        save_checkpoints_steps=SAVE_STEPS,
        keep_checkpoint_max=KEPT,
        log_step_count_steps=None,
        save_summary_steps=None,
    )


class Reset(tf.train.SessionRunHook):
    """Gives some variables their initial values when a run begins: what a checkpoint without them comes to."""

    def __init__(self, names: List[str]) -> None:
        self._names = names

    def after_create_session(self, session: Any, coord: Any) -> None:
        variables = {variable.op.name: variable for variable in tf.global_variables()}
        session.run([variables[name].initializer for name in self._names])
