"""A planned run from its first stage to its last, for all kernels at once."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from kmodlab.ground.cache import cache_dir
from kmodlab.ground.ending import uninterrupted
from kmodlab.ground.errors import LabError
from kmodlab.machine.runtime import stop_all
from kmodlab.results.contract import Verdict
from kmodlab.run.column import KEPT
from kmodlab.run.lab import Lab
from kmodlab.run.playbook import play

POLL = 1.0
"""Seconds between two looks at a lock that another run holds."""
TIME_LIMIT = 24.0
"""Hours that a run may take, where nobody says more or less."""


@contextmanager
def only_run(*, beside: bool = False, wait: float = 0) -> Iterator[int]:
    """The lock of this user's cache, and its open file: as long as that is open anywhere, no other run begins.

    `beside`: others that say so, too, may be at work: shells, which end no machine but their own. LabError where another is at
    work still after `wait` seconds.
    """
    until = time.monotonic() + wait
    with (cache_dir() / "run.lock").open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, (fcntl.LOCK_SH if beside else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except BlockingIOError as problem:
                if time.monotonic() >= until:
                    raise LabError(
                        "another run or shell of kmodlab is at work for this user",
                        hint="end it, or give it another XDG_CACHE_HOME",
                    ) from problem
                time.sleep(min(POLL, max(0.0, until - time.monotonic())))  # flock has no limit of its own
        yield lock.fileno()


def prove(lab: Lab, lock: int, hours: float = TIME_LIMIT) -> bool:
    """Run every stage for every kernel, and once more for kernels that the lab failed. True where a person interrupted it.

    Whatever ends it, nothing of it runs on. What is not proved by its time limit has lost: the run is kept as stopped.
    """
    deadline = time.monotonic() + hours * 3600
    inventory = lab.write_inventory()
    # A machine under test waits for a part of its time: with one kernel more than processors, none of these does.
    forks = ("-f", str((os.cpu_count() or 1) + 1))

    def once(*arguments: str) -> None:
        log, left = lab.run.folder / "ansible.log", deadline - time.monotonic()
        play("matrix", inventory, log, *forks, *arguments, seconds=left, held=[lock], spared=lab.run.folder / KEPT)

    try:
        once()
        erring = {cell.kernel for cell in lab.run.collect().cells if cell.verdict is Verdict.ERROR} & set(lab.columns)
        if erring := {kernel for kernel in erring if not lab.column(kernel).kept}:
            once("--limit", ",".join(sorted(erring)))
    except KeyboardInterrupt:
        lab.run.stop("interrupted")
        return True
    except subprocess.TimeoutExpired:
        lab.run.stop(f"no time: the limit of {hours:g} h was reached")
    finally:
        uninterrupted(lab.leave)
        uninterrupted(partial(stop_all, spare={column.machine for column in lab.columns.values() if column.kept}))
    return False
