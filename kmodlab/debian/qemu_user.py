"""Programs of another architecture on this machine: the kernel hands them to qemu-user (binfmt_misc).

Debian's packages register their handlers through systemd or binfmt-support. Where neither runs, as in many containers, the
lab registers them itself, from the packages' own files.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

from kmodlab.ground.errors import LabError
from kmodlab.ground.packages import install
from kmodlab.ground.process import SHORT

REGISTRY = Path("/proc/sys/fs/binfmt_misc")
CONFIGURATION = Path("/usr/lib/binfmt.d")
HANDLERS = {"arm64": "qemu-aarch64", "armhf": "qemu-arm", "amd64": "qemu-x86_64"}
"""By Debian's architecture: what qemu-user's handler is called."""


def ensure(arch: str) -> None:
    """See to it that programs of an architecture (Debian's name) run here, also in a chroot. LabError where they cannot."""
    if runs(arch):
        return
    if os.geteuid() == 0:
        _register(arch)
    else:
        command = ["sudo", "-n", sys.executable, "-I", "-m", "kmodlab.debian.qemu_user", arch]
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=SHORT)
    if not runs(arch):
        raise LabError(f"this machine cannot run programs of {arch}", hint=install(["qemu-user-static"]))


def runs(arch: str) -> bool:
    """Whether programs of an architecture run here."""
    try:
        return subprocess.run(["arch-test", arch], capture_output=True, check=False, timeout=SHORT).returncode == 0
    except FileNotFoundError as problem:
        raise LabError("arch-test is missing", hint=install(["arch-test"])) from problem


def _register(arch: str) -> None:
    if not (REGISTRY / "register").exists():
        subprocess.run(
            ["mount", "-t", "binfmt_misc", "binfmt_misc", str(REGISTRY)], capture_output=True, check=False, timeout=SHORT
        )
    rules = CONFIGURATION / f"{HANDLERS[arch]}.conf"
    if not rules.exists() or not (REGISTRY / "register").exists():
        return
    for line in rules.read_text().splitlines():
        if line and not line.startswith(("#", ";")):
            _write(line)


def _write(rule: str) -> None:
    try:
        (REGISTRY / "register").write_text(rule)
    except OSError as problem:
        if problem.errno != errno.EEXIST:  # another one was faster
            raise LabError(f"{REGISTRY}/register refuses qemu-user's handler: {problem.strerror}") from problem


if __name__ == "__main__":
    ensure(sys.argv[1])
