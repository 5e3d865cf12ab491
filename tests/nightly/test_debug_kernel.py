"""The debug kernel finds what no other does: memory that one load loses, a lock order, a sleep where none may be."""

from pathlib import Path

import faulty
import pytest

from kmodlab.results.contract import Results

HERE = Path(__file__).parent
LIMIT = 7200
"""Seconds for the whole run; a kernel that is not cached is built first."""
EXPECTED = {
    "loses": ("log", r"leak: nothing points to \d+ bytes in 1 objects"),
    "frees_twice": ("log", "kasan: .*double-free"),
    "reads_beyond": ("log", "kasan: .*slab-out-of-bounds"),
    "locks_in_two_orders": ("log", "lockdep: .*circular locking"),
    "sleeps_with_a_lock": ("log", "atomic-sleep: .*scheduling while atomic"),
    "frees_a_timer": ("log", "timer: ODEBUG: free active"),
    "shifts_too_far": ("log", "ubsan: .*shift-out-of-bounds"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return faulty.prove(tmp_path_factory.mktemp("reports"), "6.12-debug", HERE / "faults", limit=LIMIT)


@pytest.mark.parametrize("module", EXPECTED)
def test_the_fault_is_found(results: Results, module: str) -> None:
    faulty.insist(faulty.cell(results, module), "fail", *EXPECTED[module])
