"""Trains a net that graph_masker masks and its twin made of tf.contrib.model_pruning's layers, and records all."""

import functools
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.contrib import model_pruning

from graph_masker.built import mask_graph
from graph_masker.estimator import auto_mask
from graph_masker.masker import Masker
from graph_masker.plan import LAST_UPDATE_STEP
from graph_masker.session import masking
from graph_masker.spec import PruningSpec
from tests.helpers.running import initialize, single_threaded, variables_by_name

STEPS = 60
SPEC = PruningSpec(target_sparsity=0.8, begin_step=10, end_step=50, frequency=10, initial_sparsity=0.1)

Values = Dict[str, Any]
# (layers, features) -> loss, given the masked or the plain flavour of the layers.
Net = Callable[[Any, Any], Any]
Minimize = Callable[[Any], Any]


@dataclass(frozen=True)
class Model:
    """A net over `layers`, as written by hand with masked layers or plain.

    Attributes:
        loss: takes layers and a batch, builds the net and returns its loss.
        minimize: takes the loss, returns the train op.
        plain, masked: the two flavours of layers.
        batch: shape of one batch.
        spec: schedule, and what the masked flavour leaves dense.
        names: our name by contrib's, for variables that the two name differently.
    """

    loss: Net
    minimize: Minimize
    plain: Any
    masked: Any
    batch: Tuple[int, ...]
    spec: PruningSpec = SPEC
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recording:
    """What training did: initial values of all variables, and loss and all variables after every step."""

    initial: Values
    steps: List[Values]

    def flat(self) -> Values:
        """Returns everything under one name each."""
        return {f"step {number}: {name}": v for number, step in enumerate(self.steps, 1) for name, v in step.items()}


def train_auto_masked(
    model: Model, spec: Optional[PruningSpec], initial: Values, use_resource: bool = False
) -> Recording:
    """Trains the plain net, masked by graph_masker. Without a spec it stays dense."""
    with tf.Graph().as_default() as graph, _variables(use_resource):
        if spec is None:
            loss, train_op = _build(model, model.plain)
            return _record(model, graph, loss, [train_op], [], initial)
        masker = Masker(graph, spec)
        with masker.watching_gradients():
            loss, train_op = _build(model, model.plain)
        update = masker.attach_update(train_op)
        return _record(model, graph, loss, [train_op, update], [], initial)


def train_with_contribs_update(
    model: Model, spec: PruningSpec, initial: Values, use_resource: bool, pruning_first: bool
) -> Recording:
    """Trains the plain net, masked by graph_masker; contrib's own update runs after each step.

    Args:
        model: the net.
        spec: schedule.
        initial: values of all variables.
        use_resource: the kind of variables.
        pruning_first: make contrib's Pruning before masking; else after.
    """
    with tf.Graph().as_default() as graph, _variables(use_resource):
        tf.train.get_or_create_global_step()
        pruning = contribs_pruning(spec) if pruning_first else None
        masker = Masker(graph, spec)
        with masker.watching_gradients():
            loss, train_op = _build(model, model.plain)
        update = (pruning or contribs_pruning(spec)).conditional_mask_update_op()
        return _record(model, graph, loss, [train_op], [update], initial)


def train_with_auto_mask(model: Model, spec: PruningSpec, initial: Values, use_resource: bool = False) -> Recording:
    """Trains the plain net through `auto_mask`, as an Estimator would call it."""

    def model_fn(features: Any, mode: Any) -> Any:
        assert mode == tf.estimator.ModeKeys.TRAIN
        tf.train.get_or_create_global_step()
        loss = model.loss(model.plain, features)
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=model.minimize(loss))

    with tf.Graph().as_default() as graph, _variables(use_resource):
        batch = tf.placeholder(tf.float32, model.batch, name="batch")
        built = auto_mask(model_fn, spec)(batch, mode=tf.estimator.ModeKeys.TRAIN)
        return _record(model, graph, built.loss, [built.train_op], [], initial)


def train_masked_afterwards(
    model: Model, spec: PruningSpec, initial: Values, use_resource: bool = False, imported: bool = False
) -> Recording:
    """Trains the plain net, masked when its gradients and its train op existed already.

    Args:
        model: the net.
        spec: the schedule.
        initial: values of the variables.
        use_resource: kind of the variables.
        imported: mask what `tf.train.import_meta_graph` makes of the net's exported MetaGraph, not the net's graph.
    """
    with tf.Graph().as_default() as graph, _variables(use_resource):
        loss, train_op = _build(model, model.plain)
        meta_graph = tf.train.export_meta_graph() if imported else None
    if imported:
        graph = tf.Graph()
        with graph.as_default():
            tf.train.import_meta_graph(meta_graph)
        loss, train_op = graph.get_tensor_by_name(loss.name), graph.get_operation_by_name(train_op.name)
    with graph.as_default():
        masker = mask_graph(graph, spec, losses=None if imported else [loss])
        return _record(model, graph, loss, [train_op, masker.update_op], [], initial)


def save_dense(model: Model, prefix: str, steps: int, use_resource: bool = False, **saving: Any) -> str:
    """Trains the plain net for some steps and saves it with its graph; returns the checkpoint's prefix.

    Args:
        model: the net.
        prefix: where to save.
        steps: how many.
        use_resource: kind of the variables.
        saving: options of the Saver.
    """
    with tf.Graph().as_default() as graph, _variables(use_resource):
        loss, train_op = _build(model, model.plain)
        if train_op not in graph.get_collection(tf.GraphKeys.TRAIN_OP):
            graph.add_to_collection(tf.GraphKeys.TRAIN_OP, train_op)
        graph.add_to_collection("loss", loss)
        saver = tf.train.Saver(**saving)
        random = np.random.RandomState(5)
        with single_threaded(graph) as session:
            initialize(session)
            for _ in range(steps):
                session.run(train_op, {"batch:0": random.normal(size=model.batch).astype(np.float32)})
            return str(saver.save(session, prefix))


def train_from_files(model: Model, prefix: str) -> Recording:
    """Trains what lies in a checkpoint and its .meta file, as somebody would who has no code of the model.

    In the end it is saved by the saver of the .meta file, under the same prefix with "-trained" appended.
    """
    with tf.Graph().as_default() as graph:
        saver = tf.train.import_meta_graph(f"{prefix}.meta")
        (loss,) = graph.get_collection("loss")
        run = graph.get_collection(tf.GraphKeys.TRAIN_OP)
        return _record(
            model,
            graph,
            loss,
            run,
            [],
            None,
            start=functools.partial(_restored, saver, prefix),
            end=lambda session: saver.save(session, f"{prefix}-trained", write_meta_graph=False, write_state=False),
        )


def train_under_masking(model: Model, spec: PruningSpec, prefix: str) -> Recording:
    """Trains the plain net inside `masking`, from a masked checkpoint."""
    with tf.Graph().as_default() as graph, masking(spec):
        loss, train_op = _build(model, model.plain)
        start = functools.partial(_restored, tf.train.Saver(), prefix)
        return _record(model, graph, loss, [train_op], [], None, start)


def train_hand_masked(
    model: Model,
    spec: PruningSpec,
    use_resource: bool = False,
    hparams: Optional[str] = None,
    prefix: Optional[str] = None,
) -> Recording:
    """Trains the net made of masked layers; contrib's own update runs after each step. Names in it are ours.

    Args:
        model: the net.
        spec: the schedule.
        use_resource: kind of the variables.
        hparams: contrib's text, in place of the spec.
        prefix: of the checkpoint that it starts from.
    """
    with tf.Graph().as_default() as graph, _variables(use_resource):
        loss, train_op = _build(model, model.masked)
        pruning = contribs_pruning(spec) if hparams is None else contribs_pruning_of(hparams)
        update = pruning.conditional_mask_update_op()
        start: Callable[[Any], None] = initialize
        if prefix is not None:
            saver = tf.train.Saver({model.names.get(name, name): v for name, v in variables_by_name(graph).items()})
            start = functools.partial(_restored, saver, prefix)

        theirs = _record(model, graph, loss, [train_op], [update], None, start)
        return Recording(_renamed(theirs.initial, model.names), [_renamed(s, model.names) for s in theirs.steps])


def _restored(saver: Any, prefix: str, session: Any) -> None:
    saver.restore(session, prefix)


def contribs_pruning(spec: PruningSpec) -> Any:
    """Returns contrib's Pruning with the schedule of a spec, for the default graph."""
    return contribs_pruning_of(
        f"begin_pruning_step={spec.begin_step},end_pruning_step={spec.end_step},"
        f"pruning_frequency={spec.frequency},initial_sparsity={spec.initial_sparsity},"
        f"target_sparsity={spec.target_sparsity},sparsity_function_begin_step={spec.begin_step},"
        f"sparsity_function_end_step={spec.end_step},sparsity_function_exponent={spec.exponent}"
    )


def contribs_pruning_of(hparams: str) -> Any:
    """Returns contrib's Pruning with the hyper-parameters of a text, for the default graph."""
    return model_pruning.Pruning(model_pruning.get_pruning_hparams().parse(hparams))


def _renamed(values: Values, names: Mapping[str, str]) -> Values:
    missing = set(names) - set(values)
    assert not missing, f"the oracle has no {', '.join(sorted(missing))}"
    renamed = {names.get(name, name): value for name, value in values.items()}
    assert len(renamed) == len(values)
    return renamed


def _variables(use_resource: bool) -> Any:
    return tf.variable_scope(tf.get_variable_scope(), use_resource=use_resource)


def _build(model: Model, layers: Any) -> Tuple[Any, Any]:
    tf.set_random_seed(1)
    tf.train.get_or_create_global_step()
    loss = model.loss(layers, tf.placeholder(tf.float32, model.batch, name="batch"))
    return loss, model.minimize(loss)


def _record(
    model: Model,
    graph: Any,
    loss: Any,
    run: List[Any],
    run_after: List[Any],
    initial: Optional[Values],
    start: Callable[[Any], None] = initialize,
    end: Callable[[Any], Any] = lambda session: None,
) -> Recording:
    variables = variables_by_name(graph)
    random = np.random.RandomState(3)
    steps: List[Values] = []
    with single_threaded(graph) as session:
        start(session)
        for name, value in (initial or {}).items():
            variables[name].load(value, session)
        first = session.run(variables)
        for _ in range(STEPS):
            batch = random.normal(size=model.batch).astype(np.float32)
            value, _ = session.run([loss, run], {"batch:0": batch})
            session.run(run_after)
            steps.append({"loss": value, **session.run(variables)})
        end(session)
    for step in (first, *steps):
        if LAST_UPDATE_STEP in step:
            # Before its first update contrib's says 0, ours -1, so that an update at step 0 is not missed.
            step[LAST_UPDATE_STEP] = np.maximum(step[LAST_UPDATE_STEP], np.int32(0))
    return Recording(first, steps)
