"""What masks and their updates cost while training, beside the dense net and tf.contrib.model_pruning."""

import os
from typing import Any, Dict, List

from benchmarks.budgets import Outcome
from benchmarks.machine import describe
from benchmarks.options import Options
from benchmarks.page import publish


def run(options: Options) -> List[Outcome]:
    """Measures the nets, writes JSON, section and picture, and returns the outcomes.

    Raises:
        UsageError: a net's name is unknown.
        RuntimeError: what was to be timed did not do what it should have.
    """
    from benchmarks.engine import drawing, memory, report, summary, updates
    from benchmarks.engine.child import measured
    from benchmarks.engine.nets import NETS, weight_shapes

    load = os.getloadavg()[0]
    # Enough for the middle half of the ratios of a step to be narrower than its budget, in a few minutes.
    counts = {"blocks": 2 * options.repeat, "rounds": 3 * options.repeat, "off_rounds": 100 * options.repeat}
    costs: List[summary.Cost] = []
    raw: Dict[str, Dict[str, Any]] = {}
    for net in options.chosen(NETS, NETS):
        say = lambda text, title=net.title: options.progress(f"{title}: {text}")  # noqa: E731
        shapes = weight_shapes(net)
        say(f"training, {counts['blocks']} blocks of steps")
        training = measured("training", {"net": net.name, "batch": options.batch, "blocks": counts["blocks"]})
        say(f"updates of {len(shapes)} masks")
        asked = {"shapes": shapes, "rounds": counts["rounds"], "off_rounds": counts["off_rounds"]}
        updating = measured("updates", asked)
        say("memory")
        peaks = {
            engine: measured("memory", {"engine": engine, "shapes": shapes}, memory.ENVIRONMENT)
            for engine in ("ours", "contrib")
        }
        raw[net.name] = {"training": training, "updates": updating, "memory": peaks}
        costs.append(summary.summarize(net, shapes, options.batch, training, updating, peaks))
        options.progress(report.line(costs[-1]))
    machine, outcomes = describe(), summary.outcomes(costs)
    told = {**counts, "updates": memory.UPDATES, "few": updates.FEW, "load": load}
    values = report.as_dict(machine, told, costs, outcomes, raw)
    section = report.markdown(machine, told, costs, outcomes)
    publish(options, "engine", values, section, lambda path: drawing.draw(costs, path))
    return outcomes
