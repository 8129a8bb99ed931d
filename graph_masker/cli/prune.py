"""`graph-masker prune`."""

from typing import Any, Optional

import click

from graph_masker.cli.app import quiet_tensorflow
from graph_masker.cli.options import one_shot_options, one_shot_spec_of, tags_of, tags_option


@click.command()
@click.argument("src")
@click.argument("dst")
@one_shot_options
@click.option("--meta", metavar="FILE", help="The .meta file of a checkpoint that has none beside it.")
@tags_option
@click.option("--overwrite", is_flag=True, help="Replace DST, if it is of the kind that is written.")
def prune(
    src: str,
    dst: str,
    spec_file: Optional[str],
    hparams: Optional[str],
    meta: Optional[str],
    tags: str,
    overwrite: bool,
    **options: Any,
) -> None:
    """Prune model SRC in one shot to DST: its weights get zeros, nothing else changes.

    SRC is a checkpoint's prefix or directory with its .meta file, a SavedModel or a frozen graph (.pb); DST is of the
    same kind. Nothing of it is run. A masked checkpoint stays masked, and its masks get the zeros, too. The result is
    reread and compared before it gets its name.
    """
    quiet_tensorflow()
    from graph_masker import report
    from graph_masker.pruning import prune_model
    from graph_masker.text import visible

    spec = one_shot_spec_of(spec_file, hparams, options)
    with report.progress("pruning") as advance:
        result = prune_model(src, dst, spec, meta=meta, tags=tags_of(tags), progress=advance, overwrite=overwrite)
    report.console().print(report.pruned_table(result), report.skips_table(result.plan))
    if result.unused:
        click.echo(f"not used in one shot: {', '.join(result.unused)}")
    if result.part_by_part:
        names = ", ".join(map(visible, result.part_by_part))
        click.echo(f"each part pruned by itself, since a frozen graph does not tell that they are one: {names}")
    with report.progress("measuring") as advance:
        size = report.size_line(result.files, advance)
    also = ((result.copies, "moving averages"), (result.masks, "masks"))
    beside = " and ".join(f"{len(keys)} {what}" for keys, what in also if keys)
    with_them = f", and {beside} with them" if beside else ""
    click.echo(f"wrote {result.path}: {len(result.weights)} weights pruned{with_them}; {size}")
