"""QEMU's process: nobody where root starts it, held by its own filter on system calls, with its files handed over as descriptors.

So a guest that breaks out of it finds a user that owns nothing, and a path may hold blanks, commas or anything else.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from kmodlab.ground.errors import LabError
from kmodlab.ground.nobody import NOBODY, become_nobody
from kmodlab.ground.packages import install

FILTER = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
"""It starts no program, becomes nobody else, and leaves processors and priorities as they are."""
CONSOLE_MOST = 64 << 20
"""Bytes that a console's file may have: what a guest says after that is lost."""
KVM = Path("/dev/kvm")


class Handed:
    """Files that QEMU gets open: the folders above them may be closed to it."""

    def __init__(self) -> None:
        self.files: list[int] = []

    def __enter__(self) -> Handed:
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None) -> None:
        for file in self.files:
            os.close(file)

    def name(self, path: Path) -> str:
        """By which name QEMU finds a file or folder, which it may only read."""
        self.files.append(os.open(path, os.O_RDONLY))
        return f"/proc/self/fd/{self.files[-1]}"


def hold(qemu: str, whose: str, accel: str) -> list[str]:
    """What QEMU's command line begins with. `whose` is the kernel that needs it."""
    groups = [KVM.stat().st_gid] if accel == "kvm" and os.geteuid() == 0 else []
    return [*become_nobody(groups), *capped(), qemu_path(qemu, whose), *FILTER]


def capped() -> list[str]:
    """What is put in front of a program that writes a console's file: above the limit a write fails, where it else would kill."""
    return ["prlimit", f"--fsize={CONSOLE_MOST}", "--core=0", "--", "env", "--ignore-signal=XFSZ"]


def start(command: Sequence[str], folder: Path, said: IO[bytes], inherited: Sequence[int]) -> subprocess.Popen[bytes]:
    """Start QEMU in a folder that is its own from now on; it outlives who starts it. What it says goes to a file."""
    if os.geteuid() == 0:
        for path in (folder, *folder.iterdir()):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    environment = {"PATH": os.environ.get("PATH", os.defpath)}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
        pass_fds=inherited,
        start_new_session=True,
    )


def qemu_path(qemu: str, whose: str) -> str:
    """The path of a QEMU. LabError where this machine does not have it."""
    found = shutil.which(qemu)
    if not found:
        package = "qemu-system-x86" if qemu == "qemu-system-x86_64" else "qemu-system-arm"
        raise LabError(f"kernel {whose}: no {qemu} on this machine", hint=f"{install([package])}, or leave the kernel out")
    return found


@functools.cache
def qemu_version(qemu: str) -> str:
    """The first line of `qemu-system-... --version`."""
    try:
        answer = subprocess.run([qemu, "--version"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as problem:
        raise LabError(
            f"{qemu} does not run on this machine", hint="install it (Debian: qemu-system), or leave its kernels out"
        ) from problem
    return answer.stdout.splitlines()[0]
