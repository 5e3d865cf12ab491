"""User-Mode Linux finds what other kernels do not, and accuses nobody else; where it is built, because that takes minutes."""

from pathlib import Path

import faulty
import pytest

from kmodlab.debian import source_kernel
from kmodlab.debian.archive import Resolved, resolve
from kmodlab.plan.kernels import load_inventory
from kmodlab.results.contract import Results

KERNEL = "um-6.12"
LIMIT = 900
"""Seconds for the whole run, images included."""
FAULTS = Path(__file__).parents[1] / "nightly/faults"
EXPECTED = {
    "innocent": ("pass", "log", "^$"),
    "loses": ("fail", "log", r"leak: nothing points to \d+ bytes in \d objects"),
    "frees_twice": ("fail", "log", "kasan: .*double-free"),
    "frees_a_timer": ("fail", "log", "timer: ODEBUG: free active"),
    "shifts_too_far": ("fail", "log", "ubsan: .*shift-out-of-bounds"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    resolved = resolve([load_inventory()[KERNEL]])[KERNEL]
    if not isinstance(resolved, Resolved) or not source_kernel.packages_path(resolved).exists():
        pytest.skip(f"{KERNEL} has not been built here: make matrix KERNELS={KERNEL} does that")
    return faulty.prove(tmp_path_factory.mktemp("reports"), KERNEL, FAULTS, "--only", " ".join(EXPECTED), limit=LIMIT)


@pytest.mark.parametrize("module", EXPECTED)
def test_it_finds_the_fault_and_only_that(results: Results, module: str) -> None:
    faulty.insist(faulty.cell(results, module), *EXPECTED[module])
