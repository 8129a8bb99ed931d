"""Scenes of the digits 0, 1 and 2 for detectors of three classes, with an instance mask for every digit."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from examples.digit_scenes import digits, records, scenes
from tests.models.matrix.configs import CLASSES


class Data(NamedTuple):
    """Files that a pipeline config names, and the image held out, uint8 [1, side, side, 3]."""

    train: Path
    held_out: Path
    label_map: Path
    image: Any


def write_data(folder: Path, side: int) -> Data:
    """Writes four scenes to train on, and one to evaluate."""
    folder.mkdir(parents=True, exist_ok=True)
    data = Data(folder / "train.record", folder / "held_out.record", folder / "digits.pbtxt", None)
    style = scenes.SceneStyle(side=side, fewest_digits=2, most_digits=4, smallest=1.5, largest=2.2)
    known = digits.load_digits()
    few = known.labels < CLASSES
    train, held_out = digits.split_digits(digits.Digits(known.glyphs[few], known.labels[few]), 0.2, 1)
    records.write_records(scenes.make_scenes(train, 4, style, 1), data.train, "train")
    (scene,) = scenes.make_scenes(held_out, 1, style, 2)
    records.write_records([scene], data.held_out, "held-out")
    data.label_map.write_text("".join(f"item {{ id: {d + 1} name: '{d}' }}\n" for d in range(CLASSES)))
    return data._replace(image=scene.image[np.newaxis])
