"""FAULTS=1 finds the ways out of a load that nobody has gone, and accuses nobody who goes them well."""

from pathlib import Path

import faulty
import pytest

from kmodlab.results.contract import Results

LIMIT = 3600
"""Seconds for the whole run; a kernel that is not cached is built first."""
EXPECTED = {
    "careful": ("pass", "log", "^$"),
    "does_without": ("pass", "log", "^$"),
    "believes": ("fail", "load", r"when allocation \d+ of its load fails.*: panic: "),
    "leaves_its_file": (
        "fail",
        "unload",
        r"when allocation \d+ of its load fails \(leaves_its_file\.c:\d+\): still there .*: /proc/leaves_",
    ),
    "loses_the_first": ("fail", "log", r"when an allocation of its load fails: leak: .* is loses_the_first\.c:11$"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    reports = tmp_path_factory.mktemp("reports")
    return faulty.prove(reports, "um-6.12", Path(__file__).parent / "failing", "--faults", limit=LIMIT)


@pytest.mark.parametrize("module", EXPECTED)
def test_a_way_out_that_was_never_gone(results: Results, module: str) -> None:
    faulty.insist(faulty.cell(results, module), *EXPECTED[module])
