"""The debug kernel finds what no other does: memory that one load loses, a lock order, a sleep where none may be."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kmodlab.results import Results, load_results

HERE = Path(__file__).parent
LIMIT = 7200
"""Seconds for the whole run; a kernel that is not cached is built first."""
EXPECTED = {
    "loses": ("log", r"leak: nothing points to \d+ bytes in 1 objects"),
    "frees_twice": ("log", "kasan: .*double-free"),
    "reads_beyond": ("log", "kasan: .*slab-out-of-bounds"),
    "locks_in_two_orders": ("log", "lockdep: .*circular locking"),
    "sleeps_with_a_lock": ("log", "atomic-sleep: .*sleeping function"),
    "frees_a_timer": ("log", "debug-objects: .*"),
    "shifts_too_far": ("log", "ubsan: .*shift-out-of-bounds"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    reports = tmp_path_factory.mktemp("reports")
    asked = ["--kernels", "6.12-debug", "--modules", str(HERE / "faults"), "--reports", str(reports)]
    command = [sys.executable, "-m", "kmodlab", "matrix", *asked]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert answer.returncode == 1, answer.stdout + answer.stderr
    return load_results(reports / "latest")


@pytest.mark.parametrize("module", EXPECTED)
def test_the_fault_is_found(results: Results, module: str) -> None:
    stage, reason = EXPECTED[module]
    (found,) = [each for each in results.cells if each.module == module]
    assert (found.verdict, found.stage) == ("fail", stage), found
    assert re.search(reason, found.reason), found.reason
