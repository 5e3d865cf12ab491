"""Faulty modules, proved by a real run: what each of them got is the test."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from kmodlab.results.contract import Cell, Results
from kmodlab.results.folder import load_results


def prove(reports: Path, kernel: str, modules: Path, *more: str, limit: float, status: int = 1) -> Results:
    """Run `kmodlab matrix` on a folder of which some modules fail (or none: 0), within `limit` seconds, images included."""
    asked = ["--kernels", kernel, "--modules", str(modules), "--reports", str(reports), *more]
    command = [sys.executable, "-m", "kmodlab", "matrix", *asked]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit, check=False)
    assert answer.returncode == status, answer.stdout + answer.stderr
    return load_results(reports / "latest")


def cell(results: Results, module: str) -> Cell:
    """A module's only cell."""
    (found,) = [each for each in results.cells if each.module == module]
    return found


def insist(found: Cell, verdict: str, stage: str, reason: str) -> None:
    """A cell has this verdict, decided at this stage (or one of several, `load|log`), for a reason that matches."""
    assert found.verdict == verdict and found.stage in stage.split("|"), found
    assert re.search(reason, found.reason), found.reason
