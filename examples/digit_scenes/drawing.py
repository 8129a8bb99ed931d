"""A picture of detections: ground truth, dense and pruned side by side."""

from pathlib import Path
from typing import List, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from examples.digit_scenes.exporting import Detections
from examples.digit_scenes.scenes import Scene

COLOURS = {"truth": "#4da3ff", "dense": "#ffb000", "pruned": "#38d878"}
PANEL = 2.7  # inches
SHOWN = 0.4  # detections below this score are left out


def _draw(axes, image: np.ndarray, boxes: np.ndarray, labels: Sequence[str], colour: str) -> None:
    """Draws one scene with labelled boxes; boxes are float32 [n, 4] as fractions of the side."""
    side = image.shape[0]
    axes.imshow(image, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for (top, left, bottom, right), label in zip(boxes * side - 0.5, labels):
        width, height = right - left, bottom - top
        axes.add_patch(Rectangle((left, top), width, height, fill=False, color=colour, linewidth=1.6))
        # Above the box, or below it where the scene ends.
        above = top > 0.08 * side
        axes.text(
            left,
            top - 1 if above else bottom + 1,
            label,
            color="black",
            fontsize=8,
            va="bottom" if above else "top",
            clip_on=True,
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8, "alpha": 0.9},
        )


def draw_detections(
    scenes: Sequence[Scene],
    dense: Sequence[Detections],
    pruned: Sequence[Detections],
    titles: Sequence[str],
    path: Path,
) -> None:
    """Writes the picture: one column per scene, one row each for ground truth, dense and pruned.

    Args:
        scenes: Scenes with their ground truth.
        dense: Detections of the dense model, one per scene.
        pruned: Detections of the pruned model, one per scene.
        titles: Titles of the three rows.
        path: PNG file to write.
    """
    figure = Figure(figsize=(PANEL * len(scenes) + 0.4, PANEL * 3 + 0.2), dpi=110)
    FigureCanvasAgg(figure)
    grid = figure.subplots(3, len(scenes), squeeze=False)
    for row, (title, key) in enumerate(zip(titles, COLOURS)):
        grid[row, 0].set_ylabel(title, fontsize=11)
        for column, scene in enumerate(scenes):
            if key == "truth":
                boxes, labels = scene.boxes, [str(label) for label in scene.labels]
            else:
                boxes, labels = _shown(dense[column] if key == "dense" else pruned[column])
            _draw(grid[row, column], scene.image, boxes, labels, COLOURS[key])
    figure.tight_layout(pad=0.5)
    figure.savefig(str(path))


def _shown(found: Detections):
    """Keeps what is confident enough to draw: boxes [n, 4] and their labels."""
    keep = found.scores >= SHOWN
    labels: List[str] = [f"{digit}  {score:.2f}" for digit, score in zip(found.labels[keep], found.scores[keep])]
    return found.boxes[keep], labels
