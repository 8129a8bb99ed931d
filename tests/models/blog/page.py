"""The page that compares the two ways."""

import inspect
from typing import Dict, Iterable, List, Sequence, Tuple

from graph_masker.plan import Site
from graph_masker.schedule import update_steps
from tests.models.blog import by_hand
from tests.models.blog.measuring import EVERY_STEPS, Measured, compared, differing
from tests.models.blog.runs import BLOG, HALF, LOSSES, RESUMED, STEPS

COMMAND = "python -m tests.models.blog --docs docs/blog.md"
SOURCE = "https://panch.io/pruning-mask-rcnn-models-with-tensorflow"
HEAD = f"""# A detector masked by hand, and by graph_masker

The blog [Pruning Mask RCNN Models with TensorFlow]({SOURCE}) makes the Object Detection API's Mask R-CNN Inception V2
prunable by hand: slim's Inception V2 and the API's feature extractor are copied, with `tf.contrib.model_pruning`'s
`masked_conv2d` for `slim.conv2d`, and a hook runs contrib's mask update after each step. Here that model trains beside
the untouched one under `auto_mask`, on 128 px images of real handwritten digits with instance masks, one per step:
same seeds, same order, one thread. `{COMMAND}` trains both and writes this page.

The masked layers stand where the copies have them because what the two files call slim is replaced while the model is
built: nothing of them is copied here. Random ops are seeded by their number among random ops on both sides; TensorFlow
would seed them by the number of all ops before them, of which a model masked by hand has more. Gradients that meet are
added up two by two, and Grappler is off: one sum of three or more TensorFlow begins with whichever of them nobody reads
any more, and on either side its last bits differ from run to run.
"""


def render(measured: Measured) -> str:
    """Returns the page."""
    parts = [HEAD, _work(measured), _training(measured), _left_dense(measured), _layers(measured)]
    return "\n".join(parts)


def _work(measured: Measured) -> str:
    hand, plan = measured.whole["by hand"], measured.plan
    copied = measured.copied
    weights = _weights(measured)
    entries = {name: weights[name] for name, _, _ in hand.masked}
    hook = len([line for line in inspect.getsource(by_hand.UpdateHook).splitlines() if line.strip()])
    files = ", ".join(f"`{name}`" for name in copied)
    total = sum(weights.values())
    rows = [
        ("third-party code to copy and keep up to date", f"{len(copied)} pieces: {files}", "none"),
        ("lines of code in the copies", str(sum(lines for lines, _ in copied.values())), "0"),
        ("places in them that name `slim.conv2d`", str(sum(places for _, places in copied.values())), "0"),
        ("own code", f"a hook ({hook} lines), the copies' registration", "`auto_mask(model_fn, spec)`"),
        ("mask update", "one more `session.run` after every step", "inside the train op"),
        ("masked weights", f"{len(entries)} of {len(weights)}", f"{len(plan.sites)} of {len(weights)}"),
        ("masked entries", _share(sum(entries.values()), total), _share(plan.entries, total)),
        ("going on after an interruption", f"fails: {_quoted(measured.blogged)}", "goes on, from either's checkpoint"),
    ]
    return "## What each takes\n\n" + _table(("", "by hand, as in the blog", "auto_mask"), rows) + "\n"


def _training(measured: Measured) -> str:
    hand, ours = measured.whole["by hand"], measured.whole["auto_mask"]
    updates = tuple(update_steps(BLOG.spec))
    lines = [
        "## The same training",
        "",
        f"{len(LOSSES)} losses and {len(hand.sizes)} variables (weights, batch norm, momentum, masks, thresholds, "
        f"steps) are compared after each step, byte by byte. Masks of {len(hand.masked)} layers are updated after "
        f"steps {', '.join(map(str, updates))}, up to a sparsity of {BLOG.spec.target_sparsity}.",
        "",
    ]
    rows: List[Tuple[str, str, str, str]] = [
        ("from random weights", f"1-{STEPS}", f"{compared(hand):,}", str(len(differing(ours, hand))))
    ]
    for first in ("by hand", "auto_mask"):
        other = "auto_mask" if first == "by hand" else "by hand"
        whole, exchanged = measured.resumed[first, first], measured.resumed[first, other]
        title = f"checkpoint of step {HALF} {_of(first)}: goes on {_of(other)}, against {_of(first)}"
        rows.append((title, f"{HALF + 1}-{RESUMED}", f"{compared(whole):,}", str(len(differing(exchanged, whole)))))
    every = measured.everywhere
    title = f"all {len(every['by hand'].masked)} weights masked that contrib has layers for"
    differ = str(len(differing(every["auto_mask"], every["by hand"])))
    rows.append((title, f"1-{EVERY_STEPS}", f"{compared(every['by hand']):,}", differ))
    header = ("auto_mask against by hand", "steps", "numbers compared", "losses and variables that differ")
    lines += [_table(header, rows), "", _ties(measured)]
    return "\n".join(lines)


def _ties(measured: Measured) -> str:
    recordings = [*measured.whole.values(), *measured.resumed.values(), *measured.everywhere.values()]
    ties = [tie for recording in recordings for tie in recording.ties]
    masks = sum(
        len(recording.masked) * len([step for step in update_steps(BLOG.spec) if step in recording.steps])
        for recording in recordings
    )
    text = (
        "contrib keeps every entry at or above the k-th magnitude; auto_mask keeps k entries, of equal ones the first. "
        "Where magnitudes are equal at the cut, bit for bit, the surplus entries are taken out of contrib's mask, and "
        f"nothing else is changed: in this run {len(ties)} of {masks // 2} masks that contrib made"
    )
    found = "; ".join(f"`{tie.mask}`, step {tie.step}: {tie.equal} equal, {tie.surplus} too many" for tie in ties)
    return f"{text}{f' ({found})' if found else ''}.\n"


def _left_dense(measured: Measured) -> str:
    masked = {name for name, _, _ in measured.whole["by hand"].masked}
    every = {name for name, _, _ in measured.everywhere["by hand"].masked}
    rows = [
        (
            f"`{site.variable}`",
            "x".join(map(str, site.shape)),
            f"{site.entries:,}",
            "in a file that is not copied" if site.variable in every else "contrib has no such masked layer",
        )
        for site in measured.plan.sites
        if site.variable not in masked
    ]
    skipped = [
        f"- `{skip.variable}`: {skip.reason}" for skip in measured.plan.skips if skip.variable.endswith("weights")
    ]
    table = _table(("weight", "shape", "entries", "why"), rows)
    return (
        f"## What copying leaves dense\n\nauto_mask masks these, too:\n\n{table}\n\n"
        "auto_mask leaves dense, unless told otherwise:\n\n" + "\n".join(skipped) + "\n"
    )


def _layers(measured: Measured) -> str:
    hand, ours = measured.whole["by hand"], measured.whole["auto_mask"]
    theirs = {weight: (mask, threshold) for weight, mask, threshold in hand.masked}
    sites: Dict[str, Site] = {site.variable: site for site in measured.plan.sites}
    rows = []
    for weight, entries in _weights(measured).items():
        names = theirs.get(weight)
        site = sites.get(weight)
        watched = [weight, f"{weight}/Momentum", *(names or ())]
        steps = [step for step in hand.steps if any(_differs(name, step, hand, ours) for name in watched)]
        rows.append(
            (
                f"`{weight}`",
                f"{entries:,}",
                _names(weight, names),
                _names(weight, None if site is None else (site.mask, site.threshold)),
                f"{len(steps)} of {len(hand.steps)}",
            )
        )
    header = ("weight", "entries", "by hand: mask, threshold", "auto_mask: mask, threshold", "steps that differ")
    return (
        "## Layer by layer\n\nNames of masks and thresholds in the weight's own scope, and in how many steps weight, "
        f"momentum, mask or threshold differ:\n\n{_table(header, rows)}\n"
    )


def _differs(name: str, step: int, one: object, other: object) -> bool:
    first, second = one.steps[step][name], other.steps[step][name]
    return first.tobytes() != second.tobytes()


def _weights(measured: Measured) -> Dict[str, int]:
    """Returns the entries of all weights of layers."""
    sizes = measured.whole["by hand"].sizes
    return {name: size for name, size in sizes.items() if name.endswith("weights")}


def _names(weight: str, names: Sequence[str]) -> str:
    if not names:
        return "dense"
    scope = weight.rpartition("/")[0] + "/"
    return ", ".join(f"`{name[len(scope) :] if name.startswith(scope) else name}`" for name in names)


def _of(side: str) -> str:
    return "by hand" if side == "by hand" else "under auto_mask"


def _quoted(error: str) -> str:
    """Quotes the end of an error's line, where the variable's name is."""
    if not error:
        raise ValueError("expected the blog's way to fail in going on, and it did not; the page is to say so")
    return f"`{error[error.index('Variables not initialized') :].split(',')[0]}`"


def _share(entries: int, total: int) -> str:
    return f"{entries:,} of {total:,}, {100 * entries / total:.1f}%"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
