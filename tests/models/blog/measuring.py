"""All that the page says of the two ways, measured."""

import ast
import inspect
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import tensorflow.compat.v1 as tf

from graph_masker.plan import MaskPlan
from tests.helpers.bits import differences
from tests.models.blog import by_hand, forward, runs
from tests.models.blog.runs import BLOG, EVERY, HALF, RESUMED, STEPS, Recording, Scenes

EVERY_STEPS = 8
SIDES = ("by hand", "auto_mask")
# Source that the blog's way copies, and reads from then on instead of the original.
COPIES = (by_hand.inception_v2.inception_v2_base, by_hand.extractor.FasterRCNNInceptionV2FeatureExtractor)

Say = Callable[[str], Any]


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        whole: by side, training from the start.
        resumed: by the side that trained to the exchange and the one that went on, training from there.
        blogged: what going on in the same directory ends in with the hook as the blog has it; empty if it goes on.
        taken_over: auto_mask, going on in that directory.
        everywhere: by side, with all layers of contrib's kinds masked.
        plan: what auto_mask masks by itself, and what not.
        copied: lines of code, and convolutions in them to be replaced, by what is copied.
    """

    whole: Dict[str, Recording]
    resumed: Dict[Tuple[str, str], Recording]
    blogged: str
    taken_over: Recording
    everywhere: Dict[str, Recording]
    plan: MaskPlan
    copied: Dict[str, Tuple[int, int]]


def train_whole(scenes: Scenes) -> Dict[str, Recording]:
    """Trains both ways from the start; leaves what `resume` goes on from."""
    for side in SIDES:
        _half(scenes, side).mkdir(parents=True)
    root = scenes.root
    saving = [{"save_at": HALF, "save_to": _half(scenes, side)} for side in SIDES]
    return {
        "by hand": runs.by_hand_run(scenes, BLOG, root / "by hand", STEPS, **saving[0]),
        "auto_mask": runs.auto_masked_run(scenes, BLOG.spec, root / "auto_mask", STEPS, **saving[1]),
    }


def resume(scenes: Scenes, first: str, second: str) -> Recording:
    """Goes on in one way from what the other, or the same, has saved."""
    folder = runs.start_from(_half(scenes, first), scenes.root / f"{first}, then {second}")
    if second == "by hand":
        return runs.by_hand_run(scenes, BLOG, folder, RESUMED, hook_first=True)
    return runs.auto_masked_run(scenes, BLOG.spec, folder, RESUMED)


def resume_as_blogged(scenes: Scenes) -> str:
    """Goes on where the hook makes contrib's Pruning after the API has made its saver; returns what that ends in."""
    try:
        runs.by_hand_run(scenes, BLOG, scenes.root / "by hand", STEPS + 1)
    except (RuntimeError, tf.errors.OpError) as error:
        return str(error).splitlines()[0]
    return ""


def take_over(scenes: Scenes) -> Recording:
    """Goes on by auto_mask in the directory that training by hand has left."""
    return runs.auto_masked_run(scenes, BLOG.spec, scenes.root / "by hand", STEPS + 2)


def train_everywhere(scenes: Scenes) -> Dict[str, Recording]:
    """Trains both ways with all layers masked that contrib has masked ones for."""
    root = scenes.root
    return {
        "by hand": runs.by_hand_run(scenes, EVERY, root / "every by hand", EVERY_STEPS),
        "auto_mask": runs.auto_masked_run(scenes, EVERY.spec, root / "every auto_mask", EVERY_STEPS),
    }


def default_plan(scenes: Scenes) -> MaskPlan:
    """Returns what auto_mask masks where it is told nothing."""
    plans: List[MaskPlan] = []
    creator = runs.auto_masked_creator(runs.DEFAULT, on_plan=lambda plan, mode, config: plans.append(plan))
    forward.build(scenes, creator, scenes.root / "plan")
    return plans[0]


def copied_lines() -> Dict[str, Tuple[int, int]]:
    """Counts lines of code, without comments and docstrings, and convolutions in what the blog copies."""
    return {f"{item.__module__}.{item.__name__}": _count(inspect.getsource(item)) for item in COPIES}


def measure(root: Path, say: Say) -> Measured:
    """Measures everything; takes about a quarter of an hour."""
    scenes = Scenes.write(root)
    say("training from the start")
    whole = train_whole(scenes)
    resumed = {}
    for first in SIDES:
        for second in SIDES:
            say(f"{first} to step {HALF}, then {second}")
            resumed[first, second] = resume(scenes, first, second)
    say("going on from the blog's own checkpoint")
    blogged = resume_as_blogged(scenes)
    taken_over = take_over(scenes)
    say("training with all layers masked")
    return Measured(whole, resumed, blogged, taken_over, train_everywhere(scenes), default_plan(scenes), copied_lines())


def differing(one: Recording, other: Recording) -> List[str]:
    """Returns one line per step and loss or variable that differs."""
    return differences(one.flat(), other.flat())


def compared(recording: Recording) -> int:
    """Returns how many numbers were compared."""
    return len(recording.steps) * (len(runs.LOSSES) + sum(recording.sizes.values()))


def _half(scenes: Scenes, side: str) -> Path:
    return scenes.root / f"{side} to step {HALF}"


def _count(source: str) -> Tuple[int, int]:
    tree = ast.parse(textwrap.dedent(source))
    documented = (ast.FunctionDef, ast.ClassDef)
    text = {
        line
        for node in ast.walk(tree)
        if isinstance(node, documented) and ast.get_docstring(node) is not None
        for line in _span(source, node)
    }
    lines = [
        line
        for number, line in enumerate(source.splitlines(), 1)
        if line.strip() and not line.strip().startswith("#") and number not in text
    ]
    return len(lines), sum(line.count("slim.conv2d") for line in lines)


def _span(source: str, node: Any) -> range:
    """Returns the numbers of a docstring's lines. In Python 3.7 its node has the number of its last line."""
    last = node.body[0].lineno if node.body[0].lineno > 0 else node.body[0].value.lineno
    return range(last - node.body[0].value.s.count("\n"), last + 1)
