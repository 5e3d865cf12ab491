"""The command `kmodlab`: what `make` calls, and what a person may call directly."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from kmodlab import __version__
from kmodlab.build import kbuild, lint_c
from kmodlab.commands.completion import show_completion
from kmodlab.commands.group import Commands
from kmodlab.commands.kernels import show_kernels
from kmodlab.commands.manual import show_manual
from kmodlab.commands.options import JSON, KERNELS, MODULES, modules_asked, run_options
from kmodlab.commands.schema import show_schema
from kmodlab.commands.summary import show_summary, summary
from kmodlab.ground.cache import cache_dir
from kmodlab.ground.ending import terminated_is_interrupted
from kmodlab.ground.files import remove_tree
from kmodlab.ground.packages import need_packages
from kmodlab.machine.runtime import stop_all
from kmodlab.report import terminal
from kmodlab.report.progress import Progress
from kmodlab.results.folder import load_results, newest_results
from kmodlab.run.lab import Lab
from kmodlab.sign import keys, signing
from kmodlab.stages import bench, planning
from kmodlab.stages import matrix as matrix_stage

console = Console(highlight=False)


@click.group(cls=Commands)
@click.version_option(__version__)
def main() -> None:
    """Prove that Linux kernel modules build, sign, load, work and unload on every kernel you care about."""
    keys.hide_passphrase()


for _command in (show_kernels, show_schema, show_completion, show_manual):
    main.add_command(_command)


@main.command()
@run_options
@click.option("--checks", is_flag=True, help="Have each kernel check its memory: what a module corrupts or loses is named.")
@click.option("--fresh", is_flag=True, help="Restore the machine before every module: two seconds each.")
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
def matrix(
    kernels: str,
    fleet: str,
    modules: str,
    only: str,
    secureboot: bool,
    quick: bool,
    checks: bool,
    fresh: bool,
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
            modules_asked(modules),
            [only],
            refresh=refresh,
            secureboot=secureboot,
            quick=quick,
            checks=checks,
            fresh=fresh,
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


@main.command("summary")
@run_options
@JSON
def summarise(
    kernels: str,
    fleet: str,
    modules: str,
    only: str,
    secureboot: bool,
    quick: bool,
    stress: int,
    refresh: bool,
    boards: Path,
    reports: Path,
    as_json: bool,
) -> None:
    """Say what `kmodlab matrix` with the same options would do, and how long that takes. Nothing is built or started."""
    need_packages()
    intent = planning.intend(
        [kernels],
        modules_asked(modules),
        [only],
        refresh=refresh,
        secureboot=secureboot,
        quick=quick,
        boards=boards.absolute(),
        stress=stress,
        group=fleet,
    )
    show_summary(summary(intent, newest_results(reports)), console, as_json=as_json)


@main.command("report")
@click.argument("run", type=click.Path(path_type=Path), default=Path("reports/latest"))
@JSON
def show_report(run: Path, as_json: bool) -> None:
    """Show the results of a run again."""
    if as_json:
        results = load_results(run)
        click.echo(results.model_dump_json(by_alias=True, indent=1))
        sys.exit(results.exit_status)
    sys.exit(terminal.show(run, console).exit_status)


@main.command("bench")
@KERNELS
@MODULES
@JSON
def show_bench(kernels: str, modules: str, as_json: bool) -> None:
    """Measure what the lab costs, as ratios to what kernels and compiler cost themselves."""
    need_packages()
    figures = bench.bench(kernels, modules_asked(modules), Console(stderr=True, highlight=False))
    if as_json:
        click.echo(json.dumps([asdict(each) for each in figures], indent=1))
    else:
        console.print(bench.table(figures))


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
    with matrix_stage.only_run():
        stopped = stop_all()
    console.print(f"stopped {stopped} VMs" if stopped else "no VM of kmodlab is running")


@main.command()
def forget() -> None:
    """Remove every cache: images, builds, snapshots. Keys are kept."""
    with matrix_stage.only_run():
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
