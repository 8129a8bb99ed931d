"""Graph functions of selection, each built once, and what they are fed with."""

import functools
from typing import Any, Dict, Optional

import numpy as np
import tensorflow.compat.v1 as tf
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from graph_masker.selection import Extent, Structure, pieces, select
from graph_masker.tf_compat import outlined
from tests.helpers.bits import differences

DTYPES = (tf.float16, tf.bfloat16, tf.float32, tf.float64)

# Of a piece, so that short vectors have many.
PIECE = 64

# The sparsity next to 1 in float32.
NEXT_TO_ONE = float(np.float32(1 - 2**-24))

SPARSITIES = st.sampled_from([0.0, 0.5, 0.9, NEXT_TO_ONE]) | st.integers(0, 2**24 - 1).map(lambda count: count / 2**24)


class Selector:
    """A graph in which one noinline function selects."""

    def __init__(self, structure: Structure, dtype: Any, signed: bool, extent: Extent, piece: int) -> None:
        def body(scores: Any, sparsity: Any, most: Any) -> Any:
            selected = select(scores, sparsity, structure, most, signed=signed, extent=extent)
            return tuple(value for value in selected if value is not None)

        usual, pieces.PIECE = pieces.PIECE, piece
        try:
            with tf.Graph().as_default() as self.graph:
                self.inputs = [tf.placeholder(dtype), tf.placeholder(tf.float32, []), tf.placeholder(tf.int64, [])]
                self.outputs = outlined(body, [dtype, tf.float32, tf.int64])(*self.inputs)
        finally:
            pieces.PIECE = usual
        config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        self._session = tf.Session(graph=self.graph, config=config)

    def __call__(self, weight: Any, sparsity: float, most: Optional[int] = None) -> Dict[str, Any]:
        feed = dict(zip(self.inputs, (weight, sparsity, 2**40 if most is None else most)))
        return dict(zip(("mask", "threshold", "units"), self._session.run(self.outputs, feed)))


@functools.lru_cache(maxsize=None)
def selector(
    structure: Structure,
    dtype: Any = tf.float32,
    signed: bool = False,
    extent: Extent = Extent.LARGE,
    piece: int = PIECE,
) -> Selector:
    """Returns the selector of these, always the same one."""
    return Selector(structure, dtype, signed, extent, piece)


def fitting(weight: Any, extent: Extent) -> Any:
    """Returns a weight as it is, or repeated as a vector of a size that an extent is for (with `PIECE`)."""
    step = {Extent.MEDIUM: pieces.ROW, Extent.EVEN: (PIECE, 3 * PIECE // 4)[weight.size % 2]}.get(extent, 1)
    return weight if weight.size % step == 0 else np.resize(weight, -(-weight.size // step) * step)


def mismatch(found: Any, expected: Any) -> str:
    """Returns how two selections differ in type, shape or any bit; nothing where they do not."""
    sides = (side if isinstance(side, dict) else side._asdict() for side in (found, expected))
    return "; ".join(differences(*({key: value for key, value in side.items() if value is not None} for side in sides)))


def examples(number: int) -> Any:
    """Returns the settings for so many examples."""
    # The check counts mutations that hypothesis makes of its first examples and cuts off itself; ours are small.
    return settings(max_examples=number, deadline=None, suppress_health_check=[HealthCheck.data_too_large])


# A single entry, odd sides, sides that groups and blocks divide, long and flat ones.
SHAPES = [
    *([1], [2], [7], [32], [131]),
    *([1, 1], [1, 9], [9, 1], [4, 3], [8, 6], [7, 5], [16, 12]),
    *([1, 1, 1], [2, 3, 4], [5, 1, 7]),
    *([1, 1, 3, 2], [3, 3, 2, 4], [2, 2, 5, 3], [1, 1, 12, 8]),
    *([1, 1, 1, 1, 1], [2, 1, 3, 4, 2], [2, 2, 2, 3, 3]),
]


def numbers(dtype: Any, tiny: bool = True) -> Any:
    """Returns a strategy of finite values of a type: few, so that many are equal, or any.

    Args:
        dtype: type that they are cast to.
        tiny: whether to draw values whose half or third is no normal float, too.
    """
    width = {tf.float16: 16, tf.float64: 64}.get(dtype, 32)
    # Beyond this bfloat16 rounds to infinity.
    bound = float(np.float32(3e38)) if dtype == tf.bfloat16 else float(np.finfo(f"float{width}").max)
    values = st.sampled_from([0.0, -0.0, 0.25, -0.25, 1.0, -1.0]) | st.floats(-bound, bound, width=width)
    if not tiny:
        return values.map(lambda value: value if abs(value) > 1e-30 else 0.0)
    smallest = {16: 2.0**-24, 32: 2.0**-133, 64: 5e-324}[width]
    return values | st.sampled_from([smallest, -smallest, 3 * smallest])


def weights(dtype: Any, least_rank: int = 1, values: Any = None, count: int = 1) -> Any:
    """Returns a strategy of lists of weights of up to some hundred entries: a few values, in any order."""
    shapes = [shape for shape in SHAPES if len(shape) >= least_rank]

    def lay_out(kinds: Any, seed: int) -> Any:
        random = np.random.RandomState(seed)
        picked = [random.randint(len(kinds), size=shapes[random.randint(len(shapes))]) for _ in range(count)]
        return [np.array(kinds)[picks].astype(dtype.as_numpy_dtype) for picks in picked]

    kinds = st.lists(numbers(dtype) if values is None else values, min_size=1, max_size=12)
    return st.builds(lay_out, kinds, st.integers(0, 2**16 - 1))


def normals(shape: Any, seed: int = 0, dtype: Any = tf.float32) -> Any:
    """Returns normal values."""
    return np.random.RandomState(seed).normal(size=shape).astype(dtype.as_numpy_dtype)
