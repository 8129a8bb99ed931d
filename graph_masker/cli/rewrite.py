"""`graph-masker rewrite`."""

from typing import Any, Optional

import click

from graph_masker.cli.app import quiet_tensorflow
from graph_masker.cli.options import spec_of, spec_options


@click.command()
@click.argument("src")
@click.argument("dst")
@click.option("--meta", metavar="FILE", help="The .meta file of SRC's graph, where it does not lie beside SRC.")
@click.option("--overwrite", is_flag=True, help="Replace DST, a checkpoint or a directory that holds nothing else.")
@spec_options
def rewrite(
    src: str,
    dst: str,
    meta: Optional[str],
    overwrite: bool,
    spec_file: Optional[str],
    hparams: Optional[str],
    **options: Any,
) -> None:
    """Write dense checkpoint SRC as masked checkpoint DST, with masks of ones and a training graph that prunes.

    SRC is a checkpoint prefix or directory; DST is a prefix or directory of the same kind. The graph in DST's .meta
    file trains with pruning by its own train op; nothing of it is run here. The result is reread and compared before it
    gets its name.
    """
    spec = spec_of(spec_file, hparams, options)
    quiet_tensorflow()
    from graph_masker import report
    from graph_masker.rewriting import rewrite_checkpoint

    with report.progress("rewriting") as advance:
        result = rewrite_checkpoint(src, dst, spec, meta, progress=advance, overwrite=overwrite)
    report.console().print(report.sites_table(result.plan), report.skips_table(result.plan))
    for op in result.apart:
        click.echo(f"the mask update does not wait for '{op}', which no op of the graph runs together with it")
    updated = (
        f"updated in training, before '{result.train_ops[0]}'"
        if result.train_ops
        else "never updated: the graph does not train"
    )
    click.echo(f"wrote {result.prefix}: {len(result.plan.sites)} masks, {updated}; {len(result.added)} tensors added")
