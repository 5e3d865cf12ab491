"""The time after a module's last test: what it has left to run later comes now, or when another module has the machine."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kmodlab.build.elf import imports
from kmodlab.guest.shell import Guest, GuestLostError
from kmodlab.results.contract import Stage
from kmodlab.verify.module import StageError

CLOSING_SECONDS = 5.0
"""For how long the machine is watched when the last module has gone."""
ANSWER_LIMIT = 20.0
"""Seconds after that in which a machine says that it is still there."""
LATER = re.compile(
    r"async|bio|blk|complete|completion|delay|dma|hook|irq|kref|net|notif|perf|probe|rcu|sched|skb|softirq|tasklet|thread|timer|trace|wait"
    r"|wake|work"
)
"""In the name of a function of the kernel's: by it a module may have something run when its own functions have returned."""


@dataclass
class Afterwards:
    """The time after a module's last test."""

    guest: Guest
    seconds: float

    def watch(self) -> None:
        """Leave the machine alone for so long. StageError where it is lost; what its log says is for others to judge."""
        if not self.seconds:
            return
        try:
            self.guest.sh(f"sleep {self.seconds:.0f}", timeout=self.seconds + ANSWER_LIMIT)
        except (GuestLostError, AssertionError) as problem:
            raise StageError(
                Stage.LOG, f"the machine was lost when the module had gone: {str(problem).splitlines()[0]}"
            ) from problem


def closing(modules: Iterable[Path]) -> float:
    """For how many seconds a machine is watched when these, its last, have gone: none where nothing of them can come late."""
    return CLOSING_SECONDS if any(_may_come_late(ko) for ko in modules) else 0.0


def _may_come_late(ko: Path) -> bool:
    try:
        return any(LATER.search(name) for name in imports(ko))
    except ValueError:  # who cannot tell watches
        return True
