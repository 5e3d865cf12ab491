"""`kmodlab schema`: JSON Schemas, for editors and for programs that read results."""

from __future__ import annotations

import json

import click

from kmodlab.commands.group import Command
from kmodlab.plan.schemas import SCHEMAS, schema_of


@click.command("schema", cls=Command)
@click.argument("name", type=click.Choice(list(SCHEMAS)))
def show_schema(name: str) -> None:
    """Print the JSON Schema of a catalog, of an inventory of kernels or boards, or of a run's results."""
    click.echo(json.dumps(schema_of(name), indent=1, ensure_ascii=False))
