"""A module whose timer goes off when it has gone: the fault is found, and is not the next module's."""

from pathlib import Path

import faulty
import pytest

from kmodlab.results.contract import Results
from kmodlab.results.events import Follower

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
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def results(reports: Path) -> Results:
    return faulty.prove(reports, "6.12", HERE / "late", limit=LIMIT)


@pytest.mark.parametrize("module", EXPECTED)
def test_a_late_fault_has_its_true_maker(results: Results, module: str) -> None:
    faulty.insist(faulty.cell(results, module), *EXPECTED[module])


def test_who_had_a_fresh_machine_is_not_tried_again(results: Results, reports: Path) -> None:
    """The machine was brought back when the bystander had been hit."""
    notes = [event.text for event in Follower(reports / "latest/events.jsonl").events() if event.state == "note"]
    assert [note.partition(" ")[0] for note in notes if "tried again" in note] == ["bystander", "bystander"]


def test_every_attempt_is_kept_and_blame_went_by_fingerprint(results: Results) -> None:
    victim, maker = faulty.cell(results, "bystander"), faulty.cell(results, "timebomb")
    assert [each.verdict for each in victim.attempts] == ["fail", "pass"]
    assert [each.verdict for each in maker.attempts] == ["pass", "fail"]
    assert {each.kind for each in victim.attempts[0].findings} == {"oops"} == {each.kind for each in maker.findings}
