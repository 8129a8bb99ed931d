"""`graph-masker inspect`."""

import json

import click

from graph_masker.cli.app import quiet_tensorflow


@click.command()
@click.argument("src")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def inspect(src: str, as_json: bool) -> None:
    """List the weights of SRC that can be masked, and why the others cannot.

    SRC is a checkpoint prefix, a checkpoint directory or a .meta file. Nothing of it is run.
    """
    quiet_tensorflow()
    from graph_masker import inspection, report
    from graph_masker.source import find_source
    from rewriters import DEFAULT_RULES

    source = find_source(src)
    plan = inspection.plan_source(source, None, DEFAULT_RULES)
    zeros = inspection.mask_zeros(source, plan)
    if as_json:
        click.echo(json.dumps(report.plan_as_dict(plan, zeros), indent=2))
    else:
        report.console().print(report.sites_table(plan, zeros), report.skips_table(plan))
