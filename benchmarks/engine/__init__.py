"""What masks and their updates cost while training, beside the dense net and tf.contrib.model_pruning."""

import json
import os
from typing import Any, Dict, List, Sequence

import click

from benchmarks.budgets import Outcome
from benchmarks.machine import describe
from benchmarks.options import Options
from benchmarks.page import write_section


def run(options: Options) -> List[Outcome]:
    """Measures the nets, writes JSON, section and picture, and returns the outcomes.

    Raises:
        UsageError: a net's name is unknown.
        RuntimeError: what was to be timed did not do what it should have.
    """
    from benchmarks.engine import drawing, memory, report, summary, updates
    from benchmarks.engine.child import measured
    from benchmarks.engine.nets import weight_shapes

    load = os.getloadavg()[0]
    # Enough for the middle half of the ratios of a step to be narrower than its budget, in a few minutes.
    counts = {"blocks": 2 * options.repeat, "rounds": 3 * options.repeat, "off_rounds": 100 * options.repeat}
    costs: List[summary.Cost] = []
    raw: Dict[str, Dict[str, Any]] = {}
    for net in _chosen(options.models):
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
    options.out.mkdir(parents=True, exist_ok=True)
    (options.docs / "images").mkdir(parents=True, exist_ok=True)
    told = {**counts, "updates": memory.UPDATES, "few": updates.FEW, "load": load}
    values = report.as_dict(machine, told, costs, outcomes, raw)
    (options.out / "engine.json").write_text(json.dumps(values, indent=2) + "\n")
    drawing.draw(costs, options.docs / "images" / "engine.png")
    write_section(options.docs / "benchmarks.md", "engine", report.markdown(machine, told, costs, outcomes))
    return outcomes


def _chosen(names: Sequence[str]) -> List[Any]:
    from benchmarks.engine.nets import NETS

    known = {net.name: net for net in NETS}
    for name in names:
        if name not in known:
            raise click.UsageError(f"--model: expected one of {', '.join(known)}, found '{name}'")
    return [known[name] for name in names] if names else list(NETS)
