"""`graph-masker report`."""

import re
from typing import Any, Optional, Tuple

import click

from graph_masker.cli.app import quiet_tensorflow
from graph_masker.cli.options import spec_if_given, spec_options, tags_of, tags_option
from graph_masker.errors import UsageError, VerificationError


@click.command()
@click.argument("src")
@click.option("--html", "page", metavar="OUT", help="Also write a page with plots: one file, nothing beside it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@click.option("--strict", is_flag=True, help="Exit with code 2 where faults were found.")
@click.option("--input-size", metavar="HxW", help="Of the images, where the graph does not tell; for multiply-adds.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.")
@tags_option
@spec_options
def report(
    src: str,
    page: Optional[str],
    as_json: bool,
    strict: bool,
    input_size: Optional[str],
    overwrite: bool,
    tags: str,
    spec_file: Optional[str],
    hparams: Optional[str],
    **options: Any,
) -> None:
    """Audit SRC: masks against weights, reached against requested sparsity, what is left of size and work.

    SRC is a checkpoint's prefix or directory, with or without .meta file, a SavedModel or a frozen graph (.pb). Nothing
    of it is run. What was requested comes from the plan that `graph-masker run` wrote beside the checkpoint, or from
    the options of a spec. Faults that are found are listed; the exit code is 0 all the same, unless --strict is given.
    """
    from graph_masker.files import documents

    if page is not None:
        documents.check_destination(page, [".html", ".htm"], overwrite, "graph-masker report")
    spec = spec_if_given(spec_file, hparams, options)
    image_size = None if input_size is None else _size(input_size)
    quiet_tensorflow()
    from graph_masker.audit import report_model, tables
    from graph_masker.audit.page import html
    from graph_masker.report import console, progress
    from graph_masker.text import visible

    with progress("auditing") as advance:
        found = report_model(src, spec, tags_of(tags), image_size, advance)
    if page is not None:
        documents.write(page, html(found).encode("utf-8"))
    if as_json:
        click.echo(found.to_json())
    else:
        tables.show(found, console())
        if page is not None:
            click.echo(f"wrote {page}")
    if strict and found.faults:
        first, number = found.faults[0], len(found.faults)
        name = f"'{first.variable}': " if first.variable else ""
        noun = "fault" if number == 1 else "faults"
        raise VerificationError(visible(f"{src}: {number} {noun} found, the first: {first.kind}: {name}{first.text}"))


def _size(text: str) -> Tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", text)
    if found is None:
        raise UsageError(f"--input-size: expected height and width, such as 224x224, found {text!r}")
    return int(found.group(1)), int(found.group(2))
