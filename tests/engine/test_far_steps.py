"""Global steps that the int32 in which the last update is kept cannot hold."""

from typing import Any, List

import pytest
import tensorflow.compat.v1 as tf

from graph_masker.masker import Masker
from graph_masker.spec import PruningSpec
from tests.helpers.running import initialize, single_threaded

LAST = 2**31 - 1
UPDATED = "model_pruning/last_mask_update_step"


def _updates(spec: PruningSpec, steps: List[int], dtype: Any = tf.int64) -> List[Any]:
    """Runs the update at some global steps; returns the last update step and the sparsity after each."""
    with tf.Graph().as_default() as graph:
        step = tf.get_variable(
            "global_step",
            [],
            dtype,
            tf.zeros_initializer(),
            trainable=False,
            collections=[tf.GraphKeys.GLOBAL_VARIABLES, tf.GraphKeys.GLOBAL_STEP],
        )
        weight = tf.get_variable("kernel", [20, 5], initializer=tf.random_normal_initializer(seed=1))
        masker = Masker(graph, spec)
        masker.mask([tf.matmul(tf.placeholder(tf.float32, [1, 20]), weight)], strict=True)
        update = masker.attach_update(tf.no_op())
        summary = tf.summary.merge_all()
        (last,) = (item for item in masker.state_variables if item.op.name == UPDATED)
        with single_threaded(graph) as session:
            initialize(session)
            found = []
            for number in steps:
                step.load(number, session)
                session.run([update, summary])
                updated, mask = session.run([last, masker.masks["kernel"]])
                found.append((int(updated), round(1 - float(mask.mean()), 2)))
            return found


def test_a_schedule_that_ends_makes_its_last_update_late_and_no_other():
    spec = PruningSpec(0.5, 0, 100, frequency=10)
    assert _updates(spec, [LAST + 1, 2**40]) == [(LAST, 0.5), (LAST, 0.5)]
    assert _updates(spec, [100, 2**32 + 5]) == [(100, 0.5), (100, 0.5)]


def test_a_schedule_that_ends_with_the_last_step_that_can_be_kept():
    spec = PruningSpec(0.5, LAST - 20, LAST, frequency=10, initial_sparsity=0.25)
    assert _updates(spec, [LAST - 20, LAST, LAST + 7]) == [(LAST - 20, 0.25), (LAST, 0.5), (LAST, 0.5)]


def test_a_schedule_without_an_end_is_one_clear_error_beyond():
    spec = PruningSpec.from_hparams("target_sparsity=0.5,end_pruning_step=-1,pruning_frequency=10")
    assert spec.last_step is None
    assert _updates(spec, [LAST - 7]) == [(LAST - 7, 0.5)]
    assert _updates(spec, [50, LAST - 7], tf.int32)[-1] == (LAST - 7, 0.5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="count steps up to 2147483647") as error:
        _updates(spec, [LAST + 1])
    assert "2147483648" in error.value.message.splitlines()[0] and "end_step" in error.value.message
