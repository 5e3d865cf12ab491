"""What the lab costs, as ratios measured in one run: the matrix to its floor, a build to plain make.

The floor of the matrix is what the kernels themselves need: the same VMs, brought up the same way and as many at once, and a bare
shell loop of insmod and rmmod in each. The floor of a build is one `make -j` over all modules in the same build root.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kmodlab import build, sandbox
from kmodlab.errors import LabError
from kmodlab.guest import MODULES
from kmodlab.lab import Lab
from kmodlab.stages import deploy

LOOP_LIMIT = 600.0
"""Seconds that the bare loop over all modules may take."""


def bench(kernels: str, modules: Path, console: Console) -> None:
    """Measure, and print each figure with its floor, their ratio and the aim."""
    with tempfile.TemporaryDirectory(prefix="kmodlab-bench-") as scratch:
        reports = Path(scratch) / "reports"
        _matrix(kernels, modules, reports)  # fills every cache
        seconds = _timed(lambda: _matrix(kernels, modules, reports))
        lab = Lab.open(reports / "latest")
        before = _first_boot(lab)
        idle: list[int] = []
        floor = _timed(lambda: _floor(lab, idle))
        kernel = next(iter(lab.order.kernels))
        ours = _timed(lambda: _our_build(lab, kernel, Path(scratch) / "cache"))
        plain = _timed(lambda: _plain_make(lab, kernel, Path(scratch)))
    table = Table("figure", "lab", "floor", "ratio", "aim")
    count = len(lab.order.kernels)
    for name, took, least, aim in (
        (f"warm matrix QUICK=1, {count} kernels", seconds, floor, "2.00"),
        (f"build of {len(lab.sources)} modules, {kernel}", ours, plain, "1.30"),
    ):
        table.add_row(name, f"{took:.1f} s", f"{least:.1f} s", f"{took / least:.2f}", aim)
    table.add_row("unchanged run, until its first VM starts", f"{before:.1f} s", "", "", "5.0 s")
    table.add_row("idle VM, resident", f"{max(idle) >> 20} MB", "", "", "300 MB")
    console.print(table)


def _timed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def _matrix(kernels: str, modules: Path, reports: Path) -> None:
    """Life cycles only: what the behaviour tests do has no floor to be measured by."""
    asked = ["--quick", "--kernels", kernels, "--modules", str(modules), "--reports", str(reports)]
    command = [sys.executable, "-m", "kmodlab", "matrix", *asked]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if answer.returncode == 2:
        raise LabError(f"the matrix cannot be measured: {answer.stderr.strip().splitlines()[-1:]}")


def _first_boot(lab: Lab) -> float:
    """Seconds from the run's start to the first VM's."""
    events = [json.loads(line) for line in (lab.run.folder / "events.jsonl").read_text().splitlines()]
    began = (lab.run.folder / "run.json").stat().st_mtime
    return float(min(event["t"] for event in events if event["stage"] == "boot") - began)


def _floor(lab: Lab, idle: list[int]) -> None:
    def one(kernel: str) -> None:
        vm = lab.vm(kernel)
        state = vm.start()
        try:
            idle.append(int(Path(f"/proc/{state.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
            with vm.guest() as guest:
                deploy(lab, kernel, guest)
                order = " ".join(f"{MODULES}/{entry.name}.ko" for entry in lab.modules(kernel) if not entry.needs)
                loop = f"for ko in {order}; do insmod $ko && rmmod ${{ko%.ko}}; done 2>/dev/null; true"
                guest.sh(loop, timeout=LOOP_LIMIT)
        finally:
            vm.stop()

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(one, lab.order.kernels))


def _our_build(lab: Lab, kernel: str, cache: Path) -> None:
    os.environ["XDG_CACHE_HOME"] = str(cache)
    root, resolved = lab.build_root(kernel), lab.resolved(kernel)
    build.build(root, "bench", resolved.release, lab.sources.values(), cross=resolved.kernel.cross)


def _plain_make(lab: Lab, kernel: str, scratch: Path) -> None:
    work = scratch / "plain"
    shutil.copytree(lab.order.folder, work)
    target = f"/lib/modules/{lab.resolved(kernel).release}/build"
    command = ["make", "-C", target, f"M={sandbox.WORK}", f"-j{os.cpu_count()}", "modules"]
    answer = sandbox.run(lab.build_root(kernel), command, work=work, limit=build.BUILD_LIMIT)
    if answer.returncode:
        raise LabError(f"the modules do not build together: {build.failure_reason(answer.stdout, 'all')}")
