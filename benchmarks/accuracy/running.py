"""Runs in processes side by side, each result kept as JSON, so that an interrupted study goes on."""

import json
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Set

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.accuracy.child import result_of
from benchmarks.accuracy.settings import Run
from graph_masker.files.writing import write_text

Result = Dict[str, Any]


class Interrupted(Exception):
    """The time was up before all runs were done; what is done is kept."""


def cached(run: Run, folder: Path) -> Optional[Result]:
    """Returns the result of an earlier run with the same settings, None where there is none."""
    path = folder / f"{run.name}.json"
    result = json.loads(path.read_text()) if path.exists() else None
    return result if result is not None and result["run"] == run.as_dict() else None


class Runner:
    """Does runs, or finds their results.

    Attributes:
        folder: of results and, while runs go on, their checkpoints.
        jobs: runs at a time.
        until: no run starts after this time, in seconds since the epoch; None where there is no such time.
    """

    def __init__(self, folder: Path, jobs: int, minutes: Optional[float], console: Console) -> None:
        self.folder, self.jobs = folder, jobs
        self.until = None if minutes is None else time.time() + 60 * minutes
        self._console = console

    def results(self, title: str, runs: Sequence[Run]) -> List[Result]:
        """Returns the results of runs, in their order.

        Raises:
            Interrupted: there was no time for all.
            RuntimeError: a run failed.
        """
        missing = [run for run in runs if cached(run, self.folder) is None]
        self._console.print(f"{title}: {len(runs)} runs, {len(runs) - len(missing)} of them done before")
        if missing:
            self._do(title, missing)
        found = [cached(run, self.folder) for run in runs]
        if None in found:
            raise Interrupted(f"{found.count(None)} of {len(runs)} runs are left; the same command goes on with them")
        return [result for result in found if result is not None]

    def _do(self, title: str, runs: Sequence[Run]) -> None:
        columns = TextColumn("{task.description:<48}"), BarColumn(), MofNCompleteColumn()
        waiting: List[Run] = list(runs)
        going: Set[Future[None]] = set()
        with Progress(
            *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self._console
        ) as progress, ThreadPoolExecutor(self.jobs) as pool:
            total = progress.add_task(title, total=sum(run.training.steps for run in runs))
            while waiting or going:
                while waiting and len(going) < self.jobs and (self.until is None or time.time() < self.until):
                    going.add(pool.submit(self._one, waiting.pop(0), progress, total))
                if not going:
                    return
                done, going = wait(going, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()

    def _one(self, run: Run, progress: Progress, total: Any) -> None:
        title = f"depth {run.case.title}, rate {run.training.rate:g}, seed {run.seed}"
        task, last = progress.add_task(title, total=run.training.steps), 0

        def step(done: int) -> None:
            nonlocal last
            progress.update(task, completed=done)
            progress.advance(total, done - last)
            last = done

        result = result_of(run, self.folder, step)
        step(run.training.steps)
        progress.remove_task(task)
        write_text(str(self.folder / f"{run.name}.json"), json.dumps(result, indent=1) + "\n")
        self._console.print(f"{run.scored}, {title}: {result['accuracy']:.2%}, {result['seconds']:.0f} s")
