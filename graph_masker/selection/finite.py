"""Whether all entries of a weight are finite."""

from typing import Any

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.selection.keys import widened


def all_finite(values: Any) -> Any:
    """Returns whether no entry is infinite or not a number, a bool scalar.

    The sum of squares takes one pass without a result to store. Of finite entries alone it may overflow; only then
    each is looked at.
    """
    wide = widened(values)

    def one_by_one(wide: Any) -> Any:
        return tf.reduce_all(tf.is_finite(wide))

    looked_at = tf_compat.outlined(one_by_one, [wide.dtype])
    with tf_compat.first_control_flow():
        finite = tf.is_finite(tf.nn.l2_loss(wide))
        return tf.cond(finite, lambda: tf.constant(True), lambda: looked_at(wide))
