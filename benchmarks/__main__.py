"""Runs benchmarks: python -m benchmarks [GROUP ...]. A missed budget is shown as missed; it is no error."""

import importlib
import os
import warnings
from pathlib import Path
from typing import Tuple

import click
from rich.console import Console

from benchmarks.budgets import outcomes_table
from benchmarks.options import Options
from graph_masker.report import console

# Each is a package with a function `run(options)` that writes its files and returns its outcomes.
GROUPS = {
    "rewriting": "What masking adds to building a training graph",
    "engine": "What masks and their updates cost while training",
    "scale": "What masking costs on 1, 2 and 4 devices of one process",
    "stripping": "What taking masks out of a frozen graph costs",
    "streaming": "What fold, rewrite and prune cost beside a plain copy",
}


@click.command()
@click.argument("groups", nargs=-1, type=click.Choice(tuple(GROUPS)))
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True, help="Repetitions of each measurement.")
@click.option("--model", "models", multiple=True, metavar="NAME", help="Measure this model; can be given repeatedly.")
@click.option("--batch", type=click.IntRange(1), default=2, show_default=True, help="Images per training step: engine.")
@click.option("--out", type=click.Path(file_okay=False), default="build/benchmarks", show_default=True)
@click.option("--docs", type=click.Path(file_okay=False), default="docs", show_default=True)
def main(groups: Tuple[str, ...], repeat: int, models: Tuple[str, ...], batch: int, out: str, docs: str) -> None:
    """Measures costs and compares them with their budgets.

    Without GROUPS all are run. JSON files go to --out, the page `benchmarks.md` and its pictures to --docs.
    """
    # TensorFlow reads this when it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    warnings.simplefilter("ignore")
    import tensorflow.compat.v1 as tf

    tf.logging.set_verbosity(tf.logging.ERROR)
    lines = Console(stderr=True, highlight=False)
    for name in groups or tuple(GROUPS):
        group = importlib.import_module(f"benchmarks.{name}")
        report = lambda text, name=name: lines.print(f"{name}: {text}", soft_wrap=True)  # noqa: E731
        outcomes = group.run(Options(repeat, models, Path(out), Path(docs), report, batch))
        console().print(outcomes_table(GROUPS[name], outcomes))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
