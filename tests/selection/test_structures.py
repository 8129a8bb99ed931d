"""Blocks, channels and n:m patterns."""

from typing import Any, Sequence

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import assume, given
from hypothesis import strategies as st

from graph_masker.errors import SpecError
from graph_masker.selection import ELEMENTS, Blocks, Channels, Elements, Extent, NOfM
from graph_masker.selection.patterns import sorting_network
from tests.reference import selection as reference
from tests.selection.running import (
    DTYPES,
    NEXT_TO_ONE,
    SPARSITIES,
    examples,
    mismatch,
    normals,
    numbers,
    selector,
    weights,
)

# Convolutions and dense layers; transposed convolutions; depthwise ones; axes that are apart.
AXES = [(-1,), (-2,), (-2, -1), (-3, -1)]
DEPTH = {(-1,): 1, (-2,): 2, (-2, -1): 2, (-3, -1): 3}
BLOCKS = [(1, 1), (2, 3), (4, 1), (1, 4), (3, -1), (-1, 2), (-1, -1)]
PATTERNS = [(2, 4), (1, 2), (1, 4), (3, 5), (4, 8), (2, 2), (7, 40)]

# Type, and whether scores have signs.
KINDS = [(tf.float32, False), (tf.float32, True), (tf.float64, False)]

# Sums and squares of these are exact, in whatever order they are taken.
_EXACT = st.integers(-64, 64).map(lambda number: number / 8)


def check_blocks(weight: Any, sparsity: float, height: int, width: int, pooling: str, axes: Sequence[int], **kind: Any):
    structure = Blocks(height, width, pooling, tuple(axes)).at(weight.shape)
    found = selector(structure, tf.as_dtype(weight.dtype), **{"extent": Extent.SMALL, **kind})(weight, sparsity)
    units = reference.Blocks(height, width, pooling, axes)
    with np.errstate(over="ignore"):
        expected = reference.select(weight, sparsity, units, signed=kind.get("signed", False))
    assert not mismatch(found, expected)


@examples(30)
@given(st.data())
@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_blocks_equal_the_reference(pooling: str, data: Any):
    (dtype, signed), axes = data.draw(st.sampled_from(KINDS)), data.draw(st.sampled_from(AXES[:2]))
    # TensorFlow takes a mean that is no normal float for zero.
    (weight,) = data.draw(weights(dtype, DEPTH[axes], numbers(dtype, tiny=pooling == "max")))
    height, width = data.draw(st.sampled_from(BLOCKS[:4]))
    check_blocks(weight, data.draw(SPARSITIES), height, width, pooling, axes, signed=signed)


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("sides", BLOCKS[1:])
def test_blocks_of_every_shape(sides: Any, pooling: str):
    # Whole blocks; odd edges on either side; a block that is larger than all.
    for shape in ([12, 6], [7, 9], [2, 15]):
        for sparsity in (0.0, 0.5, NEXT_TO_ONE):
            check_blocks(normals(shape), sparsity, *sides, pooling=pooling, axes=(-1,))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_blocks_of_every_type(dtype: Any):
    for pooling, axes in (("max", (-1,)), ("max", (-2,)), ("avg", (-2, -1))):
        # Eighths: a mean of four of them is exact in half precision, too.
        weight = (np.round(normals([3, 2, 4, 6]) * 8) / 8).astype(dtype.as_numpy_dtype)
        check_blocks(weight, 0.6, 2, 2, pooling, axes)


def check_channels(weight: Any, sparsity: float, norm: str, axes: Sequence[int], **kind: Any):
    dtype = tf.as_dtype(weight.dtype)
    found = selector(Channels(norm, tuple(axes)), dtype, **{"extent": Extent.SMALL, **kind})(weight, sparsity)
    units = reference.Channels(norm, axes)
    assert not mismatch(found, reference.select(weight, sparsity, units, signed=kind.get("signed", False)))


@examples(30)
@given(st.data())
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_channels_equal_the_reference(norm: str, data: Any):
    (dtype, signed), axes = data.draw(st.sampled_from(KINDS)), data.draw(st.sampled_from(AXES))
    assume(norm == "l1" or not signed)
    (weight,) = data.draw(weights(dtype, DEPTH[axes], values=_EXACT))
    check_channels(weight, data.draw(SPARSITIES), norm, axes, signed=signed)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_channels_of_every_type(dtype: Any):
    weight = (np.round(normals([3, 2, 4, 6]) * 4) / 4).astype(dtype.as_numpy_dtype)
    for norm, axes in zip(("l1", "l2", "l1", "l2"), AXES):
        check_channels(weight, 0.5, norm, axes)


def test_many_blocks_and_channels():
    check_blocks(normals([120, 50]), 0.7, 2, 1, "avg", (-1,), extent=Extent.LARGE)
    check_channels(np.round(normals([2, 900]) * 8), 0.7, "l2", (-1,), extent=Extent.LARGE)


def check_pattern(weight: Any, sparsity: float, n: int, m: int, axes: Sequence[int], most: Any = None, **kind: Any):
    dtype = tf.as_dtype(weight.dtype)
    found = selector(NOfM(n, m, tuple(axes)), dtype, **{"extent": Extent.SMALL, **kind})(weight, sparsity, most)
    signed = kind.get("signed", False)
    assert not mismatch(found, reference.select_n_of_m(weight, sparsity, n, m, axes, most, signed))
    return found["mask"].astype(np.float32)


@examples(70)
@given(st.data())
def test_patterns_equal_the_reference(data: Any):
    (dtype, signed), axes = data.draw(st.sampled_from(KINDS)), data.draw(st.sampled_from(AXES[:2]))
    (weight,) = data.draw(weights(dtype, DEPTH[axes]))
    n, m = data.draw(st.sampled_from([(2, 4), (3, 5)]))
    most = data.draw(st.none() | st.integers(0, m))
    check_pattern(weight, data.draw(SPARSITIES), n, m, axes, most, signed=signed)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_patterns_of_every_type(dtype: Any):
    weight = normals([3, 2, 5, 6], dtype=dtype)
    for axes in AXES[:2]:
        check_pattern(weight, 0.5, 2, 4, axes)


@pytest.mark.parametrize("n, m", PATTERNS)
def test_patterns_in_pieces(n: int, m: int):
    # Of one row of groups each, and of several.
    for shape in ([3 * m + 1, 11], [300, 1], [7, 70]):
        for weight in (normals(shape), np.round(normals(shape))):
            check_pattern(weight, 0.4, n, m, (-1,), extent=Extent.LARGE)


@pytest.mark.parametrize("n, m", PATTERNS)
def test_at_its_sparsity_a_pattern_has_exactly_n_of_m(n: int, m: int):
    weight = normals([2 * m, 5])
    for sparsity, kept in ((0.0, m), (1 - n / m, n), (NEXT_TO_ONE, n)):
        mask = check_pattern(weight, sparsity, n, m, (-1,))
        assert (mask.reshape(2, m, 5).sum(1) == kept).all()


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 67])
def test_the_last_group_of_a_pattern_may_be_short(rows: int):
    for sparsity in (0.0, 0.25, 0.5):
        check_pattern(normals([rows, 3]), sparsity, 2, 4, (-1,))
        check_pattern(np.zeros([rows, 3], np.float32), sparsity, 2, 4, (-1,))


@pytest.mark.parametrize("size", range(1, 17))
def test_the_network_sorts_whatever_is_zero_or_one(size: int):
    # So it sorts everything (the 0-1 principle).
    values = (np.arange(2**size)[:, np.newaxis] >> np.arange(size)) & 1
    for one, other in sorting_network(size):
        assert 0 <= one < other < size
        values[:, [one, other]] = np.sort(values[:, [one, other]], axis=1)[:, ::-1]
    assert (np.diff(values, axis=1) <= 0).all()


def test_comparison_sees_another_structure():
    weight = normals([8, 8])
    expected = reference.select(weight, 0.5, reference.Blocks(2, 2, "avg"))
    for other in (ELEMENTS, Blocks(2, 2, "max"), Blocks(1, 4, "avg"), Channels("l1"), NOfM(2, 4), NOfM(2, 4, (-2,))):
        assert mismatch(selector(other, extent=Extent.SMALL)(weight, 0.5), expected)


def test_comparison_sees_a_group_that_breaks_the_pattern():
    weight = normals([8, 2])
    expected = reference.select_n_of_m(weight, 0.5, 2, 4)
    moved = expected.mask[::-1].copy()
    assert mismatch(expected._replace(mask=moved), expected)


def test_structures_know_their_units():
    shape = [3, 3, 5, 7]
    assert Elements().units_in(shape) == 315
    assert Channels("l1", (-2, -1)).units_in(shape) == 35
    assert Blocks(4, 4).units_in(shape) == 12 * 2
    assert Blocks(-1, 4).at(shape) == Blocks(45, 4)
    assert Blocks(4, -1, "max", (-2,)).at(shape) == Blocks(4, 5, "max", (-2,))
    assert Blocks(-1, -1).units_in(shape) == 1


@pytest.mark.parametrize(
    "structure, whole",
    [
        (ELEMENTS, 315),
        (Channels("l1"), 7),
        (Channels("l1", (-2,)), 5),
        (Blocks(4, 4), 24),
        (Blocks(2, 3, "max", (-2,)), 64),
        (NOfM(2, 4), 4),
        (NOfM(1, 3, (-2,)), 3),
    ],
    ids=str,
)
def test_what_a_mask_keeps_is_counted_as_ceilings_are(structure: Any, whole: int):
    shape = [3, 3, 5, 7]
    with tf.Graph().as_default(), tf.Session() as session:
        mask = tf.placeholder(tf.float32)
        kept = structure.kept_of(mask)

        def count(value: Any) -> int:
            return int(session.run(kept, {mask: value}))

        assert count(np.ones(shape)) == whole
        assert count(np.zeros(shape)) == 0
        corner = np.zeros(shape)
        corner[-1, -1, -1, -1] = 1
        assert count(corner) == 1
        for most in (1, 2, whole // 2, whole):
            found = selector(structure, extent=Extent.SMALL)(normals(shape), 0.0, most)
            assert count(found["mask"]) == max(most, structure.n if isinstance(structure, NOfM) else 1)


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: Blocks(0, 4), "block height: expected a whole number from 1, or -1 for all, found 0"),
        (lambda: Blocks(4, 2.0), "block width: expected a whole number from 1, or -1 for all, found 2.0"),
        (lambda: Blocks(4, 4, "mean"), "block pooling: expected avg or max, found 'mean'"),
        (lambda: Channels("l3"), "channel norm: expected l1 or l2, found 'l3'"),
        (lambda: NOfM(3, 2), "n:m: expected whole numbers with 1 <= n <= m and m >= 2, found 3:2"),
        (lambda: NOfM(0, 4), "found 0:4"),
        (lambda: Channels("l1", (1,)), "output_axes: expected distinct axes counted from the last"),
        (lambda: NOfM(2, 4, (-1, -1)), "output_axes: expected distinct axes counted from the last"),
        (lambda: selector(Blocks(-1, 4)), "block: expected the size of a block, found -1 for a whole axis"),
    ],
)
def test_impossible_structures_are_refused(build: Any, message: str):
    with pytest.raises(SpecError) as error:
        build()
    assert message in str(error.value)
