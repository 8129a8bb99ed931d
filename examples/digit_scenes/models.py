"""The models that the demo trains, and what differs between them."""

from pathlib import Path
from typing import NamedTuple

from examples.digit_scenes import config
from examples.digit_scenes.scenes import SceneStyle


class Model(NamedTuple):
    """A model of the API and how it is trained here.

    Attributes:
        title: What it is called.
        template: Its pipeline config.
        style: The scenes it sees.
        has_masks: It predicts instance masks, too.
        backbone_steps: Steps in which slim's classifier of the same backbone learns single digits first; 0 for none.
        dense_steps: Steps of dense training.
        prune_steps: Steps of pruning.
        dense_rate: Learning rate of dense training.
        prune_rate: Learning rate of pruning.
        scenes: Training scenes.
        held_out: Held-out scenes.
        shown: Detections below this score are not drawn.
    """

    title: str
    template: Path
    style: SceneStyle
    has_masks: bool
    backbone_steps: int
    dense_steps: int
    prune_steps: int
    dense_rate: float
    prune_rate: float
    scenes: int
    held_out: int
    shown: float


MODELS = {
    "ssd": Model(
        title="SSD MobileNet V1",
        template=config.SSD,
        style=SceneStyle(),
        has_masks=False,
        backbone_steps=0,
        dense_steps=1400,
        prune_steps=450,
        dense_rate=0.15,
        prune_rate=0.05,
        scenes=3000,
        held_out=240,
        shown=0.4,
    ),
    "mask_rcnn": Model(
        title="Mask R-CNN Inception V2",
        template=config.MASK_RCNN,
        # Fewer and larger digits: this model looks at every 16th pixel.
        style=SceneStyle(side=128, fewest_digits=3, most_digits=5, smallest=1.6, largest=2.4),
        has_masks=True,
        backbone_steps=250,
        dense_steps=1200,
        prune_steps=1000,
        dense_rate=0.0005,
        prune_rate=0.0005,
        scenes=1500,
        held_out=80,
        shown=0.15,
    ),
}
