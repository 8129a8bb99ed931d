"""docs/models.md, from the results of a run of the whole matrix."""

import textwrap
from typing import List, Mapping, Sequence

from benchmarks.machine import describe, sentence
from tests.models.matrix.models import DETECTORS, MODELS, Detector, Model
from tests.models.matrix.nets import FIRST, NETS, SECOND, TF_SLIM
from tests.models.matrix.result import Result

HEAD = """
Every model here comes from pip and is used as it comes: graph_masker sees nothing but the graph that its package
builds. Each is taken through the whole road, in a process of its own, with small images, batch size 1 and few classes.
`make test-all` runs them all, compares what it finds with the counts below, and writes this page; `make models` runs
them and writes it, and `make test` runs a few.

**Detectors** go through the Object Detection API's own `create_estimator_and_inputs`, Estimator and exporter, on scenes
of real digits: `auto_mask_estimator`, two steps with a mask update, a new Estimator that goes on for two more with the
last update, evaluation, `fold_checkpoint`, and `export_inference_graph` of the folded checkpoint.

**Nets** of slim train in plain sessions inside `masking`, go on in a second session, and are folded.
"""
CHECKS = {
    "verified": "no path leads past a mask to the loss in training and evaluation, or to an output in inference",
    "told": "every trainable variable is masked, or listed with the reason why it is not",
    "exact": """at both sparsities, 1/2 and 3/4, every mask has exactly n - round(n (1 - s)) zeros, and ones else; the
        step of the last update is right""",
    "resumed": "what goes on starts with the masks, thresholds and last update of the checkpoint, bit for bit",
    "evaluated": "the API's own evaluation runs on the masked model, and its loss is finite",
    "folded": "each folded weight, and its moving average, is the product with its mask, bit for bit; no mask is left",
    "exported": """the API's own exporter takes the folded checkpoint; the frozen graph has the zeros and nothing of
        pruning""",
    "same": """all outputs of the exported graph (of a net: of the net as it is, from the folded checkpoint) equal those
        of the masked graph, bit for bit, in sessions that run both as they were written""",
    "matters": "negative control: with ones for masks the outputs differ",
}
# What a net, which has no Estimator and no exporter of its own, is not taken through.
OF_DETECTORS = {"evaluated", "exported"}
REASONS = {
    "a": "a bias or scale: it has fewer than two axes",
    "b": "depthwise weights are masked only on request (also: depthwise)",
}
SECTIONS = (
    (f"Detectors of {FIRST} 0.0.3", DETECTORS, FIRST),
    (f"Detectors of {SECOND} 0.1", DETECTORS, SECOND),
    (f"slim nets of {FIRST} 0.0.3", NETS, FIRST),
    (f"slim nets of {SECOND} 0.1", NETS, SECOND),
    (f"Nets of {TF_SLIM} 1.1.0", NETS, TF_SLIM),
)
LEGEND = """
Ops are those of the inference graph: convolutions, depthwise ones, and matrix products. "Shared" counts the masked
weights that several ops read. Entries are of masked weights and of all trainable variables. Left dense is
"""
ABSENT = f"""
One model does not build: SSD MobileNet V1 PPN of {FIRST}. It takes the first of a dict's keys by an index, which Python
3 refuses; {SECOND} has mended that.
"""
COSTS = """
CPU seconds of one build each, by the stopwatch of [the benchmarks](benchmarks.md), which repeat theirs; `make test-all`
runs other tests beside them. On small nets it is what masking costs whatever the graph. Memory, and minutes of CPU, are
those of the whole road.
"""


def row(model: Model, result: Result) -> str:
    """Returns a model's row of counts: all of it is the same in every run.

    Raises:
        KeyError: a reason has no letter here.
    """
    convolutions = sum(count for name, count in result.ops.items() if name.startswith("Conv"))
    products = sum(count for name, count in result.ops.items() if "MatMul" in name)
    letters = {reason: letter for letter, reason in REASONS.items()}
    dense = sorted((letters[reason], count) for reason, count in result.skips.items())
    return _line(
        model.title,
        _input(model),
        f"{convolutions} / {result.ops.get('DepthwiseConv2dNative', 0)} / {products}",
        f"{result.sites:,}",
        f"{result.shared:,}",
        f"{result.entries:,} of {result.parameters:,}",
        ", ".join(f"{count} {letter}" for letter, count in dense) or "none",
        _passed(model, result),
    )


def page(results: Mapping[str, Result]) -> str:
    """Returns the whole page, from results by the models' names. A model without result is said not to have run."""
    parts = ["# Real models", _wrapped(HEAD)]
    head = _head(["model", "input", "ops", "masked", "shared", "entries masked", "left dense", "checks"], 2)
    for title, models, package in SECTIONS:
        rows = [_row_or_none(model, results) for model in models if model.package == package]
        parts += [f"## {title}", "\n".join([head, *rows])]
    parts.append(_wrapped(LEGEND))
    parts.append("\n".join(f"- {letter}: {reason}" for letter, reason in REASONS.items()))
    parts.append(
        "The checks, of which nets have no " + " and no ".join(f"*{name}*" for name in sorted(OF_DETECTORS)) + ":"
    )
    parts.append("\n".join(_item(f"*{name}*: {meaning}") for name, meaning in CHECKS.items()))
    parts += [_wrapped(ABSENT), "## What masking adds to building a training graph", sentence(describe())]
    parts += [_wrapped(COSTS), "\n".join(_costs(results))]
    return "\n\n".join(parts) + "\n"


def _row_or_none(model: Model, results: Mapping[str, Result]) -> str:
    if model.name in results:
        return row(model, results[model.name])
    return unrun_row(model)


def unrun_row(model: Model) -> str:
    """Returns the line of a model that has not been run for the page."""
    return _line(model.title, _input(model), "not run", *[""] * 5)


def _costs(results: Mapping[str, Result]) -> List[str]:
    lines = [_head(["model", "ops as it is", "built in, s", "masking adds, s", "share", "memory, GB", "minutes"], 1)]
    for model in (model for model in MODELS if model.name in results):
        found = results[model.name]
        assert found.costs is not None, f"{model.name}: not measured"
        lines.append(
            _line(
                model.title if model.package == FIRST else f"{model.title} ({model.package})",
                f"{found.costs.ops:,}",
                f"{found.costs.build:.1f}",
                f"{found.costs.rewrite:.2f}",
                f"{found.costs.share:.1%}",
                f"{found.gigabytes:.1f}",
                f"{found.seconds / 60:.1f}",
            )
        )
    return lines


def _passed(model: Model, result: Result) -> str:
    asked = set(CHECKS) - (set() if isinstance(model, Detector) else OF_DETECTORS)
    missing = asked - set(result.checks)
    return f"without {', '.join(sorted(missing))}" if missing else f"all {len(asked)}"


def _input(model: Model) -> str:
    shape = (model.config.side,) * 2 if isinstance(model, Detector) else model.shape[:-1]
    return " x ".join(map(str, shape))


def _wrapped(text: str) -> str:
    return "\n\n".join(textwrap.fill(" ".join(part.split()), 120) for part in text.strip().split("\n\n"))


def _item(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 120, initial_indent="- ", subsequent_indent="  ")


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _head(titles: Sequence[str], text: int) -> str:
    """Returns the head of a table; its first columns are text."""
    return _line(*titles) + "\n|" + "---|" * text + "---:|" * (len(titles) - text)
