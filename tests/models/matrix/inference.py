"""A model's inference graph: masked, from a masked checkpoint, and as it is, from a folded one."""

from typing import Any, Callable, Dict, List, NamedTuple

import tensorflow.compat.v1 as tf

from graph_masker import MaskPlan, auto_mask
from tests.helpers.bits import assert_same_bits, differences
from tests.helpers.running import op_by_op
from tests.models.matrix import checking
from tests.models.matrix.checking import SPEC

Values = Dict[str, Any]
# Builds into the default graph; returns the outputs by name.
Build = Callable[[], Values]
Feed = Dict[str, Any]


class Masked(NamedTuple):
    """What a masked inference graph holds (see `Result`), and its outputs: with the masks, and with ones in place."""

    ops: Dict[str, int]
    shared: int
    outputs: Values
    without: Values

    def check(self, others: Values) -> None:
        """Asserts that other outputs equal those with the masks, bit for bit, and that masks matter at all."""
        assert self.outputs
        assert_same_bits(others, self.outputs)
        # Negative control: the same weights without masks.
        assert differences(self.without, self.outputs)


def run_masked(
    build: Build, checkpoint: str, feed: Feed, prepare: Callable[[Any, str], str] = lambda graph, prefix: prefix
) -> Masked:
    """Runs an inference graph, masked, op by op.

    Args:
        build: makes it.
        checkpoint: prefix of a masked checkpoint.
        feed: its input.
        prepare: takes the graph and the prefix, and returns that of the checkpoint to restore.
    """
    plans: List[MaskPlan] = []

    def model_fn(features: Any, labels: Any, mode: Any) -> Any:
        return tf.estimator.EstimatorSpec(mode, build())

    with tf.Graph().as_default() as graph:
        masked = auto_mask(model_fn, SPEC, on_plan=lambda plan, *_: plans.append(plan))
        outputs = masked(features=None, labels=None, mode=tf.estimator.ModeKeys.PREDICT).predictions
        (plan,) = plans
        checking.check_graph(graph, plan, [tensor.name for tensor in outputs.values()])
        prefix = prepare(graph, checkpoint)
        saver = tf.train.Saver()
        with op_by_op(graph) as session:
            saver.restore(session, prefix)
            found = session.run(outputs, feed)
            checking.forget_masks(session, plan)
            return Masked(checking.ops_of(graph), checking.shared(plan), found, session.run(outputs, feed))


def run_plain(build: Build, checkpoint: str, feed: Feed) -> Values:
    """Runs an inference graph as it is, op by op."""
    with tf.Graph().as_default() as graph:
        outputs = build()
        saver = tf.train.Saver()
        with op_by_op(graph) as session:
            saver.restore(session, checkpoint)
            return session.run(outputs, feed)


def run_frozen(definition: Any, outputs: List[str], feed: Feed) -> Values:
    """Runs a frozen graph, op by op."""
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        with op_by_op(graph) as session:
            return session.run({name: f"{name}:0" for name in outputs}, feed)
