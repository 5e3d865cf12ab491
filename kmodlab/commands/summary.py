"""`kmodlab summary`: what a run would do, from where its kernels come, and how long it would take."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from kmodlab.commands.group import Command
from kmodlab.commands.kernels import KINDS, cached
from kmodlab.commands.options import JSON, REPORTS, request_options
from kmodlab.commands.tables import show_table
from kmodlab.debian.archive import Resolved
from kmodlab.ground.errors import LabError
from kmodlab.ground.packages import need_packages
from kmodlab.plan.boards import ResolvedBoard
from kmodlab.report.progress import Pace
from kmodlab.report.remarks import duration
from kmodlab.results.contract import Results, rfc3339
from kmodlab.results.folder import newest_results
from kmodlab.stages import planning
from kmodlab.stages.planning import Found, Intent
from kmodlab.stages.request import Request


@dataclass(frozen=True)
class Row:
    """One kernel or board of the run."""

    id: str
    release: str
    source: str
    """The archive's suites, or a board's host."""
    asked: str
    """When the archive was asked, as in 2026-11-23T13:19:39Z; empty for a board, which is asked each time."""
    images: list[str]
    """Which of its images need not be made: build, boot."""
    cells: int
    skipped: int
    problem: str
    """Why its cells would all be errors; empty where nothing is known against it."""


@dataclass(frozen=True)
class Summary:
    """What a run would do."""

    modules: str
    """Their folder."""
    kernels: list[Row]
    skips: dict[str, str]
    """Why a cell would be skipped, by "MODULE on KERNEL"."""
    seconds: float | None
    """How long it would take, by the newest run with results; None where there is none."""
    measured: str
    """That run's id."""


def summary(intent: Intent, newest: Results | None) -> Summary:
    """What comes of an intent."""
    planned = {
        host.row.id: frozenset(cell.module for cell in intent.cells if cell.kernel == host.row.id and not cell.skip)
        for host in intent.hosts
    }
    return Summary(
        modules=str(intent.tree.origin),
        kernels=[_row(intent, name, len(modules)) for name, modules in planned.items()],
        skips={f"{cell.module} on {cell.kernel}": cell.skip for cell in intent.cells if cell.skip},
        seconds=Pace(newest, planned).total,
        measured=newest.run if newest else "",
    )


def _row(intent: Intent, name: str, cells: int) -> Row:
    found = intent.found[name]
    return Row(
        id=name,
        release="" if isinstance(found, LabError) else found.release,
        source=_source(found),
        asked=rfc3339(found.asked) if isinstance(found, Resolved) and found.asked else "",
        images=cached(found) if isinstance(found, Resolved) else [],
        cells=cells,
        skipped=sum(1 for cell in intent.cells if cell.kernel == name and cell.skip),
        problem=str(found) if isinstance(found, LabError) else "",
    )


def _source(found: Found) -> str:
    if isinstance(found, ResolvedBoard):
        return f"board {found.board.host}, {found.distribution}"
    return " ".join(found.kernel.kernel_suites) if isinstance(found, Resolved) else ""


@click.command("summary", cls=Command)
@request_options
@REPORTS
@JSON
def show_summary(request: Request, reports: Path, as_json: bool) -> None:
    """Say what `kmodlab matrix` with the same options would do, and how long that takes. Nothing is built or started."""
    need_packages()
    found = summary(planning.intend(request), newest_results(reports))
    if as_json:
        click.echo(json.dumps(asdict(found), indent=1))
    else:
        tell(found, Console(highlight=False))


def tell(found: Summary, console: Console) -> None:
    """Print it for people."""
    show_table(
        console,
        ("kernel", "release", "from", "asked", "images", "cells"),
        ((row.id, row.release, row.source, _ago(row), _images(row), str(row.cells)) for row in found.kernels),
    )
    for row in found.kernels:
        if row.problem:
            console.print(escape(f"! {row.problem}"), soft_wrap=True)
    for cell, reason in found.skips.items():
        console.print(escape(f"- {cell}: {reason}"), soft_wrap=True)
    cells, skipped = sum(row.cells for row in found.kernels), len(found.skips)
    console.print(escape(f"{cells} cells, {skipped} skipped; modules of {found.modules}"), soft_wrap=True)
    console.print(_time(found), soft_wrap=True)


def _ago(row: Row) -> str:
    return f"{duration((datetime.now(UTC) - datetime.fromisoformat(row.asked)).total_seconds())} ago" if row.asked else ""


def _images(row: Row) -> str:
    if row.problem:
        return ""
    return "cached" if len(row.images) == len(KINDS) or row.source.startswith("board ") else "to be made"


def _time(found: Summary) -> str:
    if found.seconds is None:
        return "how long: not known, no run has results here"
    making = [row.id for row in found.kernels if _images(row) == "to be made"]
    more = f", and what making images takes for {' '.join(making)}" if making else ""
    return f"about {duration(found.seconds)}, by what each module took in run {found.measured}{more}"
