"""The virtual machines of all runs: where their sockets and state are, which of them run, and how they end."""

from __future__ import annotations

import os
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from kmodlab.ground.cache import cache_dir, digest
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import remove_tree

STATE = "vm.json"
"""In a machine's folder: what others need to know of it."""
CONNECTION = "ssh-"
"""In a machine's folder, how the sockets of SSH's connections to it begin."""


class VmState(BaseModel):
    """What others need to know of a running VM; kept as STATE in its folder, which a newer kmodlab may have written."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    pid: int
    port: int
    """Of SSH, on 127.0.0.1."""
    accel: str
    boot: str = ""
    """Which boot it is; of a VM nothing, which ends where it would boot again."""
    restored: bool
    """True where a snapshot was restored, False where the kernel was booted."""
    seconds: float = 0.0
    """From QEMU's start until SSH answered; 0 before it does."""
    boot_seconds: float = 0.0
    """The same of the boot that the snapshot was taken after, or of this one."""


def runtime_dir() -> Path:
    """A short folder for the sockets of VMs: this user's own, and this cache's, because a run's lock is in the cache.

    LabError where something else has its name: in a folder that all may write to, anybody can put a link there.
    """
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    folder = base / f"kmodlab-{os.getuid()}-{digest(str(cache_dir()), length=6)}"
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
    except OSError as problem:
        raise LabError(f"cannot make {folder}: {problem.strerror}", hint="set XDG_RUNTIME_DIR to a folder of yours") from problem
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise LabError(f"{folder} is not a folder of yours alone", hint="remove it, or set XDG_RUNTIME_DIR to a folder of yours")
    return folder


def state_in(folder: Path) -> VmState | None:
    """The VM that runs with its state in a folder; None where none does."""
    path = folder / STATE
    if not path.exists():
        return None
    state = VmState.model_validate_json(path.read_text())
    return state if _is_ours(state.pid, folder) else None


def stop_in(folder: Path) -> bool:
    """End the VM whose state is in a folder, without asking what VM that is; whether one ran."""
    state = state_in(folder)
    if state:
        _end(state.pid, folder)
    for path in (*(folder / name for name in (STATE, "qemu/qmp", "qemu/qtest")), *folder.glob(f"{CONNECTION}*")):
        path.unlink(missing_ok=True)
    return state is not None


def stop_all(spare: Collection[Path] = ()) -> int:
    """End every VM of this user's that a run has started and not stopped, but those in the folders to spare; how many."""
    stopped = sum(stop_in(state.parent) for state in runtime_dir().glob(f"*/*/{STATE}") if state.parent not in spare)
    for run in runtime_dir().iterdir():
        if not any(run in folder.parents for folder in spare):
            remove_tree(run)
    return stopped


def _end(pid: int, folder: Path) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not _is_ours(pid, folder), 10, f"QEMU {pid} does not end")


def _is_ours(pid: int, folder: Path) -> bool:
    """Is this process still the QEMU that we started there? Process numbers are used again."""
    try:
        return escaped(folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def escaped(path: Path) -> str:
    """A path as a value among QEMU's options."""
    return str(path).replace(",", ",,")


def wait_until(done: Callable[[], bool], limit: float, message: str, *, pause: float = 0.01) -> None:
    deadline = time.monotonic() + limit
    while not done():
        if time.monotonic() > deadline:
            raise LabError(f"{message} (waited {limit:.0f} s)")
        time.sleep(pause)
