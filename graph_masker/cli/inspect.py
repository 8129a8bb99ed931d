"""`graph-masker inspect`."""

import json

import click

from graph_masker.cli.app import quiet_tensorflow


@click.command()
@click.argument("src")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@click.option("--tags", metavar="A,B", default="", help="Which graph of a SavedModel. Default: serve, or the only one.")
def inspect(src: str, as_json: bool, tags: str) -> None:
    """List the weights of SRC that can be masked, and why the others cannot.

    SRC is a checkpoint's prefix or directory, a .meta file, a SavedModel or a frozen graph (.pb). Nothing of it is run.
    """
    quiet_tensorflow()
    from graph_masker import inspection, report
    from graph_masker.graph_files import read_graph, view_of
    from graph_masker.source import find_source
    from rewriters import DEFAULT_RULES

    source = find_source(src)
    meta_graph = read_graph(source, [tag for tag in tags.split(",") if tag])
    plan = inspection.plan_view(view_of(meta_graph), None, DEFAULT_RULES)
    zeros = inspection.mask_zeros(inspection.tensors_of(source, meta_graph), plan)
    if as_json:
        click.echo(json.dumps(report.plan_as_dict(plan, zeros), indent=2))
    else:
        report.console().print(report.sites_table(plan, zeros), report.skips_table(plan))
