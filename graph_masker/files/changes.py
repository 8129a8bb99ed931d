"""What a new checkpoint has otherwise than the one that it is made of."""

from dataclasses import dataclass, field
from typing import AbstractSet, Callable, Mapping, NamedTuple, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf


class Addition(NamedTuple):
    """A tensor that the source does not have; every entry of it is `fill`."""

    dtype: tf.DType
    shape: Tuple[int, ...]
    fill: float


@dataclass(frozen=True)
class Changes:
    """What the new checkpoint has otherwise than the source. Everything it does not name is copied, bit for bit.

    Attributes:
        dropped: keys that the new checkpoint does not have.
        products: mask by key: the key's values become TensorFlow's own product of mask and values.
        seen: called with each key of `products` and the values of its mask, or of a part of both; in any thread.
        replacements: function by key: it gets the key's values and returns new ones of the same dtype and shape; in any
            thread, and again for each part where the source holds parts.
        additions: return new tensors by key, those that an earlier one has returned perhaps among them; each is asked
            once what is known before it is written.
    """

    dropped: AbstractSet[str] = frozenset()
    products: Mapping[str, str] = field(default_factory=dict)
    seen: Callable[[str, np.ndarray], None] = lambda key, mask: None
    replacements: Mapping[str, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)
    additions: Sequence[Callable[[], Mapping[str, Addition]]] = ()
