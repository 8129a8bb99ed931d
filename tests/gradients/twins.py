"""Trains a model as it stands, masked by graph_masker, and its twin in which every weight is `mask * weight`.

Both start from the same values and keep the same masks of random zeros and ones.
"""

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from graph_masker import GraphMaskerError, PruningSpec, auto_mask
from tests.helpers.bits import assert_same_bits, differences
from tests.helpers.running import initialize, random_mask, single_threaded, variables_by_name

STEPS = 6
BATCH = (6, 8)
# The schedule begins after the last step, so that masks stay as they are loaded.
SPEC = PruningSpec(target_sparsity=0.5, begin_step=10**6, end_step=10**6 + 1)

Values = Dict[str, Any]
# batch [6, 8] -> (loss, train op)
Build = Callable[[Any], Tuple[Any, Any]]
# (build, batch) -> (loss, train op, mask variables by weight)
Masking = Callable[[Build, Any], Tuple[Any, Any, Values]]


@dataclass(frozen=True)
class Recording:
    """What training did.

    Attributes:
        initial: all variables of the model before the first step.
        dense_loss: the loss of the first batch while all masks are ones.
        masks: the masks kept from then on, by weight.
        steps: loss and all variables of the model after every step.
    """

    initial: Values
    dense_loss: Any
    masks: Values
    steps: Values

    def flat(self) -> Values:
        """Returns masks and steps under one name each."""
        return {**{f"mask of {name}": value for name, value in self.masks.items()}, **self.steps}


def assert_trains_as_its_twin(build: Build, use_resource: bool, twin: Optional[Build] = None) -> None:
    """Asserts that the model, masked by graph_masker, trains bit for bit as its twin, and that masks matter.

    Args:
        build: builds the model.
        use_resource: the kind of its variables.
        twin: builds what the twin computes, where that is not written as the model is.
    """
    theirs = by_hand(twin or build, use_resource)
    assert_same_bits(ours(build, use_resource, theirs.initial).flat(), theirs.flat())
    dense, masked = theirs.dense_loss, theirs.steps["step 1: loss"]
    assert differences({"loss": dense}, {"loss": masked}), "the masks change nothing"


def assert_trains_as_its_twin_or_is_refused(build: Build, use_resource: bool, twin: Optional[Build] = None) -> None:
    """Asserts that the model trains bit for bit as its twin, or that masking it is an error; never anything else."""
    theirs = by_hand(twin or build, use_resource)
    try:
        found = ours(build, use_resource, theirs.initial)
    except GraphMaskerError as refusal:
        assert str(refusal) and "\n" not in str(refusal)
    else:
        assert_same_bits(found.flat(), theirs.flat())


def by_hand(build: Build, use_resource: bool) -> Recording:
    """Trains the twin: `tf.get_variable` gives `mask * variable` for every trainable variable of two axes or more."""

    def masked(build: Build, batch: Any) -> Tuple[Any, Any, Values]:
        with _masking_getter() as masks:
            loss, train_op = build(batch)
        return loss, train_op, masks

    return _train(build, use_resource, masked, None)


def ours(build: Build, use_resource: bool, initial: Values) -> Recording:
    """Trains the model through `auto_mask`."""
    return _train(build, use_resource, _auto_masked, initial)


def _auto_masked(build: Build, batch: Any) -> Tuple[Any, Any, Values]:
    plans = []

    def model_fn(features: Any, mode: Any) -> Any:
        loss, train_op = build(features)
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)

    masked = auto_mask(model_fn, SPEC, on_plan=lambda plan, mode, config: plans.append(plan))
    built = masked(batch, mode=tf.estimator.ModeKeys.TRAIN)
    variables = variables_by_name(tf.get_default_graph())
    return built.loss, built.train_op, {site.variable: variables[site.mask] for site in plans[-1].sites}


@contextmanager
def _masking_getter() -> Iterator[Values]:
    """While open, `tf.get_variable` returns products. Yields the masks by weight, as they are made."""
    masks: Values = {}
    products: Values = {}

    def get(getter: Any, name: str, *args: Any, **options: Any) -> Any:
        variable = getter(name, *args, **options)
        if not variable.trainable or variable.shape.ndims < 2:
            return variable
        if name not in products:
            with tf.control_dependencies(None):
                initial = tf.ones(variable.shape, variable.dtype.base_dtype)
                use_resource = tf.get_variable_scope().use_resource
                masks[name] = tf.Variable(initial, trainable=False, use_resource=use_resource, name=f"{name}_mask")
                products[name] = tf.multiply(masks[name], variable)
        return products[name]

    with tf.variable_scope(tf.get_variable_scope(), custom_getter=get):
        yield masks


def _train(build: Build, use_resource: bool, masking: Masking, initial: Optional[Values]) -> Recording:
    with tf.Graph().as_default() as graph, tf.variable_scope(tf.get_variable_scope(), use_resource=use_resource):
        tf.set_random_seed(1)
        tf.train.get_or_create_global_step()
        loss, train_op, masks = masking(build, tf.placeholder(tf.float32, BATCH, name="batch"))
        added = {mask.op.name for mask in masks.values()}
        variables = {
            name: variable
            for name, variable in variables_by_name(graph).items()
            if name not in added and not name.endswith(("threshold", "last_mask_update_step"))
        }
        batches = np.random.RandomState(3).normal(size=(STEPS, *BATCH)).astype(np.float32)
        recorded = {}
        with single_threaded(graph) as session:
            initialize(session)
            _load(session, variables, initial or {})
            dense_loss = session.run(loss, {"batch:0": batches[0]})
            _load(session, masks, {name: _random_mask(name, mask) for name, mask in masks.items()})
            start, kept = session.run([variables, masks])
            for number, batch in enumerate(batches, 1):
                value, _ = session.run([loss, train_op], {"batch:0": batch})
                found = {"loss": value, **session.run(variables)}
                recorded.update({f"step {number}: {name}": value for name, value in found.items()})
            assert not differences(session.run(masks), kept)
    return Recording(start, dense_loss, kept, recorded)


def _random_mask(name: str, mask: Any) -> Any:
    return random_mask(name, mask.shape.as_list(), mask.dtype.base_dtype.as_numpy_dtype)


def _load(session: Any, variables: Values, values: Values) -> None:
    """Loads many variables in one run; `Variable.load` makes one of each."""
    initializers = {name: variables[name].initializer for name in values}
    session.run(list(initializers.values()), {op.inputs[1]: values[name] for name, op in initializers.items()})
