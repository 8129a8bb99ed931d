"""Graph functions of selection, each built once, and what they are fed with."""

import functools
from typing import Any, Dict, Optional

import numpy as np
import tensorflow.compat.v1 as tf
from hypothesis import strategies as st

from graph_masker.selection import Extent, Structure, pieces, select
from graph_masker.tf_compat import outlined
from tests.helpers.bits import differences

DTYPES = (tf.float16, tf.bfloat16, tf.float32, tf.float64)

# Of a piece, so that short vectors have many.
PIECE = 64

# The sparsity next to 1 in float32.
NEXT_TO_ONE = float(np.float32(1 - 2**-24))

SPARSITIES = st.sampled_from([0.0, 0.5, 0.9, NEXT_TO_ONE]) | st.floats(0.0, NEXT_TO_ONE, width=32)


class Selector:
    """A graph in which one noinline function selects."""

    def __init__(self, structure: Structure, dtype: Any, signed: bool, extent: Extent, piece: int) -> None:
        def body(scores: Any, sparsity: Any, most: Any) -> Any:
            return tuple(select(scores, sparsity, structure, most, signed=signed, extent=extent))

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
        mask, threshold = self._session.run(self.outputs, feed)
        return {"mask": mask, "threshold": threshold}


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


def mismatch(found: Any, expected: Any) -> str:
    """Returns how two selections differ in type, shape or any bit; nothing where they do not."""
    sides = (side if isinstance(side, dict) else side._asdict() for side in (found, expected))
    return "; ".join(differences(*sides))


def numbers(dtype: Any, subnormal: bool = True) -> Any:
    """Returns a strategy of finite values of a type: few, so that many are equal, or any."""
    few = st.sampled_from([0.0, -0.0, 0.25, -0.25, 1.0, -1.0])
    width = {tf.float16: 16, tf.float64: 64}.get(dtype, 32)
    # Beyond this bfloat16 rounds to infinity.
    bound = float(np.float32(3e38)) if dtype == tf.bfloat16 else float(np.finfo(f"float{width}").max)
    finite = st.floats(-bound, bound, width=width, allow_subnormal=subnormal)
    tiny = {16: 2.0**-24, 32: 2.0**-133, 64: 5e-324}[width] if subnormal else 2.0**-10
    return few | finite | st.sampled_from([tiny, -tiny, 3 * tiny])


@st.composite
def weights(draw: Any, dtype: Any, least_rank: int = 1, subnormal: bool = True, values: Any = None) -> Any:
    """Draws a weight of up to some hundred entries."""
    sides = st.sampled_from([1, 2, 3, 4, 5, 7, 8])
    shape = draw(st.lists(sides, min_size=least_rank, max_size=5).filter(lambda shape: np.prod(shape) <= 300))
    size = int(np.prod(shape))
    values = numbers(dtype, subnormal) if values is None else values
    # A few values in any order, or each drawn: hypothesis shrinks the first better, the second knows no limits.
    if draw(st.booleans()):
        kinds = draw(st.lists(values, min_size=1, max_size=6))
        picks = np.random.RandomState(draw(st.integers(0, 2**16))).randint(len(kinds), size=size)
        flat = np.array(kinds)[picks]
    else:
        flat = np.array(draw(st.lists(values, min_size=size, max_size=size)))
    return flat.astype(dtype.as_numpy_dtype).reshape(shape)


def normals(shape: Any, seed: int = 0, dtype: Any = tf.float32) -> Any:
    """Returns normal values."""
    return np.random.RandomState(seed).normal(size=shape).astype(dtype.as_numpy_dtype)
