"""What work on a large checkpoint costs, beside a plain copy of the same files that is flushed to the disk."""

import itertools
import os
import shutil
import tempfile
from typing import List

import click

from benchmarks.budgets import Outcome
from benchmarks.machine import describe
from benchmarks.options import Options
from benchmarks.page import publish


def run(options: Options) -> List[Outcome]:
    """Measures the checkpoints, writes JSON, section and picture, and returns the outcomes.

    Raises:
        UsageError: a checkpoint's name is unknown, or there is no room for it.
        RuntimeError: what was to be timed did not do what it should have.
    """
    from benchmarks.streaming import drawing, measuring, report, summary
    from benchmarks.streaming.files import CHECKPOINTS, make

    costs = []
    for kind, is_masked in itertools.product(options.chosen(CHECKPOINTS, CHECKPOINTS), (True, False)):
        with tempfile.TemporaryDirectory(prefix="graph_masker-") as folder:
            # The checkpoint, and what is made of it; rewriting adds half of it.
            if shutil.disk_usage(folder).free < 3.2 * kind.size:
                raise click.UsageError(f"{folder}: expected {3.2 * kind.size / 1e9:.0f} GB of space; set TMPDIR")
            options.progress(f"{kind.title}: making it")
            source = os.path.join(folder, "source")
            os.mkdir(source)
            made = make(source, kind, is_masked)
            options.progress(f"{kind.title}: {made.tensors} tensors, {made.size / 1e9:.2f} GB")
            for command in ("fold",) if is_masked else ("rewrite", "prune"):
                rounds = measuring.measure(source, folder, options.repeat, command)
                costs.append(summary.summarize(command, kind, made, rounds))
                options.progress(report.line(costs[-1]))
    costs.sort(key=lambda cost: summary.COMMANDS.index(cost.command))
    machine, outcomes = describe(), summary.outcomes(costs)
    values = report.as_dict(machine, options.repeat, costs, outcomes)
    section = report.markdown(machine, options.repeat, costs, outcomes)
    publish(options, "streaming", values, section, lambda path: drawing.draw(costs, path))
    return outcomes
