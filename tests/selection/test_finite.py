"""Whether all entries are finite."""

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from graph_masker.selection import ELEMENTS, Blocks, Channels, NOfM, all_finite
from tests.selection.running import DTYPES, normals, selector


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_tells_finite_from_others(dtype: Any):
    with tf.Graph().as_default(), tf.Session() as session:
        values = tf.placeholder(dtype)
        result = all_finite(values)
        huge = {tf.float16: 6e4, tf.float64: 1e308}.get(dtype, 3e38)
        for finite in (np.zeros([0]), np.zeros([3]), normals([5, 7]), np.full([9], -huge), np.full([1], 1e-7)):
            finite = finite.astype(dtype.as_numpy_dtype)
            assert session.run(result, {values: finite})
            for bad in (np.nan, np.inf, -np.inf):
                if finite.size:
                    spoiled = finite.copy()
                    spoiled.reshape(-1)[-1] = bad
                    assert not session.run(result, {values: spoiled})


@pytest.mark.parametrize("structure", [ELEMENTS, Blocks(2, 2), Channels("l2"), NOfM(2, 4)], ids=str)
def test_selecting_among_what_is_not_finite_does_not_fail(structure: Any):
    # So that the error a user sees is that of the check.
    weight = normals([60, 50])
    for bad in (np.nan, np.inf):
        weight[::7] = bad
        for sparsity in (0.0, 0.5, 0.99):
            found = selector(structure)(weight, sparsity)
            assert found["mask"].shape == weight.shape
