"""Small sets of the demo's scenes, for the API's own input functions."""

from pathlib import Path
from typing import Any, Tuple

import numpy as np

from examples.digit_scenes import config, digits, records, scenes
from examples.digit_scenes.layout import Layout, prepare

HELD_OUT = 8


def write_scenes(folder: Path) -> Tuple[Layout, Any]:
    """Writes 32 scenes to train on and 8 held out; returns where they are, and the images of those held out."""
    layout = prepare(folder)
    train, held_out = digits.split_digits(digits.load_digits(), 0.2, 1)
    style = scenes.SceneStyle()
    held_out_scenes = list(scenes.make_scenes(held_out, HELD_OUT, style, 2))
    records.write_records(scenes.make_scenes(train, 32, style, 1), layout.train_records, "train")
    records.write_records(held_out_scenes, layout.held_out_records, "held-out")
    records.write_label_map(layout.label_map)
    return layout, np.stack([scene.image for scene in held_out_scenes])


def phase_of(layout: Layout, steps: int, template: Path = config.SSD) -> config.Phase:
    """Writes the pipeline config of so many steps; returns where."""
    phase = config.Phase(layout.pruned, steps, 1e-3, template=template)
    phase.folder.mkdir(exist_ok=True)
    config.write_config(phase, layout)
    return phase
