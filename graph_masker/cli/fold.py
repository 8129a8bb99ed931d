"""`graph-masker fold`."""

import click

from graph_masker.cli.app import quiet_tensorflow


@click.command()
@click.argument("src")
@click.argument("dst")
@click.option("--overwrite", is_flag=True, help="Replace DST, a checkpoint or a directory that holds nothing else.")
@click.option("--drop-slots", is_flag=True, help="Leave out what only the optimizer reads.")
def fold(src: str, dst: str, overwrite: bool, drop_slots: bool) -> None:
    """Write masked checkpoint SRC as plain checkpoint DST, with the original model's names.

    SRC is a checkpoint prefix or directory; DST is a prefix or directory of the same kind.
    Moving averages are folded too, and of the .meta file beside SRC the original model's graph is written. The result
    is reread and compared before it gets its name.
    """
    quiet_tensorflow()
    from graph_masker import report
    from graph_masker.files.bundle import data_files
    from graph_masker.folding import fold_checkpoint

    with report.progress("folding") as advance:
        result = fold_checkpoint(src, dst, advance, overwrite, drop_slots)
    report.console().print(report.weights_table(result))
    with report.progress("measuring") as advance:
        size = report.size_line(data_files(result.prefix), advance)
    click.echo(f"wrote {result.prefix}: {len(result.weights)} weights and {len(result.copies)} moving averages folded")
    click.echo(f"tensors: {size}")
    if result.slots:
        click.echo(f"left out {result.slots} tensors of the optimizer; initialize them before training goes on")
    if result.no_graph is not None:
        click.echo(f"no .meta file: {result.no_graph}", err=True)
