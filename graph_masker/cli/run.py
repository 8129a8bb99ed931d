"""`graph-masker run`."""

import functools
from typing import Any, Callable, Optional, Tuple

import click

from graph_masker.cli.options import spec_of, spec_options
from graph_masker.errors import UsageError


@click.command(context_settings={"allow_interspersed_args": False})
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
    spec = spec_of(spec_file, hparams, options)
    from graph_masker.launch import run_program

    return functools.partial(run_program, command, as_module, spec)
