"""Draws how_it_works.png: a convolution's weight before and after masking, and where each step happens."""

from pathlib import Path
from typing import Tuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

MODEL, OURS, INK = "#e8eef7", "#fbe3c8", "#22303f"
WIDTH, HEIGHT = 1.5, 0.52

Point = Tuple[float, float]


def box(axes, at: Point, text: str, color: str) -> None:
    """Draws an op centred at a point."""
    x, y = at
    style = "round,pad=0.02,rounding_size=0.08"
    corner = (x - WIDTH / 2, y - HEIGHT / 2)
    axes.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, boxstyle=style, facecolor=color, edgecolor=INK, linewidth=1))
    axes.text(x, y, text, ha="center", va="center", fontsize=9.5, color=INK)


def arrow(axes, start: Point, end: Point, text: str = "", style: str = "-", bend: float = 0.0) -> None:
    """Draws an edge between two points."""
    connection = f"arc3,rad={bend}"
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, linestyle=style, color=INK, shrinkA=2,
                        shrinkB=2, connectionstyle=connection)
    )  # fmt: skip
    if text:
        axes.text((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.13, text, ha="center", fontsize=8.5, color=INK)


def right(at: Point) -> Point:
    """The middle of a box's right side."""
    return at[0] + WIDTH / 2 + 0.02, at[1]


def left(at: Point) -> Point:
    """The middle of a box's left side."""
    return at[0] - WIDTH / 2 - 0.02, at[1]


def top(at: Point) -> Point:
    """The middle of a box's upper side."""
    return at[0], at[1] + HEIGHT / 2 + 0.02


def bottom(at: Point) -> Point:
    """The middle of a box's lower side."""
    return at[0], at[1] - HEIGHT / 2 - 0.02


def main() -> None:
    """Draws the picture beside this file."""
    figure, (before, after) = plt.subplots(2, 1, figsize=(9.2, 6.2), gridspec_kw={"height_ratios": [1, 1.75]})
    weights, read, conv, loss = (1.0, 1.0), (3.2, 1.0), (7.6, 1.0), (9.8, 1.0)
    penalty = (5.4, 0.1)
    for axes in (before, after):
        box(axes, weights, "weights", MODEL)
        box(axes, read, "read", MODEL)
        box(axes, conv, "Conv2D", MODEL)
        box(axes, loss, "loss", MODEL)
        box(axes, penalty, "weight decay", MODEL)
        arrow(axes, right(weights), left(read))
        arrow(axes, right(conv), left(loss))
        arrow(axes, bottom(read), left(penalty), bend=0.25)
        arrow(axes, right(penalty), bottom(loss), bend=0.25)
        axes.set_xlim(0, 10.8)
        axes.set_aspect("equal")
        axes.axis("off")
    before.set_ylim(-0.4, 1.6)
    before.set_title("the model as it is written", loc="left", fontsize=11, color=INK)
    arrow(before, right(read), left(conv))

    after.set_ylim(-0.4, 3.55)
    after.set_title("the same graph, masked before its gradients are built", loc="left", fontsize=11, color=INK)
    product, mask, threshold, update = (5.4, 1.0), (5.4, 2.05), (3.2, 2.05), (3.2, 3.1)
    box(after, product, "masked_weight", OURS)
    box(after, mask, "mask", OURS)
    box(after, threshold, "threshold", OURS)
    box(after, update, "mask update", OURS)
    train = (7.6, 3.1)
    box(after, train, "train_op", MODEL)
    arrow(after, right(read), left(product))
    arrow(after, right(product), left(conv))
    arrow(after, bottom(mask), top(product), "")
    after.text(5.55, 1.5, "multiply", fontsize=8.5, color=INK, va="center")
    arrow(after, bottom(update), top(threshold))
    arrow(after, (update[0] + 0.55, update[1] - HEIGHT / 2), (mask[0] - 0.45, mask[1] + HEIGHT / 2))
    arrow(after, left(train), right(update), "runs after it, on schedule", style="--")
    arrow(after, top(weights), left(update), bend=-0.3)
    after.text(1.0, 2.45, "magnitudes", fontsize=8.5, color=INK, rotation=55, ha="center")
    after.text(9.0, 2.05, "fold: weights := mask x weights,\nthen the model as it was written", fontsize=8.5,
               color=INK, ha="center", va="center", style="italic")  # fmt: skip
    figure.tight_layout()
    figure.savefig(str(Path(__file__).with_suffix(".png")), dpi=130, facecolor="white")


if __name__ == "__main__":
    main()
