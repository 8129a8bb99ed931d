"""Runs the study: python -m benchmarks.accuracy."""

import json
import os
import warnings
from pathlib import Path
from typing import Any, Dict, List, Optional

import click
from rich.console import Console

from benchmarks.accuracy import drawing, page, summary
from benchmarks.accuracy.running import Interrupted, Result, Runner
from benchmarks.accuracy.settings import Study
from graph_masker.files.writing import write_text


def study_results(study: Study, runner: Runner) -> Dict[str, List[Result]]:
    """Does what is missing of a study and returns all results: ``choosing`` and ``compared``."""
    choosing = runner.results("choosing the learning rate", study.choosing())
    rate = summary.best_rate(choosing)
    return {"choosing": choosing, "compared": runner.results(f"comparing nets, rate {rate:g}", study.compared(rate))}


def publish(results: Dict[str, List[Result]], docs: Path) -> None:
    """Writes page, picture, and the results that they are made from."""
    (docs / "images").mkdir(parents=True, exist_ok=True)
    drawing.draw(summary.scores(results["compared"]), docs / "images" / "accuracy.png")
    # One line per run.
    parts = [
        f'"{name}": [\n' + ",\n".join(json.dumps(result, sort_keys=True) for result in found) + "\n]"
        for name, found in results.items()
    ]
    write_text(str(docs / "results.json"), "{\n" + ",\n".join(parts) + "\n}\n")
    write_text(str(docs / "results.md"), page.markdown(results["choosing"], results["compared"]))


@click.command()
@click.option("--jobs", type=click.IntRange(1), default=None, help="Runs at a time.  [default: one per core]")
@click.option("--minutes", type=click.FloatRange(0), default=None, help="Start no run after so many minutes.")
@click.option("--steps", type=click.IntRange(1), default=None, help="Another budget of training steps.")
@click.option("--out", type=click.Path(file_okay=False), default="build/study", show_default=True)
@click.option("--docs", type=click.Path(file_okay=False), default="docs", show_default=True)
def main(jobs: Optional[int], minutes: Optional[float], steps: Optional[int], out: str, docs: str) -> None:
    """Trains large sparse and small dense nets alike, and compares their accuracies.

    Results of single runs go to --out, where an interrupted study goes on; the page `results.md` to --docs.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    warnings.simplefilter("ignore")
    study = Study()
    if steps is not None:
        study = study._replace(training=study.training._replace(steps=steps))
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        results = study_results(study, Runner(Path(out), jobs or _cores(), minutes, console))
    except (Interrupted, RuntimeError) as error:
        raise click.ClickException(str(error)) from error
    publish(results, Path(docs))
    console.print(f"written: {Path(docs) / 'results.md'}")


def _cores() -> Any:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.accuracy")
