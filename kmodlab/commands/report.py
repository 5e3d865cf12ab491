"""`kmodlab report`: the results of a run, again."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from kmodlab.commands.group import Command
from kmodlab.commands.options import JSON
from kmodlab.report import terminal
from kmodlab.results.folder import load_results


@click.command("report", cls=Command)
@click.argument("run", type=click.Path(path_type=Path), default=Path("reports/latest"))
@JSON
def show_report(run: Path, as_json: bool) -> None:
    """Show the results of a run again."""
    if as_json:
        results = load_results(run)
        click.echo(results.model_dump_json(by_alias=True, indent=1))
        sys.exit(results.exit_status)
    sys.exit(terminal.show(run, Console(highlight=False)).exit_status)
