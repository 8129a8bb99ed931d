"""`graph-masker verify`."""

from typing import Tuple

import click

from graph_masker.cli.app import quiet_tensorflow


@click.command()
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
