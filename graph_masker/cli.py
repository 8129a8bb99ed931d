"""The command line: one thin function per subcommand. TensorFlow is imported only by those that need it."""

import functools
import json
import os
import sys
from typing import Any, Callable, Dict, Optional, Tuple

import click

import graph_masker
from graph_masker.errors import GraphMaskerError, SpecError, UsageError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(graph_masker.__version__, prog_name="graph-masker")
def commands() -> None:
    """Prunes unmodified TensorFlow 1.x graph models.

    Exit code 0: done. 2: the input cannot be used, for the reason given. 1: a bug of graph-masker.
    """


def main() -> None:
    """Runs the command line; errors in the input become one line on standard error and exit code 2."""
    try:
        program = _command()
        # A program to run is run here: inside, its exceptions would be taken for click's own.
        if program is not None:
            program()
    except GraphMaskerError as error:
        click.echo(f"graph-masker: {error}", err=True)
        sys.exit(2)


def _command() -> Optional[Callable[[], None]]:
    """Runs the command that is asked for; returns what `run` leaves to be called."""
    try:
        result = commands.main(prog_name="graph-masker", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    if isinstance(result, int):
        sys.exit(result)
    return result if callable(result) else None


@commands.command()
@click.argument("src")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def inspect(src: str, as_json: bool) -> None:
    """List the weights of SRC that can be masked, and why the others cannot.

    SRC is a checkpoint prefix, a checkpoint directory or a .meta file. Nothing of it is run.
    """
    quiet_tensorflow()
    from graph_masker import inspection, report
    from graph_masker.source import find_source
    from rewriters import DEFAULT_RULES

    source = find_source(src)
    plan = inspection.plan_source(source, None, DEFAULT_RULES)
    zeros = inspection.mask_zeros(source, plan)
    if as_json:
        click.echo(json.dumps(report.plan_as_dict(plan, zeros), indent=2))
    else:
        report.console().print(report.sites_table(plan, zeros), report.skips_table(plan))


@commands.command()
@click.argument("src")
@click.argument("dst")
def fold(src: str, dst: str) -> None:
    """Write masked checkpoint SRC as plain checkpoint DST, with the original model's names.

    SRC is a checkpoint prefix or directory; DST is a prefix or directory of the same kind, and must not exist.
    Moving averages are folded too. The result is reread and compared before it gets its name.
    """
    quiet_tensorflow()
    from graph_masker import report
    from graph_masker.checkpoint import fold_checkpoint

    with report.progress("folding") as advance:
        result = fold_checkpoint(src, dst, advance)
    report.console().print(report.weights_table(result))
    click.echo(f"wrote {result.prefix}: {len(result.weights)} weights and {len(result.copies)} moving averages folded")


@commands.command()
@click.argument("src")
@click.option("--run", is_flag=True, help="Also restore and run SRC's graph, and compare numbers.")
@click.option("--output", "outputs", multiple=True, metavar="TENSOR", help="Compare this tensor. Default: the losses.")
def verify(src: str, run: bool, outputs: Tuple[str, ...]) -> None:
    """Check that masked checkpoint SRC keeps the guarantees: no path past a mask, masks of zeros and ones.

    SRC is a checkpoint prefix or directory with its .meta file, or a .meta file. Nothing of it is run without --run.
    """
    quiet_tensorflow()
    from graph_masker.verification import verify_model

    for line in verify_model(src, run, outputs).checks:
        click.echo(line)


def spec_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that make a PruningSpec; the names with underscores are contrib users' habits."""
    options = [
        click.option("--spec", "spec_file", metavar="FILE", help="YAML or JSON file that holds the whole spec."),
        click.option("--hparams", metavar="TEXT", help="The whole spec as tf.contrib.model_pruning takes it."),
        click.option("--target-sparsity", "--sparsity", "target_sparsity", type=float, metavar="S"),
        click.option("--begin-step", "--pruning_start_step", "begin_step", type=int, metavar="B"),
        click.option("--end-step", "--pruning_end_step", "end_step", type=int, metavar="E"),
        click.option("--frequency", type=int, metavar="F", help="Steps between mask updates. Default 10."),
        click.option("--initial-sparsity", type=float, metavar="S", help="Sparsity at begin step. Default 0."),
        click.option("--exponent", type=float, metavar="X", help="Of the schedule's polynomial. Default 3."),
        click.option("--schedule", metavar="KIND", help="polynomial (default), constant or one_shot."),
        click.option("--structure", metavar="FORM", help="element (default), 2:4, channel, 'block: [4, 1]', ..."),
        click.option("--allocation", metavar="KIND", help="uniform (default), global or erk."),
        click.option("--criterion", metavar="KIND", help="magnitude (default), movement or taylor."),
        click.option(
            "--max-sparsity", type=float, metavar="M", help="Of any one weight, under global and erk. Default 1."
        ),
        click.option("--include", multiple=True, metavar="REGEX", help="Mask only matching variables. Repeatable."),
        click.option("--exclude", multiple=True, metavar="REGEX", help="Leave these dense. Repeatable."),
        click.option("--also", multiple=True, metavar="FAMILY", help="Mask on-request ops too, such as depthwise."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@commands.command(context_settings={"allow_interspersed_args": False})
@spec_options
@click.option("-m", "as_module", is_flag=True, help="COMMAND names a module, as for python -m.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
def run(
    command: Tuple[str, ...], as_module: bool, spec_file: Optional[str], hparams: Optional[str], **options: Any
) -> Callable[[], None]:
    """Run an unmodified training script or module, and prune every model that it trains.

    \b
    graph-masker run --target-sparsity 0.8 --begin-step 0 --end-step 2000 --frequency 100 -- train.py ARGS...
    graph-masker run --spec pruning.yaml -- -m object_detection.model_main ARGS...

    Estimators, sessions, tf-slim and Keras in graph mode. Arguments, output and exit code stay the script's own; where
    it succeeds and nothing was masked, the exit code is 2. What is masked goes to standard error, and to
    graph_masker_plan.json beside the checkpoints.
    """
    if command[0] == "-m":
        as_module, command = True, command[1:]
        if not command:
            raise UsageError("-m: expected the name of a module after it")
    spec = _spec(spec_file, hparams, options)
    from graph_masker.launch import run_program

    return functools.partial(run_program, command, as_module, spec)


def _spec(spec_file: Optional[str], hparams: Optional[str], options: Dict[str, Any]) -> Any:
    from graph_masker.spec import PruningSpec
    from graph_masker.spec.reading import parse_option

    given = {key: value for key, value in options.items() if value is not None and value != ()}
    for name, whole in (("--spec", spec_file), ("--hparams", hparams)):
        others = {**given, **({"hparams": hparams} if name == "--spec" and hparams is not None else {})}
        if whole is not None and others:
            names = ", ".join(f"--{key.replace('_', '-')}" for key in others)
            raise SpecError(f"{names}: cannot be given together with {name}, which holds the whole spec")
    if spec_file is not None:
        return PruningSpec.from_file(spec_file)
    if hparams is not None:
        return PruningSpec.from_hparams(hparams)
    if "structure" in given:
        given["structure"] = parse_option("--structure", given["structure"])
    return PruningSpec.from_dict(given)


@commands.command()
@click.argument("spec_file", metavar="SPEC")
@click.option("--out", metavar="FILE", help="PNG to write. Default: SPEC's name with .png in place of its ending.")
@click.option("--until", type=int, metavar="STEP", help="Last step to show. Default: a little beyond the schedule.")
@click.option("--overwrite", is_flag=True, help="Replace a file that was not drawn by this command.")
def plot(spec_file: str, out: Optional[str], until: Optional[int], overwrite: bool) -> None:
    """Draw the sparsity that SPEC asks for, step by step, before anyone trains.

    SPEC is a YAML or JSON file. Every mask update is marked, and listed on standard output. A picture that this command
    drew before is replaced.
    """
    from graph_masker import plot as plotting
    from graph_masker.report import console
    from graph_masker.spec import PruningSpec

    path = out if out is not None else os.path.splitext(spec_file)[0] + ".png"
    spec = PruningSpec.from_file(spec_file)
    plotting.check_destination(path, overwrite)
    plotting.draw(spec, path, until)
    console().print(plotting.updates_table(spec, until))
    for remark in plotting.remarks(spec):
        click.echo(remark)
    click.echo(f"wrote {path}")


def quiet_tensorflow() -> None:
    """Keeps TensorFlow's warnings about numpy and itself away from a command's own output."""
    import warnings

    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow.compat.v1 as tf
    tf.logging.set_verbosity(tf.logging.FATAL)
