"""What masking adds to building a training graph."""

from typing import List

from benchmarks.budgets import Outcome
from benchmarks.machine import describe
from benchmarks.options import Options
from benchmarks.page import publish


def run(options: Options) -> List[Outcome]:
    """Measures the models, writes JSON, section and picture, and returns the outcomes.

    Raises:
        UsageError: a model's name is unknown.
    """
    from benchmarks.rewriting import drawing, measuring, report, summary
    from benchmarks.rewriting.models import MODELS

    costs = []
    for model in options.chosen(MODELS, [model for model in MODELS if model.usual]):
        pairs = measuring.measure(
            model, options.repeat, lambda text, title=model.title: options.progress(f"{title}: {text}")
        )
        costs.append(summary.summarize(model, pairs))
        options.progress(report.line(costs[-1]))
    machine, outcomes = describe(), summary.outcomes(costs)
    values = report.as_dict(machine, options.repeat, costs, outcomes)
    section = report.markdown(machine, options.repeat, costs, outcomes)
    publish(options, "rewriting", values, section, lambda path: drawing.draw(costs, path))
    return outcomes
