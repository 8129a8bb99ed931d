"""Where the demo puts its files, and how earlier results are cleared away."""

import shutil
from pathlib import Path
from typing import NamedTuple

MARKER = ".digit_scenes"


class Layout(NamedTuple):
    """Names of everything below the output folder."""

    root: Path

    @property
    def train_records(self) -> Path:
        """TFRecords of the training scenes."""
        return self.root / "data" / "train.record"

    @property
    def held_out_records(self) -> Path:
        """TFRecords of the held-out scenes."""
        return self.root / "data" / "held_out.record"

    @property
    def label_map(self) -> Path:
        """Label map of the digits."""
        return self.root / "data" / "digits.pbtxt"

    @property
    def backbone(self) -> Path:
        """Prefix of the classifier's checkpoint that a detector starts from, if it starts from one."""
        return self.root / "backbone" / "model.ckpt"

    @property
    def dense(self) -> Path:
        """Folder of dense training."""
        return self.root / "dense"

    @property
    def pruned(self) -> Path:
        """Folder of pruning."""
        return self.root / "pruned"

    @property
    def folded_checkpoint(self) -> Path:
        """Prefix of the checkpoint with the masks folded away."""
        return self.pruned / "folded" / "model.ckpt"

    @property
    def summary(self) -> Path:
        """All results as JSON."""
        return self.root / "summary.json"

    @property
    def picture(self) -> Path:
        """Detections, dense beside pruned."""
        return self.root / "detections.png"

    @property
    def log(self) -> Path:
        """What TensorFlow and the API printed."""
        return self.root / "tensorflow.log"


def prepare(root: Path) -> Layout:
    """Makes an output folder with nothing in it but the folders the demo writes to.

    Earlier results of the demo are removed, and only those: a folder that holds anything else and was not made
    by the demo is refused.

    Args:
        root: The output folder, existing or not.

    Raises:
        FileExistsError: The folder is not empty and does not bear the demo's marker.
    """
    layout = Layout(root.resolve())
    marker = layout.root / MARKER
    if layout.root.exists() and any(layout.root.iterdir()) and not marker.exists():
        raise FileExistsError(f"{layout.root} holds files the demo did not make; name another folder")
    for folder in (layout.train_records.parent, layout.backbone.parent, layout.dense, layout.pruned):
        if folder.exists():
            shutil.rmtree(str(folder))
    for file in (layout.summary, layout.picture, layout.log):
        if file.exists():
            file.unlink()
    for folder in (layout.train_records.parent, layout.dense, layout.folded_checkpoint.parent):
        folder.mkdir(parents=True)
    marker.write_text("Made by the demo examples/digit_scenes, which may replace these files.\n")
    return layout
