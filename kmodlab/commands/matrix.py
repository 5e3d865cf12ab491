"""`kmodlab matrix`: every module on every kernel."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click
from rich.console import Console

from kmodlab.commands.group import Command
from kmodlab.commands.options import REPORTS, request_options
from kmodlab.ground.ending import terminated_is_interrupted
from kmodlab.ground.packages import need_packages
from kmodlab.machine.runtime import stop_all
from kmodlab.report import terminal
from kmodlab.report.progress import Progress
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
def run_matrix(request: Request, reports: Path, time_limit: float) -> None:
    """Prove every module on every kernel, in VMs and on boards; the verdicts are in reports/latest."""
    prove_and_show(request, reports, time_limit)


def prove_and_show(request: Request, reports: Path, time_limit: float) -> None:
    """Make a run of what was asked, show its results, and exit with their status."""
    console = Console(highlight=False)
    need_packages()
    with only_run() as lock, terminated_is_interrupted():
        stop_all()
        look_after_the_key(console)
        lab = planning.plan(request, reports.absolute())
        say_kernels(lab, console)
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
