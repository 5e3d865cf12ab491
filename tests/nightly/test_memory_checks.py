"""A stock kernel that checks its memory names what one ordinary load corrupts or loses."""

from pathlib import Path

import faulty
import pytest

from kmodlab.results.contract import Results

HERE = Path(__file__).parent
LIMIT = 7200
"""Seconds for one run, images included."""
KERNELS = ("5.10-x86_64", "6.1-x86_64", "6.12-x86_64", "7.3-x86_64")
LOST = r"memory that nobody frees: {0} of kmalloc-\S+, allocated by fault_init\+"
EXPECTED = {
    "writes_after_free": ("fail", "log", "slab-corruption: "),
    "writes_beyond": ("fail", "unload|log", f"slab-corruption: |{LOST.format(1)}"),
    "writes_before": ("fail", "unload|log", f"slab-corruption: |{LOST.format(1)}"),
    "frees_two_times": ("fail", "unload|log", "slab-corruption: |kernel BUG"),
    "forgets": ("fail", "unload", LOST.format(1)),
    "forgets_much": ("fail", "unload", LOST.format(50)),
    "keeps_its_cache_busy": ("fail", "unload|log", "keeps_its_cache_busy"),
    "careful": ("pass", "log", "^$"),
}


@pytest.fixture(scope="module", params=KERNELS)
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    reports = tmp_path_factory.mktemp("reports")
    return faulty.prove(reports, request.param, HERE / "memory", "--quick", "--checks", limit=LIMIT)


@pytest.mark.parametrize("module", EXPECTED)
def test_the_fault_is_found(results: Results, module: str) -> None:
    faulty.insist(faulty.cell(results, module), *EXPECTED[module])
