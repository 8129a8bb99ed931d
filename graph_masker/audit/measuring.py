"""Measures one stored tensor and its mask, a piece at a time: zeros, magnitudes, compressed size."""

import zlib
from typing import Any, List, Optional, Tuple

import numpy as np
import zstandard

from graph_masker.audit.data import Magnitudes, Measured, Size
from graph_masker.files.sizes import GZIP

_PIECE = 2**20
# Half powers of two that are told apart: from 2**-40 to 2**24, what is beyond being counted with the first or last.
_FIRST, _LAST = -80, 47


class _Compressor:
    """Counts what a stream would be compressed to, without keeping it."""

    def __init__(self) -> None:
        self._raw = 0
        self._gzip = zlib.compressobj(6, zlib.DEFLATED, GZIP)
        self._zstd = zstandard.ZstdCompressor(level=3).compressobj()
        self._sizes = [0, 0]

    def add(self, content: bytes) -> None:
        self._raw += len(content)
        self._sizes[0] += len(self._gzip.compress(content))
        self._sizes[1] += len(self._zstd.compress(content))

    def size(self) -> Size:
        return Size(self._raw, self._sizes[0] + len(self._gzip.flush()), self._sizes[1] + len(self._zstd.flush()))


def measure(weight: np.ndarray, kept: Optional[np.ndarray] = None, odd: int = 0) -> Measured:
    """Measures a weight under its mask.

    Args:
        weight: of any shape; numbers.
        kept: where the mask is not zero, bool of the weight's shape; None without a mask.
        odd: how many entries of the mask are neither 0 nor 1.
    """
    flat, keeps = weight.reshape(-1), None if kept is None else kept.reshape(-1)
    compressor = _Compressor()
    counts = np.zeros(4, np.int64)
    magnitudes = np.zeros((2, _LAST - _FIRST + 1), np.int64)
    for start in range(0, flat.size, _PIECE):
        piece = flat[start : start + _PIECE]
        keep = None if keeps is None else keeps[start : start + _PIECE]
        # Folding multiplies, so that what is masked is a zero with the weight's sign.
        folded = piece if keep is None else keep.astype(np.float32).astype(piece.dtype) * piece
        compressor.add(folded.tobytes())
        # TensorFlow 1.15's bfloat16 compares bits: -0 is not 0.
        values = piece if piece.dtype.kind in "fiub" else piece.astype(np.float32)
        nonzero = values != 0
        visible = nonzero if keep is None else nonzero & keep
        finite = np.isfinite(values)
        counts += [
            piece.size - np.count_nonzero(nonzero),
            piece.size - np.count_nonzero(visible),
            np.count_nonzero(nonzero) - np.count_nonzero(visible),
            piece.size - np.count_nonzero(finite),
        ]
        for row, chosen in enumerate((visible & finite, nonzero & finite & ~visible)):
            magnitudes[row] += _binned(values[chosen])
    weight_zeros, zeros, hidden, not_finite = (int(count) for count in counts)
    return Measured(
        mask_zeros=None if keeps is None else int(keeps.size - np.count_nonzero(keeps)),
        weight_zeros=weight_zeros,
        zeros=zeros,
        hidden=hidden,
        odd=odd,
        not_finite=not_finite,
        magnitudes=_trimmed(magnitudes),
        size=compressor.size(),
    )


def as_kept(mask: np.ndarray) -> Tuple[np.ndarray, int]:
    """Returns where a mask is not zero, and how many of its entries are neither 0 nor 1."""
    kept = np.empty(mask.size, np.bool_)
    odd = 0
    flat = mask.reshape(-1)
    for start in range(0, mask.size, _PIECE):
        piece = flat[start : start + _PIECE]
        values = piece if piece.dtype.kind in "fiub" else piece.astype(np.float32)
        kept[start : start + _PIECE] = values != 0
        odd += int(np.count_nonzero((values != 0) & (values != 1)))
    return kept.reshape(mask.shape), odd


def _binned(values: np.ndarray) -> Any:
    exponents = np.floor(2 * np.log2(np.abs(values.astype(np.float64)))).astype(np.int64)
    return np.bincount(np.clip(exponents, _FIRST, _LAST) - _FIRST, minlength=_LAST - _FIRST + 1)


def _trimmed(counts: np.ndarray) -> Magnitudes:
    used: List[int] = np.nonzero(counts.sum(0))[0].tolist()
    if not used:
        return Magnitudes(0, (), ())
    kept, hidden = (tuple(row[used[0] : used[-1] + 1].tolist()) for row in counts)
    return Magnitudes(_FIRST + used[0], kept, hidden)
