"""A module whose timer goes off when it has gone: the fault is found, and is not the next module's."""

from pathlib import Path

import faulty
import pytest

from kmodlab.results import Results

HERE = Path(__file__).parent
LIMIT = 3600
"""Seconds for the whole run, images included."""
FAULT = "oops: .*page fault"
EXPECTED = {
    "timebomb": ("fail", "log", f"^when it had gone: {FAULT}"),
    "bystander": ("pass", "log", "^$"),
    "firecracker": ("fail", "load|unload|log", FAULT),  # on a slow machine within its own cell
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return faulty.prove(tmp_path_factory.mktemp("reports"), "6.12", HERE / "late", limit=LIMIT)


@pytest.mark.parametrize("module", EXPECTED)
def test_a_late_fault_has_its_true_maker(results: Results, module: str) -> None:
    faulty.insist(faulty.cell(results, module), *EXPECTED[module])
