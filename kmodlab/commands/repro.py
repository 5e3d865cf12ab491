"""`kmodlab repro`: one cell once more, with the words of its run."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from kmodlab.commands.group import Command
from kmodlab.commands.matrix import TIME, prove_and_show
from kmodlab.commands.options import REPORTS
from kmodlab.ground.errors import LabError
from kmodlab.plan.boards import INVENTORY
from kmodlab.results.folder import Run
from kmodlab.run.lab import Lab
from kmodlab.stages.request import Request


@click.command("repro", cls=Command)
@click.argument("cell", metavar="MODULE@KERNEL")
@click.option(
    "--run",
    "folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The folder of the run it is a cell of; default: the newest that has it.",
)
@click.option("--keep", is_flag=True, help="Leave the machine for a look where it fails again, until `kmodlab stop`.")
@REPORTS
@TIME
def repeat_cell(cell: str, folder: Path | None, keep: bool, reports: Path, time_limit: float) -> None:
    """Repeat one cell of a run with the same words: the modules' files as they are now, that kernel, and what the module needs.

    Reports say the line for each cell that failed: `kmodlab repro chardev@6.12-x86_64`.
    """
    module, at, kernel = cell.partition("@")
    if not (module and at and kernel):
        raise LabError(f"{cell} is no cell", hint="a cell is MODULE@KERNEL, as `chardev@6.12-x86_64`")
    request = request_of(Lab.open(folder or newest_with(module, kernel, reports)), module, kernel, keep=keep)
    click.echo(f"the same as: {words(request)}")
    prove_and_show(request, reports, time_limit)


def newest_with(module: str, kernel: str, reports: Path) -> Path:
    """The newest run's folder that has a cell. LabError where none has it."""
    for path in sorted(reports.glob("*/plan.json"), reverse=True):
        if path.parent.is_symlink():
            continue
        try:
            planned = Run.open(path.parent).planned
        except LabError:  # of another version, or damaged: an older one will do
            continue
        if any((each.module, each.kernel) == (module, kernel) for each in planned.cells):
            return path.parent
    raise LabError(
        f"no run in {reports} has {module} on {kernel}", hint="name the run's folder with --run, or see `kmodlab report`"
    )


def request_of(lab: Lab, module: str, kernel: str, *, keep: bool = False) -> Request:
    """What to ask for, to have one cell of a run again. LabError where it has none such, or does not say how it was asked."""
    order = lab.order
    if not any((each.module, each.kernel) == (module, kernel) for each in lab.run.planned.cells):
        raise LabError(f"run {lab.run.id} has no cell of {module} on {kernel}", hint="see `kmodlab report`")
    if not order.asked:
        raise LabError(f"run {lab.run.id} does not say how it was asked for: an earlier kmodlab made it", hint="run it again")
    own = order.kernels[kernel].kernel.kernel_own if kernel in order.kernels else ""
    return Request(
        modules=order.asked,
        kernels=own or kernel,
        only=module,
        boards=order.boards_from or INVENTORY,
        manner=order.manner.model_copy(update={"keep": keep}),
    )


def words(request: Request) -> str:
    """The command line that asks for the same."""
    found = ["kmodlab", "matrix", "--kernels", request.kernels, "--modules", str(request.modules), "--only", request.only]
    if request.boards != INVENTORY.absolute():
        found += ["--boards", str(request.boards)]
    manner, usual = request.manner, type(request.manner)()
    for name in type(manner).model_fields:
        value = getattr(manner, name)
        if value != getattr(usual, name):
            found += [f"--{name.replace('_', '-')}", *([] if value is True else [f"{value:g}"])]
    return shlex.join(found)
