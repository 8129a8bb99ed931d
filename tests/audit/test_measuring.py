"""What is counted of one weight, against plain numpy on the whole of it."""

import gzip
import zlib
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import zstandard

from graph_masker.audit.data import Magnitudes
from graph_masker.audit.measuring import as_kept, measure

BFLOAT16 = tf.bfloat16.as_numpy_dtype
# More than one piece of 2**20 entries, and one that is not full.
SHAPES = [(7,), (3, 3, 4, 5), (1100, 1000)]


def _weight(shape: Any, dtype: Any) -> Any:
    values = np.random.RandomState(1).normal(size=shape)
    values[values > 1.5] = 0
    values[values < -1.5] = -0.0
    return values.astype(dtype)


def _mask(shape: Any, dtype: Any) -> Any:
    return (np.random.RandomState(2).uniform(size=shape) < 0.3).astype(np.float32).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, BFLOAT16])
@pytest.mark.parametrize("shape", SHAPES)
def test_counts_are_those_of_the_whole(shape: Any, dtype: Any) -> None:
    weight, mask = _weight(shape, dtype), _mask(shape, dtype)
    kept, odd = as_kept(mask)
    measured = measure(weight, kept, odd)
    wide, wide_mask = weight.astype(np.float64), mask.astype(np.float64)
    assert odd == 0
    assert measured.mask_zeros == np.sum(wide_mask == 0)
    assert measured.weight_zeros == np.sum(wide == 0)
    assert measured.zeros == np.sum(wide * wide_mask == 0)
    assert measured.hidden == np.sum((wide_mask == 0) & (wide != 0))
    assert measured.zeros > measured.mask_zeros > measured.hidden > 0
    assert measured.size.raw == weight.size * weight.dtype.itemsize


@pytest.mark.parametrize("shape", SHAPES)
def test_sizes_are_those_of_what_folding_stores(shape: Any) -> None:
    weight, mask = _weight(shape, np.float32), _mask(shape, np.float32)
    measured = measure(weight, as_kept(mask)[0])
    folded = (mask * weight).tobytes()
    whole = zlib.compressobj(6, zlib.DEFLATED, 31)
    compressed = whole.compress(folded) + whole.flush()
    assert gzip.decompress(compressed) == folded
    assert measured.size.gzip == len(compressed)
    stream = zstandard.ZstdCompressor(level=3).compressobj()
    compressed = stream.compress(folded) + stream.flush()
    assert zstandard.ZstdDecompressor().decompressobj().decompress(compressed) == folded
    # Where blocks of the stream end depends a little on how it is fed.
    assert abs(measured.size.zstd - len(compressed)) <= 16 * (1 + weight.size // 2**20)
    assert measured.size.gzip != measure(weight).size.gzip


def test_magnitudes_are_counted_by_half_powers_of_two() -> None:
    weight = np.array([0.5, -0.5, 0.6, 0.75, 1.0, -4.0, 0.0, 0.25], np.float32)
    kept = np.array([1, 1, 0, 1, 0, 1, 1, 1], np.bool_)
    found = measure(weight, kept).magnitudes
    edges = [2.0 ** ((found.first + index) / 2) for index in range(len(found.kept) + 1)]
    for counts, chosen in ((found.kept, kept), (found.hidden, ~kept)):
        expected, _ = np.histogram(np.abs(weight[chosen & (weight != 0)]), edges)
        assert counts == tuple(expected)
    assert sum(found.kept) == 5
    assert sum(found.hidden) == 2
    assert measure(np.zeros(3, np.float32)).magnitudes == Magnitudes(0, (), ())


def test_magnitudes_beyond_the_axis_are_counted_at_its_ends() -> None:
    found = measure(np.array([1e-300, 1e300], np.float64)).magnitudes
    assert found.kept[0] == found.kept[-1] == 1
    assert (found.first, len(found.kept)) == (-80, 128)


def test_what_is_not_finite_is_counted_and_stays_out_of_the_magnitudes() -> None:
    measured = measure(np.array([np.nan, np.inf, -np.inf, 1.0, 0.0], np.float32))
    assert (measured.not_finite, measured.weight_zeros) == (3, 1)
    assert sum(measured.magnitudes.kept) == 1


def test_masks_that_are_none_are_told() -> None:
    kept, odd = as_kept(np.array([[0.0, 1.0], [0.5, -1.0]], np.float32))
    assert kept.tolist() == [[False, True], [True, True]]
    assert odd == 2
