"""Draws what a spec asks for over the steps, before anyone trains. Needs no TensorFlow."""

import io
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from graph_masker.errors import UsageError
from graph_masker.files import documents
from graph_masker.schedule import weight_sparsities_at
from graph_masker.spec import ERK, GLOBAL, PruningSpec
from graph_masker.spec.settings import LAST_STEP, POLYNOMIAL
from graph_masker.spec.structure import plain_structure
from graph_masker.spec.timing import count_updates

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
    names: Dict[float, List[str]] = {spec.target_sparsity: []}
    for rule, settings in spec.rule_settings():
        if settings.target_sparsity != spec.target_sparsity:
            names.setdefault(settings.target_sparsity, []).append(rule.match)
    names[spec.target_sparsity] = ["every other weight" if len(names) > 1 else "every weight"]
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
        span = end - spec.begin_step
        return min(LAST_STEP, end + (max(1, span // 20) if span else max(10, end // 4)))
    return min(LAST_STEP, reached + max(5 * spec.frequency, (reached - spec.begin_step) // 4))


def count_until(spec: PruningSpec, last: int) -> int:
    """Returns how many mask updates there are up to and with step `last`, without listing them."""
    if spec.last_step is not None and spec.last_step <= last:
        return count_updates(spec.begin_step, spec.last_step, spec.frequency)
    return (last - spec.begin_step) // spec.frequency + 1


def steps_of(spec: PruningSpec, updates: Sequence[int]) -> Any:
    """Returns the steps of some updates, int64 of shape [n]; the first update is number 0."""
    steps = spec.begin_step + np.asarray(updates, np.int64) * spec.frequency
    return steps if spec.last_step is None else np.minimum(steps, spec.last_step)


def updates_table(spec: PruningSpec, until: Optional[int] = None) -> Any:
    """Returns a rich table of update steps and sparsities, one column per target; long ones are cut in the middle."""
    from rich.table import Table
    from rich.text import Text

    last = last_drawn_step(spec, until)
    updates = count_until(spec, last)
    unfinished = spec.last_step is None or spec.last_step > last
    noun = "mask update" if updates == 1 else "mask updates"
    table = Table(title=f"{updates:,} {noun}{f' up to step {last:,}' if unfinished else ''}")
    table.title_justify = "left"
    table.add_column("update", justify="right")
    table.add_column("step", justify="right")
    drawn = curves(spec)
    for curve in drawn:
        # As Text: brackets in a pattern are no markup.
        table.add_column(Text(curve.label), justify="right", overflow="fold")
    # With the row of dots in the middle, where there are too many.
    head, tail = (_MOST_ROWS // 2, _MOST_ROWS - _MOST_ROWS // 2 - 1) if updates > _MOST_ROWS else (updates, 0)
    rows = [*range(head), *range(updates - tail, updates)]
    at = steps_of(spec, rows)
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
    documents.check_destination(path, [".png"], overwrite, "graph-masker plot", _drawn_here)


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
    documents.write(path, picture(spec, until))


def picture(spec: PruningSpec, until: Optional[int] = None) -> bytes:
    """Returns the PNG that `draw` writes."""
    buffer = io.BytesIO()
    figure(spec, until).savefig(buffer, format="png", metadata={"Software": _SOFTWARE})
    return buffer.getvalue()


def figure(spec: PruningSpec, until: Optional[int] = None) -> Any:
    """Returns the matplotlib figure that `draw` writes."""
    # No pyplot: it would choose a backend by the machine's display, and keep the figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    last = last_drawn_step(spec, until)
    first = max(0, spec.begin_step - max(1, (last - spec.begin_step) // 15))
    first = 0 if spec.begin_step <= last // 3 else first
    updates = count_until(spec, last)
    every = -(-updates // _MOST_MARKS)
    # The last update is marked whatever is left out.
    steps = steps_of(spec, [*range(0, updates - 1, every), updates - 1])
    result = Figure(figsize=(9, 5.2), dpi=120, constrained_layout=True)
    FigureCanvasAgg(result)
    axes = result.add_subplot(1, 1, 1)
    drawn = curves(spec)
    for number, curve in enumerate(drawn):
        color = f"C{number % 10}"
        _draw_curve(axes, spec, curve, steps, (first, last), color)
    axes.set_xlim(first, max(last, first + 1))
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("global step")
    axes.set_ylabel("sparsity (fraction of zeros)")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{int(value):,}"))
    axes.grid(True, color="0.9")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set_title("\n".join(_title(spec, updates, last)), loc="left", fontsize=10)
    if spec.schedule == POLYNOMIAL:
        axes.plot([], [], color="0.4", linewidth=1, alpha=0.5, label="the schedule")
        axes.plot([], [], color="0.4", linewidth=1.2, label="masks, from one update to the next")
    axes.legend(loc="best", framealpha=0.9, edgecolor="none")
    notes = remarks(spec)
    if every > 1:
        notes.append(f"one update in {every:,} is marked")
    if notes:
        result.supxlabel("\n".join(notes), fontsize=8, color="0.35")
    return result


def _draw_curve(axes: Any, spec: PruningSpec, curve: Curve, steps: Any, limits: Tuple[int, int], color: str) -> None:
    first, last = limits
    if spec.schedule == POLYNOMIAL:
        # Whole steps only: that is what sparsity is a function of.
        smooth = np.unique(np.linspace(max(first, spec.begin_step), last, 800).astype(np.int64))
        axes.plot(smooth, weight_sparsities_at(spec, curve.target, smooth), color=color, linewidth=1, alpha=0.5)
    sparsities = weight_sparsities_at(spec, curve.target, steps)
    held = np.concatenate([[0.0], sparsities, sparsities[-1:]])
    axes.step(np.concatenate([[first], steps, [last]]), held, where="post", color=color, linewidth=1.2)
    axes.plot(
        steps,
        sparsities,
        linestyle="none",
        marker="o",
        markersize=6 if len(steps) <= 40 else 3.5 if len(steps) <= 150 else 2,
        color=color,
        # Between two dollar signs, text would be set as a formula.
        label=curve.label.replace("$", r"\$"),
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
        is_cut = spec.last_step is None or spec.last_step > last
        count = f"{updates:,} up to step {last:,}" if is_cut else f"{updates:,} in all"
        to = "on" if spec.last_step is None else f"to {spec.last_step:,}"
        every = "step" if spec.frequency == 1 else f"{spec.frequency:,} steps"
        when = f"mask updates every {every} from {spec.begin_step:,} {to}: {count}"
    return [kind, f"{when}; {spec.criterion}, {_structure(spec)}, {spec.allocation}"]


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
