"""The steps and the sparsity of contrib's own update, where begin >= frequency and it divides end - begin (G9)."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from graph_masker.engine import sparsity_tensor
from graph_masker.schedule import sparsity_at, update_steps
from graph_masker.spec import PruningSpec
from tests.helpers.running import op_by_op
from tests.oracle.training import contribs_pruning

SPECS = [
    PruningSpec(0.8, 10, 50, frequency=10, initial_sparsity=0.1),
    PruningSpec(0.9, 7, 49, frequency=7, exponent=1.0),
    PruningSpec(0.5, 30, 36, frequency=2, exponent=2.0),
    PruningSpec(0.75, 1, 60, frequency=1, exponent=0.5),
]
UNEVEN = PruningSpec(0.8, 25, 60, frequency=10)


def contribs_updates(spec: PruningSpec):
    """Returns the steps at which contrib's update runs, and its sparsity at each step from 0 to 79."""
    steps, sparsities = [], []
    with tf.Graph().as_default(), tf.Session() as session:
        global_step = tf.train.get_or_create_global_step()
        pruning = contribs_pruning(spec)
        update, ours = pruning.conditional_mask_update_op(), sparsity_tensor(spec, tf.cast(global_step, tf.int32))
        session.run(tf.global_variables_initializer())
        for step in range(80):
            global_step.load(step, session)
            session.run(update)
            last, theirs = session.run([pruning._last_update_step, pruning._sparsity])
            sparsities.append((theirs, session.run(ours)))
            if last == step and step > 0:
                steps.append(step)
    return steps, sparsities


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.begin_step}-{spec.end_step}/{spec.frequency}")
def test_steps_and_sparsity_equal_contribs(spec: PruningSpec):
    steps, sparsities = contribs_updates(spec)
    assert steps == update_steps(spec)
    for step, (theirs, ours) in enumerate(sparsities):
        assert theirs.tobytes() == ours.tobytes(), f"step {step}"


def test_numpy_agrees_with_the_graph_within_one_unit_in_the_last_place():
    """Grappler multiplies by the inverse of the span in place of dividing; what the graph finds is what counts."""
    for spec in SPECS:
        for step, (theirs, _) in enumerate(contribs_updates(spec)[1]):
            assert abs(np.float32(sparsity_at(spec, step)) - theirs) <= np.spacing(np.float32(1.0)) / 2


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.begin_step}-{spec.end_step}/{spec.frequency}")
def test_numpy_equals_contribs_graph_run_as_it_was_written(spec: PruningSpec):
    with tf.Graph().as_default() as graph, op_by_op(graph) as session:
        global_step = tf.train.get_or_create_global_step()
        theirs = contribs_pruning(spec)._sparsity
        for step in range(80):
            found = np.float32(sparsity_at(spec, step))
            assert found.tobytes() == session.run(theirs, {global_step: step}).tobytes(), f"step {step}"


def test_contrib_misses_the_end_where_frequency_does_not_divide():
    steps, _ = contribs_updates(UNEVEN)
    assert steps == [25, 35, 45, 55]
    assert update_steps(UNEVEN) == [25, 35, 45, 55, 60]
