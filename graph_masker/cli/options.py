"""The options that make a PruningSpec, the same for every subcommand that takes one."""

from typing import Any, Callable, Dict, List, Optional, Tuple

import click

from graph_masker.errors import SpecError

Function = Callable[..., Any]

_WHOLE = (
    click.option("--spec", "spec_file", metavar="FILE", help="YAML or JSON file that holds the whole spec."),
    click.option("--hparams", metavar="TEXT", help="The whole spec as tf.contrib.model_pruning takes it."),
    click.option("--target-sparsity", "--sparsity", "target_sparsity", type=float, metavar="S"),
)
_SCHEDULE = (
    click.option("--begin-step", "--pruning_start_step", "begin_step", type=int, metavar="B"),
    click.option("--end-step", "--pruning_end_step", "end_step", type=int, metavar="E"),
    click.option("--frequency", type=int, metavar="F", help="Steps between mask updates. Default 10."),
    click.option("--initial-sparsity", type=float, metavar="S", help="Sparsity at begin step. Default 0."),
    click.option("--exponent", type=float, metavar="X", help="Of the schedule's polynomial. Default 3."),
    click.option("--schedule", metavar="KIND", help="polynomial (default), constant or one_shot."),
)
_WHAT = (
    click.option("--structure", metavar="FORM", help="element (default), 2:4, channel, 'block: [4, 1]', ..."),
    click.option("--allocation", metavar="KIND", help="uniform (default), global or erk."),
    click.option("--criterion", metavar="KIND", help="magnitude (default), movement or taylor."),
    click.option("--max-sparsity", type=float, metavar="M", help="Of any one weight, under global and erk. Default 1."),
    click.option("--include", multiple=True, metavar="REGEX", help="Mask only matching variables. Repeatable."),
    click.option("--exclude", multiple=True, metavar="REGEX", help="Leave these dense. Repeatable."),
    click.option("--also", multiple=True, metavar="FAMILY", help="Mask on-request ops too, such as depthwise."),
)


def spec_options(function: Function) -> Function:
    """Adds the options that make a PruningSpec; the names with underscores are contrib users' habits."""
    return _with(function, _WHOLE + _SCHEDULE + _WHAT)


def one_shot_options(function: Function) -> Function:
    """Adds the options that make a PruningSpec for one shot: those of `spec_options` that tell no schedule."""
    return _with(function, _WHOLE + _WHAT)


def _with(function: Function, options: Tuple[Callable[[Function], Function], ...]) -> Function:
    for option in reversed(options):
        function = option(function)
    return function


def one_shot_spec_of(spec_file: Optional[str], hparams: Optional[str], options: Dict[str, Any]) -> Any:
    """Returns the PruningSpec that the options of `one_shot_options` make; a file need not tell a schedule.

    Raises:
        SpecError: they make none.
    """
    at_once = {"begin_step": 0, "schedule": "one_shot"}
    if spec_file is None and hparams is None:
        if options["target_sparsity"] is None and options["structure"] is None:
            raise SpecError("--target-sparsity: expected a fraction of zeros, or --spec FILE, found neither")
        return spec_of(None, None, {**options, **at_once})
    return spec_of(spec_file, hparams, options, at_once)


def spec_of(
    spec_file: Optional[str], hparams: Optional[str], options: Dict[str, Any], schedule: Optional[Dict[str, Any]] = None
) -> Any:
    """Returns the PruningSpec that the options of `spec_options` make.

    Args:
        spec_file, hparams, options: the options' values.
        schedule: what a file says of the schedule that says nothing of it.

    Raises:
        SpecError: they make none.
    """
    from graph_masker.spec import PruningSpec
    from graph_masker.spec.reading import parse_option

    given = {key: value for key, value in options.items() if value is not None and value != ()}
    for name, whole in (("--spec", spec_file), ("--hparams", hparams)):
        others = {**given, **({"hparams": hparams} if name == "--spec" and hparams is not None else {})}
        if whole is not None and others:
            names = ", ".join(f"--{key.replace('_', '-')}" for key in others)
            raise SpecError(f"{names}: cannot be given together with {name}, which holds the whole spec")
    if spec_file is not None:
        return PruningSpec.from_file(spec_file, schedule)
    if hparams is not None:
        return PruningSpec.from_hparams(hparams)
    if "structure" in given:
        given["structure"] = parse_option("--structure", given["structure"])
    return PruningSpec.from_dict(given)


def spec_if_given(spec_file: Optional[str], hparams: Optional[str], options: Dict[str, Any]) -> Any:
    """Returns what `spec_of` does, or None where no option of a spec was given."""
    if spec_file is None and hparams is None and not any(value not in (None, ()) for value in options.values()):
        return None
    return spec_of(spec_file, hparams, options)


def tags_of(text: str) -> List[str]:
    """Returns the tags in the text of an option, separated by commas."""
    return [tag for tag in text.split(",") if tag]


def tags_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the option that chooses a SavedModel's graph."""
    return click.option(
        "--tags", metavar="A,B", default="", help="Which graph of a SavedModel. Default: serve, or the only one."
    )(function)
