"""A process that keeps another: when that has ended, or whoever asked for it has, nothing that it has started runs on.

An Ansible worker is a session of its own, and a VM a child of nobody: no signal to a process group reaches them, and who is
killed passes none on. Their keeper adopts each that loses its parent (prctl(2), PR_SET_CHILD_SUBREAPER). It learns of its own
asker's end, however that came, by a pipe that closes with it.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import IO

import psutil

SET_CHILD_SUBREAPER = 36
"""Of prctl(2), in linux/prctl.h."""
GRACE = 3.0
"""Seconds in which a process that is told to end may do so by itself."""
END_LIMIT = 30.0
"""Seconds in which all that was kept must be gone."""


def keep(
    command: Sequence[str],
    log: IO[bytes],
    *,
    seconds: float,
    environment: dict[str, str],
    folder: Path,
    held: Sequence[int] = (),
    spared: Path = Path(os.devnull),
) -> int:
    """Run a command to its end, and end all that it has left: its status. TimeoutExpired where it takes more than `seconds`.

    Both its outputs go to `log`. The files of `held` stay open as long as anything runs: a lock in one is held so long.
    `spared`: a file that the command may write, one word a line. Where the command ends by itself, what has one of them in its
    command line runs on, with all below it.
    """
    ours, theirs = os.pipe()
    whole = [sys.executable, "-m", "kmodlab.ground.keeper", str(spared), *command]
    keeper = subprocess.Popen(
        whole, stdin=ours, stdout=log, stderr=log, env=environment, cwd=folder, start_new_session=True, pass_fds=held
    )
    os.close(ours)
    try:
        return keeper.wait(seconds)
    finally:
        os.close(theirs)
        keeper.wait(END_LIMIT)


def main(spared: Path, command: Sequence[str]) -> int:
    """Keep a command until it ends, or standard input does."""
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, _woken)
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, _told_to_end)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    status, words = 128 + signal.SIGTERM, list[str]()
    try:
        while sys.stdin.fileno() not in select.select([sys.stdin.fileno(), woken], [], [])[0]:
            os.read(woken, 4096)
            ended = _reaped()
            if child.pid in ended:
                status = ended[child.pid]
                words = spared.read_text().splitlines() if spared.exists() else []
                break
    finally:
        _end_all(words)
    return status


def _woken(number: int, frame: FrameType | None) -> None:
    """A child has ended: `select` returns for it."""


def _told_to_end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _reaped() -> dict[int, int]:
    """The children that have ended, adopted ones among them: their exit status by process number."""
    found = {}
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            status = os.waitstatus_to_exitcode(ended[1])
            found[ended[0]] = status if status >= 0 else 128 - status
    return found


def _end_all(spared: Sequence[str]) -> None:
    """End every process below this one: first asked to, then killed, and again for those that came meanwhile."""
    me = psutil.Process()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for end, seconds in ((psutil.Process.terminate, GRACE), (psutil.Process.kill, GRACE), (psutil.Process.kill, GRACE)):
        every = me.children(recursive=True)
        kept = {each for each in every if _has_word(each, spared)}
        alive = [each for each in every if each not in kept and not kept.intersection(_above(each))]
        for each in alive:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # one that sudo has made root's ends with its pipe
                end(each)
        psutil.wait_procs(alive, timeout=seconds)


def _has_word(process: psutil.Process, words: Sequence[str]) -> bool:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        line = " ".join(process.cmdline()) if words else ""
        return any(word in line for word in words)
    return False


def _above(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return process.parents()
    return []


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
