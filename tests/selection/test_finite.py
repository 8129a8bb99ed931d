"""Whether all entries are finite."""

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from graph_masker.selection import all_finite
from tests.selection.running import DTYPES, normals


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
