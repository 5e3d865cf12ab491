"""Modules that lose a little with each load: one load shows nothing, many do, and what gives all back passes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kmodlab.results import Results, load_results

HERE = Path(__file__).parent
LIMIT = 3600
"""Seconds for the whole run, images included."""
LOADS = 100
EXPECTED = {
    "loses_slab": ("fail", "unload", r"slab kmalloc-\S*128 \+1\.\d "),
    "loses_vmalloc": ("fail", "unload", r"vmalloc of an unloaded module \+1\.\d "),
    "innocent": ("pass", "log", "^$"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    reports = tmp_path_factory.mktemp("reports")
    asked = ["--kernels", "6.12", "--modules", str(HERE / "leaks"), "--stress", str(LOADS), "--reports", str(reports)]
    command = [sys.executable, "-m", "kmodlab", "matrix", *asked]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert answer.returncode == 1, answer.stdout + answer.stderr
    return load_results(reports / "latest")


@pytest.mark.parametrize("module", EXPECTED)
def test_what_is_lost_with_each_load_is_found(results: Results, module: str) -> None:
    verdict, stage, reason = EXPECTED[module]
    (found,) = [each for each in results.cells if each.module == module]
    assert (found.verdict, found.stage) == (verdict, stage), found
    assert re.search(reason, found.reason), found.reason
