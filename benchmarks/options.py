"""What a run was asked for."""

from pathlib import Path
from typing import Any, Callable, List, NamedTuple, Sequence, Tuple

import click

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

    def chosen(self, known: Sequence[Any], usual: Sequence[Any]) -> List[Any]:
        """Returns those of the known models that were asked for, by name; the usual ones where none was.

        Raises:
            UsageError: a name is unknown.
        """
        by_name = {model.name: model for model in known}
        for name in self.models:
            if name not in by_name:
                raise click.UsageError(f"--model: expected one of {', '.join(by_name)}, found '{name}'")
        return [by_name[name] for name in self.models] or list(usual)
