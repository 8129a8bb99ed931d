"""`graph-masker inspect`."""

import json
import os
from typing import Any, Optional

import click

from graph_masker.cli.app import quiet_tensorflow
from graph_masker.cli.options import spec_if_given, spec_options, tags_of, tags_option
from graph_masker.errors import UsageError

_GRAPHS = (".dot", ".svg", ".graphml")


@click.command()
@click.argument("src")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values: a row per site and per skip.")
@click.option(
    "--graph", "drawing", metavar="OUT", help="Also draw the sites and what reads them: .svg, .dot, .graphml."
)
@click.option("--site", "pattern", metavar="REGEX", default="", help="Draw only the sites whose names match.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.")
@tags_option
@spec_options
def inspect(
    src: str,
    as_json: bool,
    as_csv: bool,
    drawing: Optional[str],
    pattern: str,
    overwrite: bool,
    tags: str,
    spec_file: Optional[str],
    hparams: Optional[str],
    **options: Any,
) -> None:
    """List the weights of SRC that can be masked, and why the others cannot.

    SRC is a checkpoint's prefix or directory, a .meta file, a SavedModel or a frozen graph (.pb). Nothing of it is run.
    With the options of a spec, what it would mask is listed, and how sparse.
    """
    from graph_masker.files import documents

    if as_json and as_csv:
        raise UsageError("--json, --csv: expected one of them, found both")
    if pattern and drawing is None:
        raise UsageError("--site: chooses what --graph draws, and is of no use without it")
    if drawing is not None:
        documents.check_destination(drawing, _GRAPHS, overwrite, "graph-masker inspect")
    spec = spec_if_given(spec_file, hparams, options)
    quiet_tensorflow()
    from graph_masker import inspection, report, sheet
    from graph_masker.files.graphs import read_graph, view_of
    from graph_masker.files.source import find_source
    from rewriters import DEFAULT_RULES

    with report.progress("inspecting"):
        source = find_source(src)
        meta_graph = read_graph(source, tags_of(tags))
        view = view_of(meta_graph)
        plan = inspection.plan_view(view, spec, DEFAULT_RULES)
        if drawing is not None:
            documents.write(drawing, _drawn(view, plan, pattern, os.path.splitext(drawing)[1].lower()))
        zeros = inspection.mask_zeros(inspection.tensors_of(source, meta_graph), plan)
    if as_json:
        click.echo(json.dumps(report.plan_as_dict(plan, zeros), indent=2))
    elif as_csv:
        # The rows end as RFC 4180 has it, on every system.
        click.get_binary_stream("stdout").write(sheet.csv_text(plan, zeros).encode("utf-8"))
    else:
        report.console().print(report.sites_table(plan, zeros), report.skips_table(plan))
        if drawing is not None:
            click.echo(f"wrote {drawing}")


def _drawn(view: Any, plan: Any, pattern: str, ending: str) -> bytes:
    from graph_masker import drawing
    from rewriters import DEFAULT_RULES

    graph = drawing.neighbourhood(view, drawing.chosen_sites(plan, pattern), DEFAULT_RULES)
    if ending == ".graphml":
        return drawing.graphml(graph)
    return (drawing.dot(graph) if ending == ".dot" else drawing.svg(graph)).encode("utf-8")
