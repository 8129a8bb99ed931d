"""Images of real digits, each turned, scaled and shifted at random."""

import functools
from typing import Iterator, Tuple

import numpy as np

from benchmarks.accuracy.settings import Distortion
from examples.digit_scenes.digits import SIDE as GLYPH
from examples.digit_scenes.digits import Digits, load_digits, split_digits

SIDE = 32  # pixels
HELD_OUT = 0.2  # of all digits
VALIDATION = 0.2  # of the others
# Of the splits and of the scored images: the same for every run.
FIXED_SEED = 2017


@functools.lru_cache(maxsize=None)
def _all_digits() -> Digits:
    return load_digits()


def digits_for(scored: str) -> Tuple[Digits, Digits]:
    """Returns the digits to train on and those to score on, which are disjoint and have the same mix of classes.

    Args:
        scored: ``held-out``, or ``validation``, which leaves the held-out digits alone.
    """
    train, held_out = split_digits(_all_digits(), HELD_OUT, FIXED_SEED)
    if scored == "held-out":
        return train, held_out
    return split_digits(train, VALIDATION, FIXED_SEED)


def distorted(glyphs: np.ndarray, distortion: Distortion, random: np.random.RandomState) -> np.ndarray:
    """Returns one image of each glyph.

    Args:
        glyphs: uint8 [n, 28, 28].
        distortion: how far.
        random: where it comes from.

    Returns:
        float32 [n, 32, 32, 1], from -1 (paper) to 1 (ink).
    """
    count = len(glyphs)
    angle = np.deg2rad(random.uniform(-distortion.rotation, distortion.rotation, (count, 1, 1)))
    scale = random.uniform(distortion.smallest, distortion.largest, (count, 1, 1))
    shift = random.uniform(-distortion.shift, distortion.shift, (2, count, 1, 1))
    # Where each pixel of the image lies on the glyph.
    down, across = np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij") - np.full((2, 1, 1), (SIDE - 1) / 2)
    down, across = down - shift[0], across - shift[1]
    rows = (np.cos(angle) * down - np.sin(angle) * across) / scale + (GLYPH - 1) / 2
    columns = (np.sin(angle) * down + np.cos(angle) * across) / scale + (GLYPH - 1) / 2
    ink = _between_pixels(glyphs / np.float32(255), rows, columns)
    return (2 * ink - 1).astype(np.float32)[..., np.newaxis]


def _between_pixels(glyphs: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Returns bilinear values of images [n, h, w] at places [n, ...]; outside there is paper."""
    height, width = glyphs.shape[1:]
    padded = np.pad(glyphs, ((0, 0), (1, 2), (1, 2)), mode="constant")
    rows, columns = np.clip(rows + 1, 0, height + 1), np.clip(columns + 1, 0, width + 1)
    top, left = rows.astype(np.int64), columns.astype(np.int64)
    below, right = rows - top, columns - left
    image = np.arange(len(glyphs)).reshape(-1, 1, 1)
    upper = padded[image, top, left] * (1 - right) + padded[image, top, left + 1] * right
    lower = padded[image, top + 1, left] * (1 - right) + padded[image, top + 1, left + 1] * right
    return upper * (1 - below) + lower * below


def training_batches(
    digits: Digits, batch: int, distortion: Distortion, seed: int
) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
    """Yields batches without end: every digit once per epoch, in a new order and newly distorted."""
    random = np.random.RandomState(seed)
    waiting = np.zeros(0, np.int64)
    while True:
        while len(waiting) < batch:
            waiting = np.concatenate([waiting, random.permutation(len(digits.labels))])
        chosen, waiting = waiting[:batch], waiting[batch:]
        yield distorted(digits.glyphs[chosen], distortion, random), digits.labels[chosen]


def scored_images(digits: Digits, distortion: Distortion, views: int) -> Tuple[np.ndarray, np.ndarray]:
    """Returns images and classes to score on: so many images of each digit, the same for every run."""
    random = np.random.RandomState(FIXED_SEED)
    images = [distorted(digits.glyphs, distortion, random) for _ in range(views)]
    return np.concatenate(images), np.tile(digits.labels, views)
