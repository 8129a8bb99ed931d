"""Progress and time of the stages of a run."""

import contextlib
import sys
import time
from typing import IO, Callable, Dict, Iterator, Optional

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)


class Stages:
    """Shows one line per stage and remembers how long each took.

    Attributes:
        console: Where everything is shown.
        seconds: Seconds taken, by stage, in the order of the run.
    """

    def __init__(self, stream: Optional[IO[str]]) -> None:
        """Shows on a stream, or on standard output for None."""
        shown = stream or sys.stdout
        # Names of layers are not cut where the output goes to a file.
        self.console = Console(file=stream, width=None if shown.isatty() else 120)
        self.seconds: Dict[str, float] = {}
        self._start = time.time()

    @property
    def total(self) -> float:
        """Seconds since the start."""
        return time.time() - self._start

    def rule(self, title: str) -> None:
        """Opens a part of the run."""
        self.console.rule(f"[bold]{title}")

    @contextlib.contextmanager
    def stage(self, key: str, title: str, total: Optional[int] = None) -> Iterator[Callable[[int], None]]:
        """Times a stage.

        Args:
            key: Name in `seconds`.
            title: What the user reads.
            total: How many steps the stage has, where that is known.

        Yields:
            A function to call with the number of steps done.
        """
        columns = [SpinnerColumn(finished_text="[green]✓"), TextColumn("{task.description:<44}")]
        columns += [BarColumn(), MofNCompleteColumn()] if total else []
        columns += [TimeElapsedColumn()]
        start = time.time()
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(title, total=total)
            yield lambda done: progress.update(task, completed=done)
            progress.update(task, total=total or 1, completed=total or 1)
        self.seconds[key] = round(time.time() - start, 1)
