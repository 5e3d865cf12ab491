"""Put what was signed onto a target."""

from __future__ import annotations

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

from kmodlab.ground import process
from kmodlab.ground.errors import LabError
from kmodlab.guest import shell
from kmodlab.guest.shell import Guest

PARTS = ("modules", "programs", "lab-modules")
"""What a target gets, by folder."""
DEPLOY_LIMIT = 120.0
"""Seconds in which all files must be on a target."""


def deploy(folder: Path, kernel: str, target: Guest) -> None:
    """Put a kernel's signed modules and programs, which are in `folder`, onto a target that SSH reaches."""
    fresh = f"mkdir -p {shell.LAB} && rm -rf {shell.MODULES} {shell.PROGRAMS}"
    command = target.command(f"{fresh} && exec tar -x -C {shell.LAB}")
    try:
        answer = process.run(command, stdin=_archive(folder), seconds=DEPLOY_LIMIT * target.patience)
    except subprocess.TimeoutExpired as problem:
        raise LabError(f"{kernel}: the modules cannot be deployed: no end within {problem.timeout:g} s") from problem
    if answer.status:
        raise LabError(f"{kernel}: the modules cannot be deployed: {answer.last_word}")


def _archive(folder: Path) -> bytes:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in PARTS:
            tar.add(folder / name, arcname=name)
    return buffer.getvalue()
