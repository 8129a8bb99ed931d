"""`graph-masker fold`."""

import click

from graph_masker.cli.app import quiet_tensorflow


@click.command()
@click.argument("src")
@click.argument("dst")
@click.option("--overwrite", is_flag=True, help="Replace DST, a checkpoint or a directory that holds nothing else.")
def fold(src: str, dst: str, overwrite: bool) -> None:
    """Write masked checkpoint SRC as plain checkpoint DST, with the original model's names.

    SRC is a checkpoint prefix or directory; DST is a prefix or directory of the same kind.
    Moving averages are folded too. The result is reread and compared before it gets its name.
    """
    quiet_tensorflow()
    from graph_masker import report
    from graph_masker.checkpoint import fold_checkpoint

    with report.progress("folding") as advance:
        result = fold_checkpoint(src, dst, advance, overwrite)
    report.console().print(report.weights_table(result))
    click.echo(f"wrote {result.prefix}: {len(result.weights)} weights and {len(result.copies)} moving averages folded")
