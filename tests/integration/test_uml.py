"""User-Mode Linux finds what other kernels do not, and accuses nobody else; where it is built, because that takes minutes."""

from pathlib import Path

import faulty
import pytest

from kmodlab.debian import source_kernel
from kmodlab.debian.archive import Resolved, resolve
from kmodlab.plan.kernels import load_inventory
from kmodlab.results.contract import REACHED, Results

KERNEL = "um-6.12"
HALF = """\
#include <linux/module.h>

static bool more;
module_param(more, bool, 0);

static int __init half_init(void)
{
	if (more)
		return -ENODEV;
	return 0;
}

static void __exit half_exit(void)
{
}

module_init(half_init);
module_exit(half_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A line that no test reaches");
"""
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
def built() -> None:
    resolved = resolve([load_inventory()[KERNEL]])[KERNEL]
    if not isinstance(resolved, Resolved) or not source_kernel.packages_path(resolved).exists():
        pytest.skip(f"{KERNEL} has not been built here: make matrix KERNELS={KERNEL} does that")


@pytest.fixture(scope="module")
def results(built: None, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return faulty.prove(tmp_path_factory.mktemp("reports"), KERNEL, FAULTS, "--only", " ".join(EXPECTED), limit=LIMIT)


@pytest.mark.parametrize("module", EXPECTED)
def test_it_finds_the_fault_and_only_that(results: Results, module: str) -> None:
    faulty.insist(faulty.cell(results, module), *EXPECTED[module])


def test_it_counts_the_lines_that_run_and_names_those_that_do_not(built: None, tmp_path: Path) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "half.c").write_text(HALF)
    (modules / "Makefile").write_text("obj-m := half.o\n")
    found = faulty.cell(faulty.prove(tmp_path / "reports", KERNEL, modules, "--coverage", limit=LIMIT, status=0), "half")
    faulty.insist(found, "pass", "log", "^$")
    assert [check.reason for check in found.checks if check.name == REACHED] == ["4 of 5; not half.c:9"]
    lcov = (tmp_path / f"reports/latest/coverage/{KERNEL}/lcov.info").read_text()
    assert f"SF:{modules}/half.c" in lcov and "DA:9,0," in lcov and "DA:13,2," in lcov, "loaded twice"
