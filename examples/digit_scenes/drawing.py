"""A picture of detections, with their instance masks if there are any: ground truth, dense and pruned side by side."""

from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from object_detection.utils import np_box_ops
from PIL import Image

from examples.digit_scenes.exporting import Detections
from examples.digit_scenes.scenes import Scene

COLOURS = {"truth": "#4da3ff", "dense": "#ffb000", "pruned": "#38d878"}
PANEL = 2.7  # inches
OVERLAP = 0.5  # intersection over union of two boxes that are taken for the same place
INSIDE = 0.5  # pixels above this probability are drawn as part of the digit
COVER = 0.55  # opacity of masks


class _Labelled(NamedTuple):
    """What is drawn over a scene.

    Attributes:
        boxes: float32 [n, 4] as fractions of the side.
        labels: One per box.
        masks: bool [n, side, side], or None.
    """

    boxes: np.ndarray
    labels: List[str]
    masks: Optional[np.ndarray]


def _draw(axes, image: np.ndarray, found: _Labelled, colour: str) -> None:
    """Draws one scene with labelled boxes."""
    side = image.shape[0]
    axes.imshow(image, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    if found.masks is not None:
        layer = np.zeros((side, side, 4))
        layer[found.masks.any(axis=0)] = to_rgba(colour, COVER)
        axes.imshow(layer, interpolation="nearest")
    for (top, left, bottom, right), label in zip(found.boxes * side - 0.5, found.labels):
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
    least: float,
    path: Path,
) -> None:
    """Writes the picture: one column per scene, one row each for ground truth, dense and pruned.

    Args:
        scenes: Scenes with their ground truth.
        dense: Detections of the dense model, one per scene.
        pruned: Detections of the pruned model, one per scene.
        titles: Titles of the three rows.
        least: Detections below this score are left out.
        path: PNG file to write.
    """
    figure = Figure(figsize=(PANEL * len(scenes) + 0.4, PANEL * 3 + 0.2), dpi=110)
    FigureCanvasAgg(figure)
    grid = figure.subplots(3, len(scenes), squeeze=False)
    for row, (title, key) in enumerate(zip(titles, COLOURS)):
        grid[row, 0].set_ylabel(title, fontsize=11)
        for column, scene in enumerate(scenes):
            side = scene.image.shape[0]
            found = {"dense": dense[column], "pruned": pruned[column]}
            shown = (
                _truth(scene, dense[column].masks is not None) if key == "truth" else _shown(found[key], side, least)
            )
            _draw(grid[row, column], scene.image, shown, COLOURS[key])
    figure.tight_layout(pad=0.5)
    figure.savefig(str(path))


def _truth(scene: Scene, with_masks: bool) -> _Labelled:
    return _Labelled(scene.boxes, [str(label) for label in scene.labels], scene.masks if with_masks else None)


def _shown(found: Detections, side: int, least: float) -> _Labelled:
    """Keeps what is confident enough to draw; at one place the digit of the highest score."""
    keep: List[int] = []
    for index in np.argsort(-found.scores, kind="stable"):
        same_place = np_box_ops.iou(found.boxes[[index]], found.boxes[keep]) > OVERLAP
        if found.scores[index] >= least and not same_place.any():
            keep.append(index)
    labels = [f"{digit}  {score:.2f}" for digit, score in zip(found.labels[keep], found.scores[keep])]
    if found.masks is None:
        return _Labelled(found.boxes[keep], labels, None)
    masks = [paste(mask, box, side) for mask, box in zip(found.masks[keep], found.boxes[keep])]
    return _Labelled(found.boxes[keep], labels, np.array(masks, bool).reshape(-1, side, side))


def paste(mask: np.ndarray, box: np.ndarray, side: int) -> np.ndarray:
    """Stretches a mask over its box.

    Args:
        mask: float32 [height, width], probabilities over the box.
        box: float32 [4], ymin, xmin, ymax, xmax as fractions of the side.
        side: Height and width of the scene, pixels.

    Returns:
        bool [side, side].
    """
    pasted = np.zeros((side, side), bool)
    top, left, bottom, right = np.clip(np.round(box * side), 0, side).astype(int)
    if top < bottom and left < right:
        stretched = Image.fromarray(mask).resize((right - left, bottom - top), Image.BILINEAR)
        pasted[top:bottom, left:right] = np.asarray(stretched) > INSIDE
    return pasted
