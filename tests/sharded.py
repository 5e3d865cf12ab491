"""What the tests of engines that run shards share: a small order, and how their merged run is compared with one machine's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from kmodlab.ground.cache import REPOSITORY, cache_dir
from kmodlab.results.folder import load_results

KERNELS = "6.12-x86_64 6.1-x86_64"
ORDER = ("--kernels", KERNELS, "--modules", str(REPOSITORY / "examples"), "--only", "hello-1 chardev", "--quick")
"""Two kernels, so that each of two shards has one."""
LIMIT = 3600
"""Seconds for any of it, images included."""
PROGRAMS = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
"""An environment in which `kmodlab` is this one."""


def verdicts(run: Path) -> dict[tuple[str, str], tuple[str, str, str, frozenset[tuple[str, str]]]]:
    """What a run found out of each cell, without times."""
    return {
        (cell.kernel, cell.module): (
            cell.verdict,
            cell.stage,
            cell.reason,
            frozenset((check.name, check.verdict) for check in cell.checks),
        )
        for cell in load_results(run).cells
    }


def alone(reports: Path) -> Path:
    """The same order by one machine: its run."""
    command = [sys.executable, "-m", "kmodlab", "matrix", *ORDER, "--reports", str(reports)]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=LIMIT)
    return reports / "latest"


def another_cache(target: Path) -> Path:
    """A copy of the cache, by links, as another machine has one: two runs cannot share one at the same time."""
    target.mkdir(parents=True)
    for path in cache_dir().iterdir():
        if path.suffix != ".lock":
            subprocess.run(["cp", "--archive", "--link", str(path), str(target)], check=True, timeout=LIMIT)
    shutil.rmtree(target / "apt", ignore_errors=True)  # apt writes into its files
    if (cache_dir() / "apt").exists():
        shutil.copytree(cache_dir() / "apt", target / "apt", symlinks=True)
    return target
