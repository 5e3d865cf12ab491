"""A stock kernel that checks its memory names what one ordinary load corrupts or loses."""

import re
from pathlib import Path

import faulty
import pytest

from kmodlab.results.contract import Results

HERE = Path(__file__).parent
LIMIT = 7200
"""Seconds for one run, images included."""
KERNELS = ("5.10-x86_64", "6.1-x86_64", "6.12-x86_64", "7.3-x86_64")
LOST = r"memory that nobody frees: {0} of \S+, allocated by fault_init\+"
CORRUPTED = "slab-corruption: "
NAMED = r"(fault_init|fault_exit|follow_late(\.isra\.0)?)\+0x[0-9a-f]+(/0x[0-9a-f]+)? \[{0}\]"
"""In a reason, or in the places of a finding: a function of the module that did it."""
EXPECTED = {
    "writes_after_free": ("log", CORRUPTED),
    "writes_beyond": ("log", CORRUPTED),
    "writes_a_word_beyond": ("log", CORRUPTED),
    "writes_before": ("log", CORRUPTED),
    "reads_after_free": ("unload", "oops: .*6b6b6b6b"),
    "frees_two_times": ("log", f"{CORRUPTED}|kernel BUG"),
    "frees_the_middle": ("load|unload|log", CORRUPTED),
    "frees_to_another_cache": ("log", CORRUPTED),
    "adds_twice": ("unload|log", "list-corruption: "),
    "forgets": ("unload", LOST.format(1)),
    "forgets_much": ("unload", LOST.format(50)),
    "forgets_a_copy": ("unload", LOST.format(1)),
    "forgets_an_object": ("unload", "forgets_an_object"),
    "forgets_pages": ("unload", LOST.format(1)),
    "keeps_its_cache_busy": ("unload|log", "keeps_its_cache_busy"),
}
NAMELESS = {"writes_to_a_freed_page": ("log|unload", "bad-page: ")}
"""A stock kernel does not keep who had a page."""
UNSEEN = {("5.10-x86_64", "forgets_a_copy"), ("5.10-x86_64", "writes_to_a_freed_page")}
"""Its list of who allocated what ends after a page of text for each cache; and it fills freed pages, but never looks at them."""
UNNAMED = {("6.1-x86_64", "frees_the_middle")}
"""The kernel dies when it is to tell who allocated what in that slab; what it said of the free stands."""
INNOCENT = ("careful", "careful_at_the_edge", "careful_in_time", "careful_with_lists")


@pytest.fixture(scope="module", params=KERNELS)
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    reports = tmp_path_factory.mktemp("reports")
    return faulty.prove(reports, request.param, HERE / "memory", "--quick", "--checks", limit=LIMIT)


def kernel(results: Results) -> str:
    (one,) = results.kernels
    return one.id


@pytest.mark.parametrize("module", EXPECTED)
def test_the_fault_is_found_and_a_function_of_the_module_is_named(results: Results, module: str) -> None:
    found = faulty.cell(results, module)
    if (kernel(results), module) in UNSEEN:
        pytest.skip("this kernel does not tell")
    faulty.insist(found, "fail", *EXPECTED[module])
    if (kernel(results), module) in UNNAMED:
        return
    said = [found.reason, *(place for each in found.findings for place in each.where)]
    assert re.search(NAMED.format(module), "\n".join(said)), said


@pytest.mark.parametrize("module", NAMELESS)
def test_what_no_kernel_can_name_is_found_in_its_own_cell(results: Results, module: str) -> None:
    if (kernel(results), module) in UNSEEN:
        pytest.skip("this kernel does not tell")
    faulty.insist(faulty.cell(results, module), "fail", *NAMELESS[module])


@pytest.mark.parametrize("module", INNOCENT)
def test_who_only_looks_like_it_passes(results: Results, module: str) -> None:
    faulty.insist(faulty.cell(results, module), "pass", "log", "^$")
