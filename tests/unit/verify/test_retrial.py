"""Whose a fault is: the module's that it came to, another's before it, or nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodlab.results.contract import Cell, Finding, Kernel, ModuleInfo, Stage, Verdict
from kmodlab.results.folder import Expected, Planned, Run
from kmodlab.verify import retrial
from kmodlab.verify.afterwards import CLOSING_SECONDS
from kmodlab.verify.retrial import Doubt

K = "6.12-x86_64"
PASS, FAIL = Verdict.PASS, Verdict.FAIL
STAGES = (Stage.LOAD, Stage.LOG)


class Machine:
    """A run in which `victim` failed after `maker` and `other`, and what a fresh machine says of each of them."""

    def __init__(self, folder: Path, alone: dict[str, str], expect: Expected | None = None) -> None:
        names = ("other", "maker", "victim")
        self.run = Run.create(folder)
        cells = [Planned(kernel=K, module=name, stages=STAGES, expect=expect if name == "victim" else None) for name in names]
        self.run.plan([Kernel(id=K, arch="x86_64")], [ModuleInfo(name=name, source="", sha256="") for name in names], cells)
        self.alone = alone
        self.tried: list[tuple[str, float]] = []
        for name in names:
            self.record(name, Stage.LOAD, "oops" if name == "victim" else "")

    def record(self, name: str, stage: Stage, reason: str) -> None:
        for each in STAGES:
            failed = reason and each is stage
            self.run.record(K, name, each, FAIL if failed else PASS, reason if failed else "")

    def try_alone(self, name: str, seconds: float) -> None:
        self.tried.append((name, seconds))
        self.record(name, Stage.LOG, self.alone.get(name, ""))

    def settle(self, *, starved: bool = False) -> dict[str, tuple[Verdict, str]]:
        retrial.note(self.run, K, [Doubt(module="victim", suspects={"maker": 4, "other": 10}, starved=starved)])
        retrial.settle(self.run, K, self.try_alone)
        return {cell.module: (cell.verdict, cell.reason) for cell in self.run.collect().cells}


def test_who_fails_alone_too_is_the_maker(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"victim": "oops, alone"})
    assert machine.settle() == {"other": (PASS, ""), "maker": (PASS, ""), "victim": (FAIL, "oops, alone")}
    assert machine.tried == [("victim", CLOSING_SECONDS)]


def test_a_suspect_that_does_it_again_is_the_maker_and_the_others_are_left_alone(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"maker": "late"})
    assert machine.settle() == {"other": (PASS, ""), "maker": (FAIL, "late"), "victim": (PASS, "")}
    assert machine.tried == [("victim", CLOSING_SECONDS), ("maker", 8.0)], "longer than it took to come"


def test_a_fault_without_another_maker_stays_where_it_was_seen(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {})
    verdict, reason = machine.settle()["victim"]
    assert verdict is FAIL and reason.startswith("oops (not so again")
    assert [name for name, _ in machine.tried] == ["victim", "maker", "other"]


def test_what_a_starved_lab_can_cause_and_what_does_not_come_again_is_the_labs_error(tmp_path: Path) -> None:
    verdict, reason = Machine(tmp_path, {}).settle(starved=True)["victim"]
    assert (verdict, reason) == (Verdict.ERROR, "oops (not so again on a fresh machine: the lab may have been too slow)")


def test_what_comes_again_is_the_modules_however_slow_the_lab_is(tmp_path: Path) -> None:
    assert Machine(tmp_path, {"victim": "hang"}).settle(starved=True)["victim"] == (FAIL, "hang")


@pytest.mark.parametrize("alone", [{}, {"maker": "its own"}])
def test_a_suspects_own_failure_neither_gets_lost_nor_counts_for_the_fault(tmp_path: Path, alone: dict[str, str]) -> None:
    machine = Machine(tmp_path, alone)
    machine.record("maker", Stage.LOAD, "its own")
    found = machine.settle()
    assert found["victim"][0] is FAIL and found["maker"][0] is FAIL
    assert found["maker"][1].startswith("its own")


def test_an_expected_failure_is_no_doubt(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {}, Expected(stage=Stage.LOAD, reason="so it is"))
    machine.settle()
    assert machine.tried == []


def test_what_is_settled_is_not_tried_another_time(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"maker": "late"})
    machine.settle()
    machine.tried.clear()
    retrial.settle(machine.run, K, machine.try_alone)
    assert machine.tried == []


@pytest.mark.parametrize(
    ("before", "alone", "stage", "caught"),
    [
        (
            "slab x +1.0 (from 397 to 460)",
            "slab x +1.0 (from 401 to 466)",
            "",
            False,
        ),
        ("", "test_reads[maker]: AssertionError", Stage.BEHAVIOUR, False),
        ("oops: its own", "oops: BUG: unable to handle page fault", Stage.LOG, True),
        ("", "when it had gone: oops: BUG: general protection", Stage.LOG, True),
        ("", "panic: Kernel panic", Stage.LOAD, True),
    ],
)
def test_a_suspect_is_caught_by_what_it_does_not_by_how_that_is_worded(
    tmp_path: Path, before: str, alone: str, stage: Stage | str, caught: bool
) -> None:
    machine = Machine(tmp_path, {})
    machine.record("victim", Stage.LOAD, "oops: BUG: kernel NULL pointer dereference")
    at = Stage(stage or Stage.LOG)
    if before:
        machine.record("maker", at, before)

    def try_alone(name: str, seconds: float) -> None:
        machine.record(name, at, alone if name == "maker" else "")
        if name == "maker" and at is Stage.BEHAVIOUR:
            machine.run.record(K, name, at, FAIL, alone)

    machine.try_alone = try_alone  # type: ignore[method-assign]
    assert (machine.settle()["victim"][0] is PASS) == caught


def test_only_so_many_suspects_are_tried_the_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrial, "MOST_SUSPECTS", 1)
    machine = Machine(tmp_path, {})
    machine.settle()
    assert [name for name, _ in machine.tried] == ["victim", "maker"]


def finding(kind: str, fingerprint: str) -> Finding:
    return Finding(kind=kind, severity="fatal", fingerprint=fingerprint, headline="h", meaning="m")


def failed(kind: str = "", fingerprint: str = "") -> Cell:
    findings = [finding(kind, fingerprint)] if kind else []
    verdict = FAIL if kind else PASS
    return Cell(kernel=K, module="m", verdict=verdict, stage=Stage.LOG, reason=f"{kind}: x", findings=findings)


@pytest.mark.parametrize(
    ("first", "again", "caught"),
    [
        (failed(), failed("oops", "aaa"), True),
        (failed("oops", "bbb"), failed("oops", "aaa"), True),
        (failed("oops", "bbb"), failed("oops", "bbb"), False),
        (failed(), failed("panic", "ccc"), True),
        (failed(), failed(), False),
    ],
    ids=["does it", "does it, and another thing before", "an oops of its own, as before", "does worse", "does nothing"],
)
def test_a_suspect_is_known_by_the_fingerprint_of_what_it_does(first: Cell, again: Cell, caught: bool) -> None:
    assert retrial._did_it(failed("oops", "aaa"), first, again) is caught


def test_a_failure_that_is_kept_keeps_its_findings_and_both_attempts(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {})
    machine.run.record(K, "victim", Stage.LOG, FAIL, "oops: x", findings=[finding("oops", "aaa")])
    machine.settle()
    cell = next(each for each in machine.run.collect().cells if each.module == "victim")
    assert cell.verdict is FAIL and [each.fingerprint for each in cell.findings] == ["aaa"]
    assert [each.verdict for each in cell.attempts][-2:] == [FAIL, PASS]
