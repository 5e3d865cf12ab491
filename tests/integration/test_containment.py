"""Modules that break the kernel in every way: each gets its own true verdict, and the innocent one after them passes."""

from collections.abc import Iterator
from pathlib import Path

import faulty
import pytest

from kmodlab.machine.runtime import runtime_dir
from kmodlab.results.contract import Results

HERE = Path(__file__).parent
LIMIT = 3600
"""Seconds for the whole run, images included."""
EXPECTED = {
    "broken": ("fail", "build", "no_such_thing"),
    "oops": ("fail", "load", "oops: .*NULL pointer"),
    "oops_exit": ("fail", "unload", "oops: .*NULL pointer"),
    "warning": ("fail", "log", "warning: "),
    "panics": ("fail", "load", "panic: .*nothing can be done"),
    "hangs": ("fail", "load", "hung-task|hang|did not end within"),
    "spins": ("fail", "load", "soft-lockup|hung-task|hang|did not end within|rcu-stall"),
    "reboots": ("fail", "load", "went down"),
    "stays": ("fail", "unload", "busy|in use|cannot|could not"),
    "litters": ("fail", "unload", "/proc/litter"),
    "registers": ("fail", "unload", r"/proc/devices: \d+ registers, the kernel.s pointer for a character device"),
    "quietens": ("fail", "unload", "/proc/sys/kernel/printk: 1 "),
    "refuses": ("fail", "load", "No such device"),
    "unlicensed": ("fail", "log", "licence"),
    "liar": ("fail", "load", "another thing"),
    "innocent": ("pass", "log", "^$"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    yield faulty.prove(tmp_path_factory.mktemp("reports"), "6.12", HERE / "faults", limit=LIMIT)
    assert not list(runtime_dir().glob("*/*/vm.json")), "a VM was left running"


def test_every_module_has_a_verdict(results: Results) -> None:
    assert {each.module for each in results.cells} == set(EXPECTED)


@pytest.mark.parametrize("module", EXPECTED)
def test_the_verdict_is_true(results: Results, module: str) -> None:
    faulty.insist(faulty.cell(results, module), *EXPECTED[module])


@pytest.mark.parametrize(
    ("module", "kind", "place"),
    [("oops", "oops", "oops.c:9"), ("oops_exit", "oops", "oops_exit.c:15"), ("warning", "warning", "warning.c:7")],
)
def test_a_finding_has_its_class_and_its_line_of_c(results: Results, module: str, kind: str, place: str) -> None:
    (found,) = [each for each in faulty.cell(results, module).findings if each.severity != "notice"]
    assert found.kind == kind and found.where[0].endswith(f" is {place}")


def test_a_changed_setting_reads_as_changed(results: Results) -> None:
    assert "changed, and not changed back: /proc/sys/kernel/printk" in faulty.cell(results, "quietens").reason
