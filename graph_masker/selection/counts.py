"""How many units a sparsity keeps, as a tensor."""

from typing import Any, Optional

import tensorflow.compat.v1 as tf

from graph_masker.schedule import FLOAT32_EXACT_ENTRIES


def kept_units(units: Any, sparsity: Any, most: Optional[Any] = None, floor: int = 1, few: bool = False) -> Any:
    """Returns how many of some units stay: `schedule.kept_entries`, held between a floor and a ceiling.

    Args:
        units: int32 or int64 tensor of any shape, numbers of units (entries, blocks, channels).
        sparsity: float32 scalar, fraction of zeros.
        most: int32 or int64, keep no more than this (what a restored mask keeps); None for no ceiling.
        floor: keep no fewer than this while there are as many, whatever `most` says.
        few: whether all numbers of units are known to be exact in float32.

    Returns:
        tensor like `units`; at least 1, and 0 only of no units.
    """
    density = 1.0 - sparsity
    kept = tf.cast(tf.round(tf.cast(units, tf.float32) * density), units.dtype)
    if not few:
        double = tf.round(tf.cast(units, tf.float64) * tf.cast(density, tf.float64))
        kept = tf.where_v2(units <= FLOAT32_EXACT_ENTRIES, kept, tf.cast(double, units.dtype))
    if most is not None:
        kept = no_more(kept, most)
    return tf.minimum(tf.maximum(kept, max(1, floor)), units)


def no_more(number: Any, most: Any) -> Any:
    """Returns integers held below a ceiling, which may be more than their type can tell."""
    return tf.cast(tf.minimum(tf.cast(number, tf.int64), tf.cast(most, tf.int64)), number.dtype)
