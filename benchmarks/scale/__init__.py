"""What masking costs under MirroredStrategy, by the number of replicas."""

import os
from typing import Any, Dict, List

from benchmarks.budgets import Outcome
from benchmarks.machine import describe
from benchmarks.options import Options
from benchmarks.page import publish

REPLICAS = (1, 2, 4)


def run(options: Options) -> List[Outcome]:
    """Measures one net on each number of devices, writes JSON, section and picture, and returns the outcomes.

    Raises:
        UsageError: a net's name is unknown.
        RuntimeError: what was to be timed did not do what it should have.
    """
    from benchmarks.engine.child import measured
    from benchmarks.engine.nets import NETS
    from benchmarks.scale import drawing, report, summary

    load = os.getloadavg()[0]
    usual = [net for net in NETS if net.name == "mobilenet_v1"]
    counts = {"builds": options.repeat, "blocks": options.repeat}
    costs: List[summary.Cost] = []
    raw: Dict[str, Any] = {}
    for net in options.chosen(NETS, usual):
        for replicas in REPLICAS:
            options.progress(f"{net.title}: {replicas} replicas")
            asked = {"net": net.name, "replicas": replicas, "batch": options.batch, **counts}
            found = measured("replicas", asked)
            raw[f"{net.name} {replicas}"] = found
            costs.append(summary.summarize(net, replicas, found))
            options.progress(report.line(costs[-1]))
    machine, outcomes = describe(), summary.outcomes(costs)
    values = report.as_dict(machine, {**counts, "load": load}, costs, outcomes, raw)
    section = report.markdown(machine, {**counts, "load": load, "batch": options.batch}, costs, outcomes)
    publish(options, "scale", values, section, lambda path: drawing.draw(costs, path))
    return outcomes
