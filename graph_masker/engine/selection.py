"""What a mask keeps: the entries of largest magnitude, exactly as many as asked for."""

import functools
from typing import Any, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.schedule import FLOAT32_EXACT_ENTRIES


def kept_entries_tensor(entries: Any, sparsity: Any) -> Any:
    """Returns how many entries stay, an int32 scalar: see `schedule.kept_entries`.

    Args:
        entries: int32 scalar, the number of entries.
        sparsity: float32 scalar.
    """
    density = 1.0 - sparsity
    single = tf.round(tf.cast(entries, tf.float32) * density)
    double = tf.round(tf.cast(entries, tf.float64) * tf.cast(density, tf.float64))
    kept = tf.where(entries <= FLOAT32_EXACT_ENTRIES, tf.cast(single, tf.int32), tf.cast(double, tf.int32))
    return tf.maximum(kept, 1)


@functools.lru_cache(maxsize=None)
def selection(dtype: Any) -> tf_compat.Function:
    """Returns a function (weight, sparsity) -> (mask, threshold) of the graph, one call op per weight.

    The mask keeps the k entries of largest magnitude; among equal magnitudes those of lowest index. The
    threshold is the magnitude of the k-th.
    """
    # Half precision widens exactly, and has no kernel for every op below.
    work = dtype if dtype in (tf.float32, tf.float64) else tf.float32

    def graph_masker_select(weight: Any, sparsity: Any) -> Tuple[Any, Any]:
        magnitude = tf.reshape(tf.abs(tf.cast(weight, work)), [-1])
        kept = kept_entries_tensor(tf.size(magnitude), sparsity)
        threshold = tf_compat.nth_element(magnitude, tf.size(magnitude) - kept)
        above = magnitude > threshold
        equal = tf.equal(magnitude, threshold)
        room = kept - tf.reduce_sum(tf.cast(above, tf.int32))
        is_early = tf.cumsum(tf.cast(equal, tf.int32)) <= room
        mask = tf.logical_or(above, tf.logical_and(equal, is_early))
        return tf.reshape(tf.cast(mask, dtype), tf.shape(weight)), tf.cast(threshold, dtype)

    return tf_compat.as_function(graph_masker_select, (dtype, tf.float32))
