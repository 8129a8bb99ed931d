"""`graph-masker strip`."""

import click

from graph_masker.cli.app import quiet_tensorflow


@click.command()
@click.argument("src")
@click.argument("dst")
@click.option("--overwrite", is_flag=True, help="Replace DST, where it is of the same kind as SRC.")
def strip(src: str, dst: str, overwrite: bool) -> None:
    """Write masked frozen graph or SavedModel SRC as plain DST: masks multiplied into weights, and gone.

    SRC is a .pb or .pbtxt file, whose variables are constants, or a SavedModel's directory. Nothing of it is run. The
    result is reread and compared before it gets its name.
    """
    quiet_tensorflow()
    from graph_masker import report
    from graph_masker.files.sizes import files_of
    from graph_masker.stripping import strip_model

    with report.progress("stripping") as advance:
        result = strip_model(src, dst, advance, overwrite)
    report.console().print(report.weights_table(result))
    with report.progress("measuring") as advance:
        before, after = (report.size_line(files_of(path), advance) for path in (result.src, result.dst))
    click.echo(f"wrote {result.dst}: {after}; before: {before}")
