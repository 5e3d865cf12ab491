"""Modules that lose a little with each load: one load shows nothing, many do, and what gives all back passes."""

from pathlib import Path

import faulty
import pytest

from kmodlab.results.contract import Results

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
    return faulty.prove(tmp_path_factory.mktemp("reports"), "6.12", HERE / "leaks", "--stress", str(LOADS), limit=LIMIT)


@pytest.mark.parametrize("module", EXPECTED)
def test_what_is_lost_with_each_load_is_found(results: Results, module: str) -> None:
    faulty.insist(faulty.cell(results, module), *EXPECTED[module])
