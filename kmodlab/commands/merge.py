"""`kmodlab merge`: the shards of a run joined to one."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from kmodlab.commands.group import Command
from kmodlab.commands.options import REPORTS
from kmodlab.report import terminal
from kmodlab.stages.merging import merge


@click.command("merge", cls=Command)
@click.argument("runs", metavar="RUN...", type=click.Path(path_type=Path), nargs=-1, required=True)
@REPORTS
def merge_shards(runs: tuple[Path, ...], reports: Path) -> None:
    """Join the runs of `kmodlab matrix --shard`, in any order, to the run that one machine would have made.

    What a shard that is missing was to prove is an error. The shards' own folders are not changed.
    """
    lab = merge(runs, reports.absolute())
    lab.run.publish()
    sys.exit(terminal.show(lab.run.folder, Console(highlight=False)).exit_status)
