"""`graph-masker verify`."""

from typing import Optional, Tuple

import click

from graph_masker.cli.app import quiet_tensorflow
from graph_masker.cli.options import tags_of, tags_option
from graph_masker.errors import UsageError


@click.command()
@click.argument("src")
@click.option("--against", metavar="OTHER", help="Check that every tensor is, once folded, OTHER's, bit for bit.")
@click.option("--pruned", is_flag=True, help="With --against: entries may be zero in SRC only.")
@click.option("--run", is_flag=True, help="Also restore and run the graph, and compare numbers. This executes it.")
@click.option("--output", "outputs", multiple=True, metavar="TENSOR", help="Compare this tensor. Default: the losses.")
@click.option("--input", "inputs", multiple=True, metavar="TENSOR=FILE", help="Run with a .npy file. Default: random.")
@tags_option
def verify(
    src: str,
    against: Optional[str],
    pruned: bool,
    run: bool,
    outputs: Tuple[str, ...],
    inputs: Tuple[str, ...],
    tags: str,
) -> None:
    """Check that masked model SRC keeps the guarantees: no path past a mask, masks of zeros and ones.

    SRC is a checkpoint's prefix or directory with its .meta file, a .meta file, a SavedModel or a frozen graph (.pb).
    With --against, SRC may be what was folded, stripped, rewritten or pruned, and OTHER what it was made of. Nothing is
    run without --run.
    """
    if pruned and against is None:
        raise UsageError("--pruned: says how SRC compares with another model, and is of no use without --against")
    for option, given in (("--output", outputs), ("--input", inputs)):
        if given and not run:
            raise UsageError(f"{option}: says how the graph is run, and is of no use without --run")
    quiet_tensorflow()
    from graph_masker.report import progress
    from graph_masker.verification import verify_model

    files = []
    for text in inputs:
        tensor, is_pair, path = text.partition("=")
        if not is_pair:
            raise UsageError(f"--input {text}: expected TENSOR=FILE, found no '='")
        files.append((tensor, path))
    with progress("verifying"):
        result = verify_model(
            src,
            run,
            outputs,
            against=against,
            may_be_pruned=pruned,
            inputs=files,
            tags=tags_of(tags),
        )
    for line in result.checks:
        click.echo(line)
