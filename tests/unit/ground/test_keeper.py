"""Nothing that was started runs on: whatever a process does to get away, and however the one who asked for it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from kmodlab.ground.cache import REPOSITORY
from kmodlab.ground.keeper import keep

LIMIT = 20
STRAY = "setsid sh -c 'trap : TERM; echo $$ >{0}.new; mv {0}.new {0}; while :; do sleep 1; done' &"
"""A process that is in nobody's session, has lost its parent, and does not end when it is told to."""


def kept(script: str, folder: Path, seconds: float = LIMIT) -> int:
    with (folder / "log").open("ab") as log:
        return keep(
            ["sh", "-c", script], log, seconds=seconds, environment=dict(os.environ), folder=folder, spared=folder / "spared"
        )


def awaited(path: Path) -> int:
    """A process number that is written into a file."""
    deadline = time.monotonic() + LIMIT
    while not path.exists():
        assert time.monotonic() < deadline, f"nothing came into {path}"
        time.sleep(0.01)
    return int(path.read_text())


def test_a_status_is_the_commands_own(tmp_path: Path) -> None:
    assert kept("echo said; exit 3", tmp_path) == 3
    assert kept("kill -KILL $$", tmp_path) == 128 + signal.SIGKILL
    assert (tmp_path / "log").read_text() == "said\n"


def test_what_a_command_leaves_ends_with_it(tmp_path: Path) -> None:
    stray = tmp_path / "stray"
    assert kept(f"{STRAY.format(stray)} while [ ! -e {stray} ]; do sleep 0.01; done", tmp_path) == 0
    assert not psutil.pid_exists(int(stray.read_text()))


@pytest.fixture
def ended() -> Iterator[list[int]]:
    """Processes that are killed after the test."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_what_a_command_asks_to_be_spared_runs_on_with_all_below_it_and_nothing_else_does(
    tmp_path: Path, ended: list[int]
) -> None:
    named, below, other = tmp_path / "named", tmp_path / "below", tmp_path / "other"
    spared = f"setsid sh -c 'echo $$ >{named}; sleep 100 & echo $! >{below}.new; mv {below}.new {below}; wait' &"
    until = f"while [ ! -e {other} ] || [ ! -e {below} ]; do sleep 0.01; done"
    assert kept(f"{spared} {STRAY.format(other)} {until}; echo {named} >spared", tmp_path) == 0
    ended += [int(named.read_text()), int(below.read_text())]
    assert all(map(psutil.pid_exists, ended)) and not psutil.pid_exists(int(other.read_text()))


def test_what_is_spared_ends_with_a_command_that_does_not_end_by_itself(tmp_path: Path) -> None:
    stray = tmp_path / "stray"
    with pytest.raises(subprocess.TimeoutExpired):
        kept(f"echo {stray} >spared; {STRAY.format(stray)} sleep 1000", tmp_path, seconds=2)
    assert not psutil.pid_exists(awaited(stray))


def test_a_command_that_does_not_end_is_ended_with_all_of_it(tmp_path: Path) -> None:
    stray = tmp_path / "stray"
    with pytest.raises(subprocess.TimeoutExpired):
        kept(f"{STRAY.format(stray)} sleep 1000", tmp_path, seconds=2)
    assert not psutil.pid_exists(awaited(stray))


def test_who_is_killed_leaves_no_process_and_its_lock_is_held_until_none_is_there(tmp_path: Path) -> None:
    stray, lock = tmp_path / "stray", tmp_path / "lock"
    program = f"""
import fcntl, os
from pathlib import Path
from kmodlab.ground.keeper import keep
with open("{lock}", "a") as lock, open("{tmp_path}/log", "ab") as log:
    fcntl.flock(lock, fcntl.LOCK_EX)
    keep(["sh", "-c", "{STRAY.format(stray)} sleep 1000"], log, seconds=1000, environment=dict(os.environ),
         folder=Path("{tmp_path}"), held=[lock.fileno()])
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY) as asker:
        pid = awaited(stray)
        asker.kill()
    subprocess.run(["flock", "--timeout", str(LIMIT), str(lock), "true"], check=True)
    assert not psutil.pid_exists(pid)
