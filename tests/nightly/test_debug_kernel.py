"""Kernels that check themselves find what no other does: memory that one load loses, a lock order, a sleep where none may be."""

from pathlib import Path

import faulty
import pytest

from kmodlab.results.contract import Results

HERE = Path(__file__).parent
LIMIT = 7200
"""Seconds for the whole run; a kernel that is not cached is built first."""
EXPECTED = {
    "innocent": ("pass", "log", "^$"),
    "loses": ("fail", "log", r"leak: nothing points to \d+ bytes in \d objects"),
    "frees_twice": ("fail", "log", "kasan: .*double-free"),
    "reads_beyond": ("fail", "log", "kasan: .*slab-out-of-bounds"),
    "locks_in_two_orders": ("fail", "log", "lockdep: .*circular locking"),
    "sleeps_with_a_lock": ("fail", "log", "atomic-sleep: .*scheduling while atomic"),
    "frees_a_timer": ("fail", "log", "timer: ODEBUG: free active"),
    "shifts_too_far": ("fail", "log", "ubsan: .*shift-out-of-bounds"),
}


@pytest.fixture(scope="module", params=["6.12-debug", "um-6.12"])
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return faulty.prove(tmp_path_factory.mktemp("reports"), request.param, HERE / "faults", limit=LIMIT)


@pytest.mark.parametrize("module", EXPECTED)
def test_the_fault_is_found(results: Results, module: str) -> None:
    faulty.insist(faulty.cell(results, module), *EXPECTED[module])
