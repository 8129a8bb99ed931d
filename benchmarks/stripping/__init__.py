"""What stripping a frozen graph costs, beside the tool of tf.contrib.model_pruning."""

import os
from typing import List

from benchmarks.budgets import Outcome
from benchmarks.machine import describe
from benchmarks.options import Options
from benchmarks.page import publish


def run(options: Options) -> List[Outcome]:
    """Measures the nets, writes JSON, section and picture, and returns the outcomes.

    Raises:
        UsageError: a net's name is unknown.
        RuntimeError: the two give different weights or outputs.
    """
    from benchmarks.engine.nets import NETS
    from benchmarks.stripping import measuring, report

    load, costs = os.getloadavg()[0], []
    for net in options.chosen(NETS, NETS[:1]):
        options.progress(f"{net.title}: stripped {3 * options.repeat} times")
        costs.append(measuring.measure(net, 3 * options.repeat))
        options.progress(report.line(costs[-1]))
    machine, outcomes = describe(), report.outcomes(costs)
    values = {"machine": machine, "load": load, "nets": [cost._asdict() for cost in costs]}
    values["outcomes"] = [outcome.as_dict() for outcome in outcomes]
    section = report.markdown(machine, load, 3 * options.repeat, costs, outcomes)
    publish(options, "stripping", values, section, lambda path: report.draw(costs, path))
    return outcomes
