"""Modules that break the kernel in every way: each gets its own true verdict, and the innocent one after them passes."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmodlab.results import Cell, Results, load_results
from kmodlab.vm import runtime_dir

HERE = Path(__file__).parent
LIMIT = 3600
"""Seconds for the whole run, images included."""
EXPECTED = {
    "broken": ("fail", "build", "no_such_thing"),
    "oops": ("fail", "load", "oops: .*NULL pointer"),
    "oops_exit": ("fail", "unload", "oops: .*NULL pointer"),
    "warning": ("fail", "log", "warning: "),
    "panics": ("fail", "load", "panic: .*nothing can be done"),
    "hangs": ("fail", "load", "hung-task|hang|did not end within"),
    "spins": ("fail", "load", "soft-lockup|hung-task|hang|did not end within|rcu-stall"),
    "reboots": ("fail", "load", "went down"),
    "stays": ("fail", "unload", "busy|in use|cannot|could not"),
    "litters": ("fail", "unload", "/proc/litter"),
    "refuses": ("fail", "load", "No such device"),
    "unlicensed": ("fail", "log", "licence"),
    "liar": ("fail", "load", "another thing"),
    "innocent": ("pass", "log", "^$"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    reports = tmp_path_factory.mktemp("reports")
    asked = ["--kernels", "6.12", "--modules", str(HERE / "faults"), "--reports", str(reports)]
    command = [sys.executable, "-m", "kmodlab", "matrix", *asked]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert answer.returncode == 1, answer.stdout + answer.stderr
    yield load_results(reports / "latest")
    assert not list(runtime_dir().glob("*/*/vm.json")), "a VM was left running"


def cell(results: Results, module: str) -> Cell:
    (found,) = [each for each in results.cells if each.module == module]
    return found


def test_every_module_has_a_verdict(results: Results) -> None:
    assert {each.module for each in results.cells} == set(EXPECTED)


@pytest.mark.parametrize("module", EXPECTED)
def test_the_verdict_is_true(results: Results, module: str) -> None:
    verdict, stage, reason = EXPECTED[module]
    found = cell(results, module)
    assert (found.verdict, found.stage) == (verdict, stage), found
    assert re.search(reason, found.reason), found.reason
