"""Scenes of digits on a noisy background, with the box and the pixels of every digit."""

from typing import Iterator, List, NamedTuple

import numpy as np
from PIL import Image

from examples.digit_scenes.digits import SIDE, Digits

INK = 64  # grey level from which a pixel counts as part of the digit
MARGIN = 2  # pixels kept free between two digits
PLACEMENTS = 30  # tries to find a free place before a digit is left out


class SceneStyle(NamedTuple):
    """What scenes look like.

    Attributes:
        side: Height and width, pixels.
        fewest_digits: A scene holds at least this many digits, if they find room.
        most_digits: A scene holds at most this many digits.
        smallest: Smallest factor by which a 28 px glyph is scaled.
        largest: Largest such factor.
        noise: The background is uniform noise from 0 to this grey level.
    """

    side: int = 96
    fewest_digits: int = 4
    most_digits: int = 8
    smallest: float = 1.2
    largest: float = 1.5
    noise: int = 40


class Scene(NamedTuple):
    """One image and its ground truth.

    Attributes:
        image: uint8 [side, side, 3].
        boxes: float32 [digits, 4], ymin, xmin, ymax, xmax as fractions of the side.
        labels: int64 [digits], 0 to 9.
        masks: bool [digits, side, side], the pixels of each digit's ink.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    masks: np.ndarray


def scale_glyph(glyph: np.ndarray, factor: float) -> np.ndarray:
    """Scales a glyph and crops it to the tight bounds of its ink: uint8 [28, 28] -> [height, width]."""
    size = round(SIDE * factor)
    scaled = np.asarray(Image.fromarray(glyph).resize((size, size), Image.BILINEAR))
    rows = np.flatnonzero((scaled >= INK).any(axis=1))
    columns = np.flatnonzero((scaled >= INK).any(axis=0))
    return scaled[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def compose(digits: Digits, style: SceneStyle, random: np.random.RandomState) -> Scene:
    """Draws one scene of randomly chosen digits that do not touch each other."""
    canvas = random.randint(0, style.noise + 1, (style.side, style.side)).astype(np.uint8)
    taken = np.zeros((style.side, style.side), dtype=bool)
    boxes: List[List[float]] = []
    labels: List[int] = []
    masks: List[np.ndarray] = []
    for _ in range(random.randint(style.fewest_digits, style.most_digits + 1)):
        index = random.randint(len(digits.labels))
        glyph = scale_glyph(digits.glyphs[index], random.uniform(style.smallest, style.largest))
        height, width = glyph.shape
        for _ in range(PLACEMENTS):
            top = random.randint(style.side - height + 1)
            left = random.randint(style.side - width + 1)
            if not taken[top : top + height, left : left + width].any():
                break
        else:
            continue  # No room. The first digit always finds some, so no scene stays empty.
        place = canvas[top : top + height, left : left + width]
        np.maximum(place, glyph, out=place)
        rows = slice(max(top - MARGIN, 0), top + height + MARGIN)
        columns = slice(max(left - MARGIN, 0), left + width + MARGIN)
        taken[rows, columns] = True
        mask = np.zeros((style.side, style.side), dtype=bool)
        mask[top : top + height, left : left + width] = glyph >= INK
        masks.append(mask)
        boxes.append([top, left, top + height, left + width])
        labels.append(int(digits.labels[index]))
    return Scene(
        image=np.repeat(canvas[:, :, np.newaxis], 3, axis=2),
        boxes=np.array(boxes, dtype=np.float32) / style.side,
        labels=np.array(labels, dtype=np.int64),
        masks=np.stack(masks),
    )


def make_scenes(digits: Digits, count: int, style: SceneStyle, seed: int) -> Iterator[Scene]:
    """Yields `count` scenes; the same seed gives the same scenes."""
    random = np.random.RandomState(seed)
    for _ in range(count):
        yield compose(digits, style, random)
