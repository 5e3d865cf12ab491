"""What the lab costs, as ratios measured in one run: the matrix to its floor, a build to plain make.

The floor of the matrix is what the kernels themselves need: the same VMs, brought up the same way and as many at once, and a bare
shell loop of insmod and rmmod in each. The floor of a build is one `make -j` over all modules in the same build root.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kmodlab.build import build_log, kbuild
from kmodlab.build.trees import working_copy
from kmodlab.ground import sandbox
from kmodlab.ground.errors import LabError
from kmodlab.ground.process import LONG
from kmodlab.guest.shell import MODULES
from kmodlab.machine.vm import Vm
from kmodlab.results.events import Event
from kmodlab.run.lab import Lab
from kmodlab.run.vm_column import VmColumn

LOOP_LIMIT = 600.0
"""Seconds that the bare loop over all modules may take."""


@dataclass(frozen=True)
class Machine:
    """What one kernel's machine needs by itself, and what the lab takes on it."""

    arch: str
    resident: int
    """Bytes of an idle VM."""
    boot: float
    """Seconds from QEMU's start until SSH answers, without a snapshot."""
    bare_boot: float
    """Seconds of the same machine until its kernel has started the initramfs."""
    cells: int
    loop: float
    """Seconds of the bare shell loop over its modules."""
    verify: float
    """Seconds that the lab verified the same modules in."""


@dataclass(frozen=True)
class Figure:
    """One thing that was measured."""

    name: str
    unit: str
    lab: float
    floor: float | None = None
    """What it would cost without the lab."""
    ratio: float | None = None
    """The lab's to the floor, so that 1 is the best there is."""
    aim: str = ""


def _ratio(name: str, lab: float, floor: float, aim: str = "") -> Figure:
    return Figure(name, "s", lab, floor, lab / floor, aim)


def bench(kernels: str, modules: str | Path, console: Console) -> list[Figure]:
    """Measure, and say meanwhile what is measured; each figure with its floor, their ratio and the aim."""
    with tempfile.TemporaryDirectory(prefix="kmodlab-bench-") as scratch:
        reports = Path(scratch) / "reports"
        console.print("filling the caches: a first run", highlight=False)
        _matrix(kernels, modules, reports)
        console.print("the run that is measured, and its floor", highlight=False)
        seconds = _timed(lambda: _matrix(kernels, modules, reports))
        lab = Lab.open(reports / "latest")
        started = time.monotonic()
        columns = {name: column for name, column in lab.columns.items() if isinstance(column, VmColumn)}
        loops = _floor(columns)
        floor = time.monotonic() - started
        console.print("one boot of each machine, and its floor", highlight=False)
        machines = {kernel: _machine(column, lab, *loops[kernel]) for kernel, column in columns.items()}
        console.print("builds", highlight=False)
        kernel, column = next(iter(columns.items()))
        ours = _timed(lambda: _our_build(column, Path(scratch) / "cache"))
        plain = _timed(lambda: _plain_make(column))
        before = _first_boot(lab)
    return [
        _ratio(f"warm matrix QUICK=1, {len(machines)} kernels", seconds, floor, "2.00"),
        _ratio(f"build of {len(lab.order.sources)} modules, {kernel}", ours, plain, "1.30"),
        *(_ratio(f"boot, {name}", machine.boot, machine.bare_boot) for name, machine in machines.items()),
        *(_pace(arch, machines.values()) for arch in sorted({machine.arch for machine in machines.values()})),
        Figure("unchanged run, until its first VM starts", "s", before, aim="5.0 s"),
        Figure("idle VM, resident", "MB", max(m.resident for m in machines.values()) >> 20, aim="300 MB"),
    ]


def _pace(arch: str, machines: Iterable[Machine]) -> Figure:
    """Cells a minute of all machines of an architecture: here more is better."""
    of_arch = [machine for machine in machines if machine.arch == arch]
    cells = 60 * sum(machine.cells for machine in of_arch)
    pace, most = (cells / sum(getattr(machine, what) for machine in of_arch) for what in ("verify", "loop"))
    return Figure(f"cells a minute and VM, {arch}", "", pace, most, most / pace)


def table(figures: Iterable[Figure]) -> Table:
    """Figures for people."""
    found = Table("figure", "lab", "floor", "ratio", "aim")
    for each in figures:
        digits = 1 if each.unit == "s" else 0
        lab, floor = ("" if value is None else f"{value:.{digits}f} {each.unit}".rstrip() for value in (each.lab, each.floor))
        found.add_row(each.name, lab, floor, "" if each.ratio is None else f"{each.ratio:.2f}", each.aim)
    return found


def _timed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def _matrix(kernels: str, modules: str | Path, reports: Path) -> None:
    """Life cycles only: what the behaviour tests do has no floor to be measured by."""
    asked = ["--quick", "--kernels", kernels, "--modules", str(modules), "--reports", str(reports)]
    command = [sys.executable, "-m", "kmodlab", "matrix", *asked]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=LONG)
    if answer.returncode == 2:
        raise LabError(f"the matrix cannot be measured: {answer.stderr.strip().splitlines()[-1:]}")


def _events(lab: Lab) -> list[Event]:
    return [Event.model_validate_json(line) for line in (lab.run.folder / "events.jsonl").read_text().splitlines()]


def _first_boot(lab: Lab) -> float:
    """Seconds from the run's start to the first VM's."""
    return min(event.t for event in _events(lab) if event.stage == "boot") - (lab.run.folder / "run.json").stat().st_mtime


def _verified_in(lab: Lab, kernel: str) -> float:
    moments = [event.t for event in _events(lab) if (event.stage, event.kernel, event.module) == ("verify", kernel, "")]
    return moments[-1] - moments[0]


def _floor(columns: dict[str, VmColumn]) -> dict[str, tuple[int, float]]:
    """Bring up all VMs of a run and load and unload its modules in a bare loop: resident bytes and seconds, by kernel."""

    def one(column: VmColumn) -> tuple[int, float]:
        vm = column.target
        state = vm.start()
        try:
            resident = int(Path(f"/proc/{state.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            with vm.guest() as guest:
                column.deploy_to(guest)
                names = " ".join(entry.name for entry in column.modules)
                unload = "rmmod $(echo $name | tr - _)"
                loop = f"for name in {names}; do insmod {MODULES}/$name.ko && {unload}; done 2>/dev/null; true"
                return resident, _timed(lambda: guest.sh(loop, timeout=LOOP_LIMIT))
        finally:
            vm.stop()

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return dict(zip(columns, pool.map(one, columns.values()), strict=True))


def _machine(column: VmColumn, lab: Lab, resident: int, loop: float) -> Machine:
    vm = column.target
    boot = _up(vm, vm.await_ready)
    probe = vm.kernel.model_copy(update={"vm_cmdline": f"{vm.kernel.vm_cmdline} kmodlab.probe"})
    bare = replace(vm, kernel=probe, console=vm.console.with_name("probe.log"))
    bare_boot = _up(bare, lambda: _until_said(bare, "kmodlab: probe ok"))
    cells = len(column.modules)
    return Machine(vm.kernel.kernel_arch, resident, boot, bare_boot, cells, loop, _verified_in(lab, column.kernel))


def _up(vm: Vm, wait: Callable[[], None]) -> float:
    """Seconds from a VM's start to the end of `wait`; it is stopped then."""
    started = time.monotonic()
    vm.power_on()
    try:
        wait()
        return time.monotonic() - started
    finally:
        vm.stop()


def _until_said(vm: Vm, text: str) -> None:
    deadline = time.monotonic() + vm.kernel.vm_boot_limit
    while text not in vm.console.read_text(errors="replace"):
        if time.monotonic() > deadline:
            raise LabError(f"VM {vm.kernel.id} did not say '{text}' within {vm.kernel.vm_boot_limit:.0f} s: see {vm.console}")
        time.sleep(0.02)


def _our_build(column: VmColumn, cache: Path) -> None:
    os.environ["XDG_CACHE_HOME"] = str(cache)
    root, resolved = column.root, column.resolved
    kbuild.build(root, "bench", resolved.release, column.order.sources.values(), cross=resolved.kernel.cross)


def _plain_make(column: VmColumn) -> None:
    resolved = column.resolved
    across = [f"CROSS_COMPILE={resolved.kernel.cross}"] if resolved.kernel.cross else []
    target = f"/lib/modules/{resolved.release}/build"
    command = ["make", "-C", target, f"M={sandbox.WORK}", f"-j{os.cpu_count()}", *across, "modules"]
    with working_copy(column.order.tree.folder) as work:
        answer = sandbox.run(column.root, command, work=work, limits=kbuild.BUILDING)
    if answer.status:
        raise LabError(f"the modules do not build together: {build_log.failure_reason(answer.log, 'all')}")
