"""`graph-masker plot`."""

import os
from typing import Optional

import click


@click.command()
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
