"""kmodlab as `pip install` brings it from a wheel: a virtual environment of its own, without any checkout.

What kmodlab depends on is taken from the checkout's environment, whose path file (the checkout itself) is not read there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from kmodlab.ground.cache import REPOSITORY

PROGRAMS = ("ansible-playbook", "ansible-doc", "ansible-galaxy", "virt-fw-vars")
"""What kmodlab's dependencies put beside Python."""


def build_wheel(folder: Path) -> Path:
    """Build the checkout's wheel into an empty folder."""
    _run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, REPOSITORY)
    (wheel,) = folder.glob("kmodlab-*.whl")
    return wheel


def install_wheel(wheel: Path, folder: Path) -> Path:
    """Install a wheel into a new environment; the folder of its programs."""
    venv.create(folder, symlinks=True)
    programs = folder / "bin"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    _run(sys.executable, "-m", "pip", f"--python={programs / 'python'}", "install", "-q", "--no-deps", "--no-index", wheel)
    for name in PROGRAMS:
        original = Path(sys.executable).parent / name
        (programs / name).write_text(original.read_text().replace(str(Path(sys.executable).parent), str(programs)))
        (programs / name).chmod(0o755)
    return programs


def run(program: Path, *arguments: str | Path, cwd: Path, limit: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a program of it elsewhere than in the checkout."""
    return subprocess.run(
        [program, *arguments], cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=limit
    )


def _run(*command: str | Path) -> None:
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert answer.returncode == 0, answer.stdout + answer.stderr
