"""Single entries: exact count, exact threshold, of equal scores the first."""

import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given
from hypothesis import strategies as st

from graph_masker.schedule import kept_entries
from graph_masker.selection import ELEMENTS, Extent, best, kept_units, pieces, scanning, search
from graph_masker.selection.pieces import extent_of
from tests.reference import selection as reference
from tests.selection.running import (
    DTYPES,
    NEXT_TO_ONE,
    PIECE,
    SPARSITIES,
    Selector,
    examples,
    fitting,
    mismatch,
    normals,
    selector,
    weights,
)

KINDS = list(itertools.product(DTYPES, (False, True), Extent))


def check(weight: Any, sparsity: float, most: Any = None, **kind: Any) -> Any:
    dtype = tf.as_dtype(weight.dtype)
    found = selector(ELEMENTS, dtype, **kind)(weight, sparsity, most)
    signed = kind.get("signed", False)
    assert not mismatch(found, reference.select(weight, sparsity, reference.Elements(), most, signed=signed))
    return found


@examples(70)
@given(st.data())
def test_equals_the_reference(data: Any):
    _equals_the_reference(data)


@pytest.mark.slow
@examples(200)
@given(st.data())
def test_equals_the_reference_more_often(data: Any):
    _equals_the_reference(data)


def _equals_the_reference(data: Any):
    dtype, signed, extent = data.draw(st.sampled_from(KINDS))
    (weight,), sparsity = data.draw(weights(dtype)), data.draw(SPARSITIES)
    weight = fitting(weight, extent)
    most = data.draw(st.none() | st.integers(0, weight.size))
    check(weight, sparsity, most, signed=signed, extent=extent)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9, 0.999, NEXT_TO_ONE])
def test_long_vectors(dtype: Any, sparsity: float):
    # Half precision has many equal entries here, the others none.
    check(normals([2500], dtype=dtype), sparsity)


SIZES = {
    16_384: Extent.SMALL,
    16_385: Extent.LARGE,
    16_392: Extent.MEDIUM,
    65_536: Extent.MEDIUM,
    65_544: Extent.LARGE,
    # 17 equal pieces would be more than are worth it.
    65_552: Extent.LARGE,
    82_944: Extent.EVEN,
    200_001: Extent.LARGE,
    1_025_024: Extent.EVEN,
}


@pytest.mark.parametrize("size", list(SIZES))
def test_weights_of_real_sizes_are_searched_as_is_quickest(size: int):
    extent = extent_of(size)
    assert extent is SIZES[size]
    for weight in (normals([size]), np.round(normals([size], seed=1) * 16)):
        weight = weight.astype(np.float32)
        for sparsity in (0.5, 0.9):
            check(weight, sparsity, extent=extent, piece=pieces.PIECE)


def test_extents_of_what_is_not_known_or_counted_exactly():
    assert extent_of(None) is extent_of(0) is extent_of(2**24 + 2**16) is Extent.LARGE


TRICKY = {
    "all zero": lambda n: np.zeros(n),
    "all equal": lambda n: np.full(n, -0.5),
    "mostly zero": lambda n: normals(n) * (normals(n, seed=1) > 1.3),
    "few values": lambda n: np.round(normals(n) * 4) / 4,
    "sorted": lambda n: np.sort(normals(n)),
    "in one power of two": lambda n: 1 + 1e-4 * normals(n),
    "denormals": lambda n: 1e-42 * normals(n),
    "too small to be squared": lambda n: 1e-25 * normals(n),
    "huge": lambda n: np.clip(1e38 * normals(n), -3e38, 3e38),
    "two values": lambda n: np.where(normals(n) > 0, 0.5, -0.25),
    # What a sample of every 25th entry sees is not what the others are, either way.
    "a sample misled upward": lambda n: np.where(np.arange(n) % 25 == 0, 100, 1) * normals(n),
    "a sample misled downward": lambda n: np.where(np.arange(n) % 25 == 0, 0.01, 1) * normals(n),
}


@pytest.mark.parametrize("extent", list(Extent), ids=lambda extent: extent.value)
@pytest.mark.parametrize("kind", list(TRICKY))
def test_tricky_distributions(kind: str, extent: Extent):
    weight = fitting(TRICKY[kind](3000).astype(np.float32), extent)
    for sparsity in (0.0, 0.5, 0.89, 0.9, 0.91, 0.99, NEXT_TO_ONE):
        for signed in (False, True):
            check(weight, sparsity, signed=signed, extent=extent)


@pytest.mark.parametrize("extent", [Extent.MEDIUM, Extent.EVEN, Extent.LARGE], ids=lambda extent: extent.value)
@pytest.mark.parametrize(
    "kind, misled",
    [
        ("sorted", False),
        ("two values", True),
        ("all equal", True),
        ("mostly zero", True),
        ("a sample misled upward", True),
        ("a sample misled downward", True),
    ],
)
def test_only_what_misleads_the_sample_is_searched_by_halves(monkeypatch: Any, kind: str, misled: bool, extent: Extent):
    weight = fitting(TRICKY[kind](3000).astype(np.float32), extent)
    expected = reference.select(weight, 0.5, reference.Elements())
    # (Of equal scores the range holds none whose last bits are 0.)
    monkeypatch.setattr(best, "kth_by_halves", lambda *_: search.Kth(*map(tf.constant, (7, 0, 0))))
    found = Selector(ELEMENTS, tf.float32, False, extent, PIECE)(weight, 0.5)
    assert bool(mismatch(found, expected)) == misled


def test_too_many_that_tie_are_not_collected(monkeypatch: Any):
    weight = np.full(20_000, 0.1, np.float32)
    weight[::7] = 1
    expected = reference.select(weight, 0.5, reference.Elements())
    monkeypatch.setattr(scanning, "_FEW", 2000)
    assert not mismatch(Selector(ELEMENTS, tf.float32, False, Extent.LARGE, PIECE)(weight, 0.5), expected)
    monkeypatch.setattr(best, "kth_by_halves", lambda *_: search.Kth(*map(tf.constant, (7, 0, 0))))
    assert mismatch(Selector(ELEMENTS, tf.float32, False, Extent.LARGE, PIECE)(weight, 0.5), expected)
    # The control: few that tie are.
    weight[2000:] = normals(18_000)
    expected = reference.select(weight, 0.5, reference.Elements())
    assert not mismatch(Selector(ELEMENTS, tf.float32, False, Extent.LARGE, PIECE)(weight, 0.5), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_sparsity_zero_keeps_all_and_next_to_one_keeps_one(dtype: Any):
    weight = normals([3, 5, 7], dtype=dtype)
    assert check(weight, 0.0)["mask"].astype(np.float32).all()
    assert check(weight, NEXT_TO_ONE)["mask"].astype(np.float32).sum() == 1


def test_no_entries_at_all():
    for shape in ([0], [3, 0, 2]):
        found = selector(ELEMENTS)(np.zeros(shape, np.float32), 0.5)
        assert found["mask"].shape == tuple(shape)
        assert found["threshold"] == 0


def test_no_more_than_a_restored_mask_keeps():
    weight = normals([100])
    for most, kept in ((0, 1), (1, 1), (20, 20), (50, 50), (60, 50), (2**40, 50)):
        assert check(weight, 0.5, most)["mask"].sum() == kept


@pytest.mark.parametrize("units", [1, 5, 2**24, 2**24 + 1, 25_557_032, 2**31 - 1])
def test_counts_agree_with_the_schedule(units: int):
    with tf.Graph().as_default(), tf.Session() as session:
        sparsity = tf.placeholder(tf.float32, [])
        kept = [kept_units(tf.constant(units, dtype), sparsity) for dtype in (tf.int32, tf.int64)]
        for value in (0.0, 1e-7, 0.1, 0.5, 0.875, 0.9, 0.999, 0.9999999):
            assert session.run(kept, {sparsity: value}) == [kept_entries(units, value)] * 2


def test_counts_keep_to_floor_and_ceiling():
    with tf.Graph().as_default(), tf.Session() as session:
        half = tf.constant(0.5)
        units = tf.constant([0, 1, 10, 100])
        assert list(session.run(kept_units(units, half))) == [0, 1, 5, 50]
        assert list(session.run(kept_units(units, half, floor=8))) == [0, 1, 8, 50]
        assert list(session.run(kept_units(units, half, most=tf.constant(7)))) == [0, 1, 5, 7]
        assert list(session.run(kept_units(units, half, most=tf.constant(3), floor=4))) == [0, 1, 4, 4]


def test_a_graph_that_was_written_and_read_selects_alike():
    weight = TRICKY["a sample misled upward"](3000).astype(np.float32)
    written = selector(ELEMENTS)
    with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
        tf.import_graph_def(written.graph.as_graph_def(), name="")
        inputs, outputs = ([tensor.name for tensor in tensors] for tensors in (written.inputs, written.outputs))
        mask, threshold, units = session.run(outputs, dict(zip(inputs, (weight, 0.5, 2**40))))
    assert not mismatch({"mask": mask, "threshold": threshold, "units": units}, written(weight, 0.5))


def test_comparison_sees_every_kind_of_mistake():
    weight = np.array([0.5, -1.0, 0.5, -0.5, 2.0, 0.25, 0.5], np.float32)
    expected = reference.select(weight, 0.43, reference.Elements())
    assert list(expected.mask) == [1, 1, 1, 0, 1, 0, 0]
    assert not mismatch(selector(ELEMENTS)(weight, 0.43), expected)
    later_tie = np.array([1, 1, 0, 1, 1, 0, 0], np.float32)
    one_more = np.array([1, 1, 1, 1, 1, 0, 0], np.float32)
    for mask in (later_tie, one_more, expected.mask.astype(np.float64), expected.mask.reshape(1, 7)):
        assert mismatch(expected._replace(mask=mask), expected)
    for threshold in (np.nextafter(np.float32(0.5), np.float32(1)), np.float64(0.5), np.float32(-0.5)):
        assert mismatch(expected._replace(threshold=threshold), expected)
    assert mismatch(expected._replace(units=np.int32(5)), expected)
    assert mismatch(selector(ELEMENTS)(weight, 0.6), expected)


def test_a_threshold_of_zero_has_no_sign():
    weight = np.array([-0.0, 0.0, -0.0, 1.0], np.float32)
    for signed in (False, True):
        found = check(weight, 0.5, signed=signed)
        assert not np.signbit(found["threshold"])
        assert list(found["mask"]) == [1, 0, 0, 1]
