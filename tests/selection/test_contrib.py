"""Against tf.contrib.model_pruning itself, where magnitudes are distinct: the same bits."""

import contextlib
import io
import warnings
from typing import Any, Dict

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from graph_masker.selection import ELEMENTS, Blocks
from tests.helpers.bits import differences
from tests.selection.running import normals, selector

with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
    warnings.simplefilter("ignore")
    from tensorflow.contrib import model_pruning

SPARSITIES = (0.0, 0.1, 0.5, 0.9, 0.99)


class Contrib:
    """contrib's update of one weight."""

    def __init__(self, shape: Any, hparams: str = "") -> None:
        with tf.Graph().as_default() as graph:
            spec = model_pruning.get_pruning_hparams().parse(hparams)
            self._weight = tf.get_variable("weights", shape)
            self._sparsity = tf.placeholder(tf.float32, [])
            pruning = model_pruning.Pruning(spec, tf.train.get_or_create_global_step(), self._sparsity)
            threshold, mask = pruning._maybe_update_block_mask(self._weight, tf.constant(0.0))
            self._outputs = {"mask": mask, "threshold": threshold}
        self._session = tf.Session(graph=graph)

    def __call__(self, weight: Any, sparsity: float) -> Dict[str, Any]:
        self._weight.load(weight, self._session)
        return self._session.run(self._outputs, {self._sparsity: sparsity})


def _distinct(shape: Any) -> Any:
    """Returns weights no two of which are of one magnitude."""
    random = np.random.RandomState(0)
    size = int(np.prod(shape))
    signs = random.choice([-1, 1], size)
    return (signs * (random.permutation(size) + 1) / size).astype(np.float32).reshape(shape)


@pytest.mark.parametrize("shape", [[1], [7, 9], [3, 3, 8, 16], [300, 100]], ids=str)
def test_elements(shape: Any):
    contrib, weight = Contrib(shape), _distinct(shape)
    assert len(np.unique(np.abs(weight))) == weight.size
    for sparsity in SPARSITIES:
        # contrib crashes where it would keep nothing.
        if round(weight.size * (1 - sparsity)) > 0:
            found = selector(ELEMENTS, piece=2**18)(weight, sparsity)
            assert not differences(_of_contrib(found), contrib(weight, sparsity))


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("sides", [(4, 1), (1, 16), (3, 5), (-1, 2)], ids=str)
@pytest.mark.parametrize("shape", [[60, 32], [61, 33]], ids=str)
def test_blocks(shape: Any, sides: Any, pooling: str):
    height, width = sides
    hparams = f"block_height={height},block_width={width},block_pooling_function={pooling.upper()}"
    contrib, weight = Contrib(shape, hparams), normals(shape)
    structure = Blocks(height, width, pooling).at(shape)
    for sparsity in SPARSITIES:
        if round(structure.units_in(shape) * (1 - sparsity)) > 0:
            found = selector(structure)(weight, sparsity)
            assert not differences(_of_contrib(found), contrib(weight, sparsity))


def _of_contrib(found):
    """Leaves out what contrib does not tell: how many units stay."""
    return {key: found[key] for key in ("mask", "threshold")}


def test_comparison_sees_that_contrib_keeps_all_equal_ones():
    weight = np.full([10, 10], 0.5, np.float32)
    assert differences(_of_contrib(selector(ELEMENTS)(weight, 0.5)), Contrib([10, 10])(weight, 0.5))
