"""What masking adds to building a training graph."""

import json
from typing import Any, List, Sequence

import click

from benchmarks.budgets import Outcome
from benchmarks.machine import describe
from benchmarks.options import Options
from benchmarks.page import write_section


def run(options: Options) -> List[Outcome]:
    """Measures the models, writes JSON, section and picture, and returns the outcomes.

    Raises:
        UsageError: a model's name is unknown.
    """
    from benchmarks.rewriting import drawing, measuring, report, summary

    costs = []
    for model in _chosen(options.models):
        pairs = measuring.measure(
            model, options.repeat, lambda text, title=model.title: options.progress(f"{title}: {text}")
        )
        costs.append(summary.summarize(model, pairs))
        options.progress(report.line(costs[-1]))
    machine, outcomes = describe(), summary.outcomes(costs)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.docs / "images").mkdir(parents=True, exist_ok=True)
    values = report.as_dict(machine, options.repeat, costs, outcomes)
    (options.out / "rewriting.json").write_text(json.dumps(values, indent=2) + "\n")
    drawing.draw(costs, options.docs / "images" / "rewriting.png")
    write_section(
        options.docs / "benchmarks.md", "rewriting", report.markdown(machine, options.repeat, costs, outcomes)
    )
    return outcomes


def _chosen(names: Sequence[str]) -> List[Any]:
    from benchmarks.rewriting.models import MODELS

    known = {model.name: model for model in MODELS}
    for name in names:
        if name not in known:
            raise click.UsageError(f"--model: expected one of {', '.join(known)}, found '{name}'")
    return [known[name] for name in names] if names else [model for model in MODELS if model.usual]
