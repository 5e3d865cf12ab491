"""`kmodlab report`: the results of a run, again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from rich.console import Console

from kmodlab.commands.group import Command
from kmodlab.commands.options import JSON
from kmodlab.report import kcidb, terminal
from kmodlab.report.ctrf import ctrf
from kmodlab.report.ktap import ktap
from kmodlab.results.contract import Results
from kmodlab.results.folder import load_results
from kmodlab.results.junit import junit


@click.command("report", cls=Command)
@click.argument("run", type=click.Path(path_type=Path), default=Path("reports/latest"))
@JSON
@click.option("--format", "form", type=click.Choice(["ctrf", "junit", "kcidb", "ktap", "markdown"]), help="Print that instead.")
@click.option("--origin", default="kmodlab", show_default=True, help="The name that KCIDB knows the lab by.")
@click.option("--submit", metavar="URL", help="Hand the results in at a KCIDB server; the token is KMODLAB_KCIDB_TOKEN.")
def show_report(run: Path, as_json: bool, form: str | None, origin: str, submit: str | None) -> None:
    """Show the results of a run again, or print them for others' tools; the exit status is the run's."""
    if form or submit:
        results = load_results(run)
        if submit:
            kcidb.submit(kcidb.kcidb(results, run, origin), submit)
        if form:
            click.echo(_printed(results, run, form, origin), nl=False)
        sys.exit(results.exit_status)
    if as_json:
        results = load_results(run)
        click.echo(results.model_dump_json(by_alias=True, indent=1))
        sys.exit(results.exit_status)
    sys.exit(terminal.show(run, Console(highlight=False)).exit_status)


def _printed(results: Results, run: Path, form: str, origin: str) -> str | bytes:
    if form == "junit":
        return junit(results, run)
    if form == "ktap":
        return ktap(results)
    if form == "markdown":
        return terminal.markdown(results)
    said = ctrf(results) if form == "ctrf" else kcidb.kcidb(results, run, origin)
    return json.dumps(said, indent=1) + "\n"
