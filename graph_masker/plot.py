"""Draws what a spec asks for over the steps, before anyone trains. Needs no TensorFlow."""

import io
import os
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from graph_masker import files
from graph_masker.errors import DestinationError, UsageError
from graph_masker.schedule import update_steps, weight_sparsities_at
from graph_masker.spec import ERK, GLOBAL, PruningSpec
from graph_masker.spec.settings import LAST_STEP, POLYNOMIAL
from graph_masker.spec.structure import plain_structure

# Kept in every picture drawn here, so that the next one may take its place.
_SOFTWARE = "graph-masker plot"
# More marks than this run into each other.
_MOST_MARKS = 1000
_MOST_ROWS = 12


class Curve(NamedTuple):
    """The weights that share a target: the target, a fraction of zeros, and who they are, for people."""

    target: float
    label: str


def curves(spec: PruningSpec) -> List[Curve]:
    """Returns one curve per distinct target: the spec's own first, then those that rules set."""
    own = [rule for rule in spec.rules if not rule.exclude]
    names: Dict[float, List[str]] = {spec.target_sparsity: ["every other weight"] if own else ["every weight"]}
    for rule, settings in spec.rule_settings():
        names.setdefault(settings.target_sparsity, []).append(rule.match)
    return [Curve(target, f"{target:.4g}: {_listed(who)}") for target, who in names.items()]


def last_drawn_step(spec: PruningSpec, until: Optional[int] = None) -> int:
    """Returns the last step that a picture of a spec shows.

    Args:
        spec: the schedule.
        until: the step asked for. None: a little beyond the last update, or beyond where the target is reached where
            updates go on without end.

    Raises:
        UsageError: no update comes before `until`.
    """
    if until is not None:
        if not spec.begin_step <= until <= LAST_STEP:
            raise UsageError(
                f"--until: expected a step from begin_step, {spec.begin_step}, to {LAST_STEP}, found {until}"
            )
        return until
    reached = max(spec.curve[1], spec.begin_step)
    if spec.last_step is not None:
        end = max(reached, spec.last_step) if spec.schedule == POLYNOMIAL else spec.last_step
        return min(LAST_STEP, end + max(1, (end - spec.begin_step) // 20))
    return min(LAST_STEP, reached + max(5 * spec.frequency, (reached - spec.begin_step) // 4))


def updates_table(spec: PruningSpec, until: Optional[int] = None) -> Any:
    """Returns a rich table of update steps and sparsities, one column per target; long ones are cut in the middle."""
    from rich.table import Table

    last = last_drawn_step(spec, until)
    steps = update_steps(spec, last)
    unfinished = spec.last_step is None or spec.last_step > last
    table = Table(title=f"{len(steps):,} mask updates{f' up to step {last:,}' if unfinished else ''}")
    table.title_justify = "left"
    table.add_column("update", justify="right")
    table.add_column("step", justify="right")
    drawn = curves(spec)
    for curve in drawn:
        table.add_column(curve.label, justify="right", overflow="fold")
    rows = list(range(len(steps)))
    if len(rows) > _MOST_ROWS:
        head = _MOST_ROWS // 2
        rows = rows[:head] + rows[-(_MOST_ROWS - head - 1) :]
    at = np.asarray(steps, np.int64)[rows]
    columns = [weight_sparsities_at(spec, curve.target, at) for curve in drawn]
    for row, (index, step) in enumerate(zip(rows, at)):
        if row and index > rows[row - 1] + 1:
            table.add_row("...", "...", *("..." for _ in columns))
        table.add_row(f"{index + 1:,}", f"{step:,}", *(f"{column[row]:.6f}" for column in columns))
    return table


def remarks(spec: PruningSpec) -> List[str]:
    """Returns what a curve alone does not show, one line each."""
    lines = []
    if spec.last_step is not None and spec.last_step < spec.curve[1]:
        found = weight_sparsities_at(spec, spec.target_sparsity, [spec.last_step])[0]
        lines.append(
            f"the target is not reached: the last update, at step {spec.last_step:,}, comes before sparsity_end_step, "
            f"{spec.curve[1]:,}, and asks for {found:.4f}"
        )
    if spec.allocation == ERK:
        lines.append("allocation erk: all weights together follow this curve, each with a share of its own")
    if spec.allocation == GLOBAL:
        lines.append("allocation global: the weights of a group together follow this curve")
    if spec.threshold_decay:
        lines.append("threshold_decay: masks lag behind this curve, and counts are not exact")
    return lines


def check_destination(path: str, overwrite: bool) -> None:
    """Raises where a picture may not be written: another file is there, or the name is not a PNG's.

    A picture that was drawn here before may be replaced: a schedule is drawn again and again until it pleases.

    Raises:
        DestinationError: see above.
    """
    if not path.lower().endswith(".png"):
        raise DestinationError(f"{path}: expected a name that ends in .png, for the picture to be drawn")
    if os.path.isdir(path):
        raise DestinationError(f"{path}: expected a file to write the picture to, found a directory")
    if os.path.exists(path) and not overwrite and not _drawn_here(path):
        raise DestinationError(
            f"{path}: exists already, and was not drawn by graph-masker plot; give --overwrite or another --out"
        )


def draw(spec: PruningSpec, path: str, until: Optional[int] = None) -> None:
    """Writes a PNG of the requested sparsity over the steps, with a mark at every mask update.

    Args:
        spec: what to draw.
        path: of the PNG; a file of that name is replaced.
        until: the last step to show; see `last_drawn_step`.

    Raises:
        UsageError: no update comes before `until`.
        DestinationError: the file cannot be written.
    """
    content = picture(spec, until)
    files.write_bytes(path, content)
    with open(path, "rb") as stream:
        if stream.read() != content:
            raise DestinationError(f"{path}: reread, it is not what was written; try again, or another place")


def picture(spec: PruningSpec, until: Optional[int] = None) -> bytes:
    """Returns the PNG that `draw` writes."""
    # No pyplot: it would choose a backend by the machine's display, and keep the figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    last = last_drawn_step(spec, until)
    first = max(0, spec.begin_step - max(1, (last - spec.begin_step) // 15))
    first = 0 if spec.begin_step <= last // 3 else first
    steps = np.asarray(update_steps(spec, last), np.int64)
    figure = Figure(figsize=(9, 5.2), dpi=120, constrained_layout=True)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(1, 1, 1)
    drawn = curves(spec)
    for number, curve in enumerate(drawn):
        color = f"C{number % 10}"
        _draw_curve(axes, spec, curve, steps, (first, last), color)
    axes.set_xlim(first, last)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("global step")
    axes.set_ylabel("sparsity (fraction of zeros)")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{int(value):,}"))
    axes.grid(True, color="0.9")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set_title("\n".join(_title(spec, len(steps), last)), loc="left", fontsize=10)
    # Above the curves there is room for it where the target is low, and below them where it is high.
    axes.legend(loc="lower right" if max(curve.target for curve in drawn) > 0.45 else "upper right", frameon=False)
    if remarks(spec):
        figure.supxlabel("\n".join(remarks(spec)), fontsize=8, color="0.35")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": _SOFTWARE})
    return buffer.getvalue()


def _draw_curve(axes: Any, spec: PruningSpec, curve: Curve, steps: Any, limits: Tuple[int, int], color: str) -> None:
    first, last = limits
    if spec.schedule == POLYNOMIAL:
        # Whole steps only: that is what sparsity is a function of.
        smooth = np.unique(np.linspace(first, last, 800).astype(np.int64))
        axes.plot(smooth, weight_sparsities_at(spec, curve.target, smooth), color=color, linewidth=1, alpha=0.5)
    sparsities = weight_sparsities_at(spec, curve.target, steps)
    held = np.concatenate([[0.0], sparsities, sparsities[-1:]])
    axes.step(np.concatenate([[first], steps, [last]]), held, where="post", color=color, linewidth=1.2)
    every = -(-len(steps) // _MOST_MARKS)
    # The last update is marked whatever is left out.
    marked = np.unique(np.concatenate([np.arange(0, len(steps), every), [len(steps) - 1]]))
    axes.plot(
        steps[marked],
        sparsities[marked],
        linestyle="none",
        marker="o",
        markersize=6 if len(marked) <= 40 else 3.5 if len(marked) <= 150 else 2,
        color=color,
        label=curve.label,
        clip_on=False,
    )


def _title(spec: PruningSpec, updates: int, last: int) -> List[str]:
    if spec.schedule == POLYNOMIAL:
        begin, end = spec.curve
        kind = (
            f"polynomial, exponent {spec.exponent:g}: {spec.initial_sparsity:g} to {spec.target_sparsity:.4g} "
            f"from step {begin:,} to {end:,}"
        )
    elif spec.values is not None:
        kind = f"a value for each update, {spec.values[0]:.4g} to {spec.target_sparsity:.4g}"
    else:
        kind = f"{spec.schedule}: {spec.target_sparsity:.4g}"
    if spec.last_step == spec.begin_step:
        when = f"one mask update, at step {spec.begin_step:,}"
    else:
        end_of_updates = "without end" if spec.last_step is None else f"to step {spec.last_step:,}"
        count = (
            f", {updates:,} up to step {last:,}"
            if spec.last_step is None or spec.last_step > last
            else f", {updates:,}"
        )
        when = f"mask updates from step {spec.begin_step:,} {end_of_updates}, every {spec.frequency:,}{count}"
    return [kind, f"{when}; by {spec.criterion}, {_structure(spec)}, {spec.allocation}"]


def _structure(spec: PruningSpec) -> str:
    plain = plain_structure(spec.structure)
    return plain if isinstance(plain, str) else ", ".join(f"{key} {value}" for key, value in plain.items())


def _listed(names: Sequence[str]) -> str:
    shown = [name if len(name) <= 32 else f"{name[:29]}..." for name in names[:3]]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _drawn_here(path: str) -> bool:
    try:
        with open(path, "rb") as stream:
            head = stream.read(4096)
    except OSError:
        return False
    return head.startswith(b"\x89PNG\r\n") and f"Software\0{_SOFTWARE}".encode() in head
