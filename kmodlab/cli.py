"""The command `kmodlab`: what `make` calls, and what a person may call directly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from kmodlab import __version__
from kmodlab.build import kbuild, lint_c
from kmodlab.commands.options import MODULES_HELP, modules_folder
from kmodlab.ground.cache import cache_dir
from kmodlab.ground.ending import terminated_is_interrupted
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import remove_tree
from kmodlab.ground.packages import need_packages
from kmodlab.machine.runtime import stop_all
from kmodlab.plan.boards import INVENTORY
from kmodlab.report import terminal
from kmodlab.report.progress import Progress
from kmodlab.run.lab import Lab
from kmodlab.sign import keys, signing
from kmodlab.stages import bench, planning
from kmodlab.stages import matrix as matrix_stage

console = Console(highlight=False)


class _Commands(click.Group):
    """Every entry point's exit status by the contract: a LabError is one line and status 2, never a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except LabError as problem:
            Console(stderr=True, highlight=False).print(f"kmodlab: {problem}", markup=False, soft_wrap=True)
            sys.exit(2)
        except subprocess.TimeoutExpired as problem:
            Console(stderr=True, highlight=False).print(
                f"kmodlab: {problem.cmd[0]} did not end within {problem.timeout:.0f} s", markup=False, soft_wrap=True
            )
            sys.exit(2)
        except KeyboardInterrupt:
            Console(stderr=True).print("kmodlab: interrupted")
            sys.exit(130)


@click.group(cls=_Commands)
@click.version_option(__version__)
def main() -> None:
    """Prove that Linux kernel modules build, sign, load, work and unload on every kernel you care about."""
    keys.hide_passphrase()


@main.command()
@click.option("--kernels", default="", help='Kernels by id or a unique part of it: "6.1 6.12-arm64"; all; default: the fleet.')
@click.option("--fleet", default="fleet", help="The inventory's group of kernels to take where none is named.")
@click.option("--modules", default="", help=MODULES_HELP)
@click.option("--only", default="", help='These modules only, and what they need: "hello-1 chardev".')
@click.option("--secureboot", is_flag=True, help="On machines with Secure Boot, which refuse what is not signed.")
@click.option("--quick", is_flag=True, help="Life cycles only: each module is loaded, checked and unloaded, but not used.")
@click.option(
    "--stress", type=click.IntRange(min=0), default=0, help="Load each module so often, too, and watch the kernel's memory."
)
@click.option(
    "--build-limit",
    type=click.FloatRange(min=1),
    default=kbuild.BUILDING.seconds,
    show_default=True,
    help="Seconds that building the modules of one folder for one kernel may take.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    default=matrix_stage.TIME_LIMIT,
    show_default=True,
    help="Hours that the run may take; what is not proved by then is an error.",
)
@click.option("--refresh", is_flag=True, help="Ask the archive for the newest versions now.")
@click.option(
    "--boards", type=click.Path(path_type=Path), default=INVENTORY, help="The inventory of boards that KERNELS may name."
)
@click.option("--reports", type=click.Path(path_type=Path), default=Path("reports"), help="Where the results go.")
def matrix(
    kernels: str,
    fleet: str,
    modules: str,
    only: str,
    secureboot: bool,
    quick: bool,
    stress: int,
    build_limit: float,
    time_limit: float,
    refresh: bool,
    boards: Path,
    reports: Path,
) -> None:
    """Prove every module on every kernel, in VMs and on boards; the verdicts are in reports/latest."""
    need_packages()
    with matrix_stage.only_run() as lock, terminated_is_interrupted():
        stop_all()
        _look_after_the_key()
        order = planning.plan(
            reports.absolute(),
            [kernels],
            modules_folder(modules),
            [only],
            refresh=refresh,
            secureboot=secureboot,
            quick=quick,
            boards=boards.absolute(),
            stress=stress,
            build_limit=build_limit,
            group=fleet,
        )
        _say_kernels(order)
        with Progress(order.run, console, order.run.previous()):
            interrupted = matrix_stage.prove(order, lock, time_limit)
    results = order.run.publish()
    terminal.show(order.run.folder, console)
    sys.exit(130 if interrupted else results.exit_status)


@main.command("report")
@click.argument("run", type=click.Path(path_type=Path), default=Path("reports/latest"))
def show_report(run: Path) -> None:
    """Show the results of a run again."""
    sys.exit(terminal.show(run, console).exit_status)


@main.command("bench")
@click.option("--kernels", default="", help="As for matrix.")
@click.option("--modules", default="", help=MODULES_HELP)
def show_bench(kernels: str, modules: str) -> None:
    """Measure what the lab costs, as ratios to what kernels and compiler cost themselves."""
    need_packages()
    bench.bench(kernels, modules_folder(modules), console)


@main.command("lint-c")
@click.option(
    "--kernels", default="", help="As for matrix; those whose build root is there already, and 6.12 in any case, by default."
)
def lint_c_sources(kernels: str) -> None:
    """Check the C sources with W=1 and sparse, in each kernel's build root."""
    found = lint_c.lint_all(kernels)
    for line in found:
        console.print(line, markup=False, soft_wrap=True)
    sys.exit(1 if found else 0)


@main.command()
def stop() -> None:
    """Stop every VM that a run of yours left behind."""
    stopped = stop_all()
    console.print(f"stopped {stopped} VMs" if stopped else "no VM of kmodlab is running")


@main.command()
def forget() -> None:
    """Remove every cache: images, builds, snapshots. Keys are kept."""
    remove_tree(cache_dir())


def _look_after_the_key() -> None:
    """Whatever is wrong with the signing key is said before anything else is done, and its end is announced."""
    key = keys.chosen_key()
    signing.prove(key)
    if warning := keys.expiry_warning(key.certificate):
        console.print(f"warning: {warning}", markup=False, soft_wrap=True)


def _say_kernels(order: Lab) -> None:
    for column in order.columns.values():
        console.print(f"{column.kernel:16} {column.release}  {column.remark}".rstrip(), markup=False)
    console.print(
        f"run {order.run.id}: {len(order.run.planned.cells)} cells; logs and results in {order.run.folder}", markup=False
    )


if __name__ == "__main__":
    main()
