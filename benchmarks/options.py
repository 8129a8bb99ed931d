"""What a run was asked for."""

from pathlib import Path
from typing import Callable, NamedTuple, Tuple

Progress = Callable[[str], None]


class Options(NamedTuple):
    """Options of the command line, the same for every group.

    Attributes:
        repeat: repetitions of each measurement.
        models: names of the models to measure; empty for a group's usual ones.
        out: folder of the JSON files.
        docs: folder of the page and its pictures.
        progress: called with what is being done now.
        batch: images per training step, where steps are measured.
    """

    repeat: int
    models: Tuple[str, ...]
    out: Path
    docs: Path
    progress: Progress
    batch: int = 2
