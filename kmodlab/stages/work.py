"""The stages of a run for one kernel. Each records what it found out about every cell, and never stops another kernel."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import methodcaller

from kmodlab.ground.cache import REPOSITORY
from kmodlab.ground.errors import LabError
from kmodlab.results.contract import Stage, one_line
from kmodlab.run.column import Column
from kmodlab.run.lab import Lab
from kmodlab.verify import retrial

PLUGINS = ("kmodlab.verify.plugin", "pytest_timeout", "testinfra.plugin")
"""Of pytest, those that verifying needs."""
TEST_LIMIT = 300
"""Seconds that one test may take, whatever hangs."""
CELL_LIMIT = 4 * 3600.0
"""Seconds that a worker may take for each of its cells: none comes near them, whose tests have limits of their own."""


def verify(column: Column) -> bool:
    """Have workers verify every cell of a kernel, and those again that may have been another's victims. Changes nothing."""
    _work(column)
    retrial.settle(column.run, column.kernel, partial(_work_alone, column))
    return False


def _work_alone(column: Column, module: str, afterwards: float) -> None:
    """Verify a module's cell on a target that was just brought back, and watch that for some seconds afterwards."""
    target = column.target
    target.restore()
    column.deploy_to(target.guest())
    _work(column, only=module, afterwards=afterwards)


def _work(column: Column, *, only: str = "", afterwards: float = 0) -> None:
    """Have a worker verify cells; what it prints is kept in the run's logs."""
    log, order = column.log("pytest.log"), column.order
    tests = [REPOSITORY / "tests/verify"]
    tests += [REPOSITORY / "tests/own"] if order.tree.tests and not order.manner.quick else []
    tests += [REPOSITORY / "tests/stress/test_loads.py"] if order.manner.stress and not only else []
    tests += [REPOSITORY / "tests/stress/test_allocations.py"] if order.manner.faults else []
    tests += [REPOSITORY / "tests/retrial"] if only or not order.manner.quick else []
    target = column.target.guest()
    command = [
        *(sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider"),
        *(word for plugin in PLUGINS for word in ("-p", plugin)),
        *("-c", os.devnull),  # whatever pytest's settings are above the folder that this is installed in
        *("-v", "-ra", "--durations=10", "-W", "error::pytest.PytestUnknownMarkWarning"),
        f"--timeout={TEST_LIMIT * target.patience:g}",
        *(f"--rootdir={REPOSITORY}", f"--kmodlab-run={column.run.folder}", f"--kmodlab-kernel={column.kernel}"),
        *([f"--kmodlab-only={only}", f"--kmodlab-afterwards={afterwards:g}"] if only else []),
        f"--hosts=kmodlab://{target.name}",
        *map(str, tests),
    ]
    # What a person sets or has installed for a pytest of their own would leave out tests here, and take a second to begin.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    limit = CELL_LIMIT * target.patience * max(1, len(column.modules))
    with log.open("ab") as output:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
            timeout=limit,
        )
    if answer.returncode not in (0, 1, 5):
        raise LabError(
            f"kernel {column.kernel}: the verifying worker broke (pytest status {answer.returncode})", hint=f"see {log}"
        )


STAGES: dict[str, tuple[Stage, Callable[[Column], bool]]] = {
    "images": (Stage.BUILD, methodcaller("prepare")),
    "build": (Stage.BUILD, methodcaller("build")),
    "sign": (Stage.SIGN, methodcaller("sign")),
    "boot": (Stage.DEPLOY, methodcaller("boot")),
    "deploy": (Stage.DEPLOY, methodcaller("deploy")),
    "verify": (Stage.LOAD, verify),
    "stop": (Stage.LOG, methodcaller("stop")),
}
"""By name: the stage of a cell that suffers when it breaks, and the work."""


def run_stage(lab: Lab, kernel: str, name: str) -> bool:
    """Run a stage for a kernel; what breaks it is written down for every cell of the kernel before it is raised again."""
    column = lab.column(kernel)
    stage, work = STAGES[name]
    column.tell(name, "start")
    with _breaking(column, name, stage):
        changed = work(column)
    column.tell(name, "done")
    return changed


@contextmanager
def _breaking(column: Column, name: str, stage: Stage) -> Iterator[None]:
    """Whatever ends a stage before its time reaches the person as one line, and goes on its way."""
    ended = False
    try:
        yield
        ended = True
    finally:
        if not ended:
            reason = _reason(column, name, sys.exception())
            column.run.break_kernel(column.kernel, stage, reason)
            column.tell(name, "fail", text=reason)


def _reason(column: Column, name: str, problem: BaseException | None) -> str:
    """Why a stage broke, in one line. What nobody foresaw is kept whole, and the line says where."""
    if isinstance(problem, (LabError, OSError)):
        return str(problem)
    if isinstance(problem, subprocess.TimeoutExpired):
        return f"{problem.cmd[0]} did not end within {problem.timeout:.0f} s"
    log = column.log(f"{name}-traceback.log")
    log.write_text("".join(traceback.format_exception(problem)))
    return one_line(f"kmodlab itself broke at {name}: {type(problem).__name__}: {problem}; all of it: {log}")
