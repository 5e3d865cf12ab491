"""`kmodlab matrix`: every module on every kernel."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from kmodlab.commands.group import Command
from kmodlab.commands.options import REPORTS, ShardName, request_options
from kmodlab.ground.ending import terminated_is_interrupted
from kmodlab.ground.errors import LabError
from kmodlab.ground.packages import need_packages
from kmodlab.machine.runtime import stop_all
from kmodlab.report import terminal
from kmodlab.report.progress import Progress
from kmodlab.results.contract import Results
from kmodlab.results.folder import load_results, read
from kmodlab.run.column import Column
from kmodlab.run.lab import Lab
from kmodlab.sign import keys, signing
from kmodlab.stages import planning
from kmodlab.stages.matrix import TIME_LIMIT, only_run, prove
from kmodlab.stages.request import Request

TIME = click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    default=TIME_LIMIT,
    show_default=True,
    help="Hours that the run may take; what is not proved by then is an error.",
)


@click.command("matrix", cls=Command)
@request_options
@REPORTS
@TIME
@click.option("--shard", type=ShardName(), help="Prove this part of the cells only, as 2/5; `kmodlab merge` joins the parts.")
@click.option(
    "--balance",
    type=click.Path(path_type=Path, exists=True),
    help="A run, or its results.json, by whose seconds the cells are shared out: the same for all shards; default: by count.",
)
def run_matrix(request: Request, reports: Path, time_limit: float, balance: Path | None) -> None:
    """Prove every module on every kernel, in VMs and on boards; the verdicts are in reports/latest."""
    if balance and not request.shard:
        raise LabError("--balance shares out the cells of shards", hint="ask for one, as --shard 1/3, or leave it out")
    measured = _measured(balance) if balance else None
    prove_and_show(replace(request, measured=measured), reports, time_limit)


def _measured(run: Path) -> Results:
    """The results of a run's folder, or of a file that holds them."""
    return load_results(run) if run.is_dir() else read(run, Results)


def prove_and_show(request: Request, reports: Path, time_limit: float) -> None:
    """Make a run of what was asked, show its results, and exit with their status."""
    console = Console(highlight=False)
    need_packages()
    with only_run() as lock, terminated_is_interrupted():
        stop_all()
        look_after_the_key(console)
        lab = planning.plan(request, reports.absolute())
        say_kernels(lab, console)
        if request.shard and not lab.run.planned.cells:
            console.print(f"shard {request.shard}: nothing is left for it", markup=False)
            lab.run.publish()
            sys.exit(0)
        with Progress(lab.run, console, lab.run.previous()):
            interrupted = prove(lab, lock, time_limit)
    results = lab.run.publish()
    terminal.show(lab.run.folder, console)
    for column in lab.columns.values():
        if column.kept:
            console.print(_way_in(column), markup=False, soft_wrap=True)
    sys.exit(130 if interrupted else results.exit_status)


def _way_in(column: Column) -> str:
    """How a person gets to a machine that was kept, and how that ends."""
    target, left = column.target, f"{column.kernel} is kept as {column.kept} left it"
    if target.state is None:
        return f"{left}, but it runs no more; its console is {column.console}"
    end = "it runs on" if column.kernel in column.order.boards else "it runs until `kmodlab stop` or the next run"
    enter = shlex.join(["ssh", "-t", "-F", str(target.guest().ssh_config), column.kernel])
    return f"{left}: {enter}\n    {end}; its console is {column.console}"


def look_after_the_key(console: Console) -> None:
    """Whatever is wrong with the signing key is said before anything else is done, and its end is announced."""
    key = keys.chosen_key()
    signing.prove(key)
    if warning := keys.expiry_warning(key.certificate):
        console.print(f"warning: {warning}", markup=False, soft_wrap=True)


def say_kernels(lab: Lab, console: Console) -> None:
    """What runs where, and where its results will be."""
    for column in lab.columns.values():
        console.print(f"{column.kernel:16} {column.release}  {column.remark}".rstrip(), markup=False)
        if lab.order.manner.checks and not column.checks:
            console.print(
                f"{column.kernel:16} CHECKS=1 does nothing here: the lab boots no stock kernel in a VM for it", markup=False
            )
    console.print(f"run {lab.run.id}: {len(lab.run.planned.cells)} cells; logs and results in {lab.run.folder}", markup=False)
