"""The command `kmodlab`: what `make` calls, and what a person may call directly."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import click
import psutil
from filelock import FileLock, Timeout
from rich.console import Console

from kmodlab import __version__
from kmodlab.build import kbuild, lint_c
from kmodlab.ground.cache import REPOSITORY, cache_dir
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import remove_tree
from kmodlab.machine.runtime import stop_all
from kmodlab.plan.boards import INVENTORY
from kmodlab.report import terminal
from kmodlab.report.progress import Progress
from kmodlab.results.contract import Verdict
from kmodlab.run.lab import Lab
from kmodlab.sign import keys, signing
from kmodlab.stages import bench, planning

TOOLS = ("bwrap", "cpio", "make", "mkfs.erofs", "mmdebstrap", "modinfo", "ssh", "zstd")
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals by which a run is ended."""
console = Console(highlight=False)


class _Commands(click.Group):
    """Every entry point's exit status by the contract: a LabError is one line and status 2, never a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except LabError as problem:
            Console(stderr=True, highlight=False).print(f"kmodlab: {problem}", markup=False, soft_wrap=True)
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
@click.option("--modules", default="examples", help="A folder of modules with a Makefile, or with one folder a module.")
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
    refresh: bool,
    boards: Path,
    reports: Path,
) -> None:
    """Prove every module on every kernel, in VMs and on boards; the verdicts are in reports/latest."""
    _need_tools()
    with _the_only_run(), _terminated_is_interrupted():
        stop_all()
        _look_after_the_key()
        order = planning.plan(
            reports.absolute(),
            [kernels],
            Path(modules),
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
        interrupted = _run_playbook(order)
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
@click.option("--modules", type=click.Path(path_type=Path), default=Path("examples"), help="As for matrix.")
def show_bench(kernels: str, modules: Path) -> None:
    """Measure what the lab costs, as ratios to what kernels and compiler cost themselves."""
    _need_tools()
    bench.bench(kernels, modules, console)


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


def _need_tools() -> None:
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        raise LabError(f"{', '.join(missing)} not found: run `make setup`, which installs what is missing")


@contextmanager
def _the_only_run() -> Iterator[None]:
    lock = FileLock(cache_dir() / "run.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as problem:
        raise LabError(
            "another run of kmodlab is at work for this user; wait for it, or give it another XDG_CACHE_HOME"
        ) from problem
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """A terminated or hung-up run cleans up as an interrupted one does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    earlier = {each: signal.signal(each, interrupt) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for each, handler in earlier.items():
            signal.signal(each, handler)


def _look_after_the_key() -> None:
    """Whatever is wrong with the signing key is said before anything else is done, and its end is announced."""
    key = keys.chosen_key()
    signing.prove(key)
    if warning := keys.expiry_warning(key.certificate):
        console.print(f"warning: {warning}", markup=False, soft_wrap=True)


def _say_kernels(order: Lab) -> None:
    for resolved in order.order.kernels.values():
        stale = "  (the archive was not reached: the version known from before)" if resolved.stale else ""
        console.print(f"{resolved.kernel.id:16} {resolved.release}{stale}", markup=False)
    for board in order.order.boards.values():
        console.print(f"{board.board.id:16} {board.release}  (board {board.board.host}, {board.distribution})", markup=False)
    console.print(
        f"run {order.run.id}: {len(order.run.planned.cells)} cells; logs and results in {order.run.folder}", markup=False
    )


def _run_playbook(order: Lab) -> bool:
    """Run the matrix playbook, once more for kernels that the lab failed; True where a person interrupted it."""
    inventory = order.write_inventory()
    progress = Progress(order.run, console, order.run.previous())
    try:
        with progress:
            _playbook("matrix", inventory, order)
            machines = {*order.order.kernels, *order.order.boards}
            if erring := {cell.kernel for cell in order.run.collect().cells if cell.verdict is Verdict.ERROR} & machines:
                _playbook("matrix", inventory, order, "--limit", ",".join(sorted(erring)))
    except KeyboardInterrupt:
        order.run.stop("interrupted")
        return True
    finally:
        _uninterrupted(order.stop_boards)
        _uninterrupted(stop_all)
    return False


def _uninterrupted(work: Callable[[], Any]) -> None:
    """Finish cleaning up, however often a person presses Ctrl-C, and whoever else would have it end."""
    here = threading.current_thread() is threading.main_thread()
    earlier = {each: signal.signal(each, signal.SIG_IGN) for each in ENDING} if here else {}
    try:
        work()
    finally:
        for each, handler in earlier.items():
            signal.signal(each, handler)


def _playbook(name: str, inventory: Path, order: Lab, *arguments: str) -> None:
    """Run a playbook in a process group of its own; what it prints is kept. Its failures are in the cells."""
    # A machine under test waits for a part of its time: with one kernel more than processors, none of these does.
    forks = str((os.cpu_count() or 1) + 1)
    command = [
        *(str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), "-f", forks),
        *(*arguments, str(REPOSITORY / "playbooks" / f"{name}.yml")),
    ]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    with (order.run.folder / "ansible.log").open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True, cwd=REPOSITORY
        )
        try:
            process.wait()
        except BaseException:
            _uninterrupted(lambda: _end_tree(process))
            raise


def _end_tree(process: subprocess.Popen[bytes]) -> None:
    """End a process and all below it. Ansible's workers are sessions of their own, so that no signal to a group reaches them."""
    try:
        tree = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        return
    for each in tree:
        with suppress(psutil.NoSuchProcess):
            each.terminate()
    _, alive = psutil.wait_procs(tree, timeout=3)
    for each in alive:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(alive, timeout=10)
    process.wait()


if __name__ == "__main__":
    main()
