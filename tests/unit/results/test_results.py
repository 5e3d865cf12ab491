"""The contract of results.json, and that nothing a stage does or fails to do loses a cell."""

from __future__ import annotations

import json
import multiprocessing
import re
import shutil
from pathlib import Path

import pytest
from junitparser import Error, Failure, JUnitXml, Skipped

from kmodlab.ground.errors import LabError
from kmodlab.results.contract import (
    EXPECTED_FAILURE,
    NO_TEST,
    Cell,
    Check,
    Finding,
    Kernel,
    Mode,
    ModuleInfo,
    Revision,
    Stage,
    Verdict,
    one_line,
)
from kmodlab.results.folder import Expected, Planned, Run, load_results

K = "6.12-x86_64"
MODULES = ("hello-1", "chardev", "syscall")


def planned_run(tmp_path: Path, *cells: Planned) -> Run:
    run = Run.create(tmp_path / "reports")
    run.plan(
        [Kernel(id=K, arch="x86_64", distribution="trixie")],
        [ModuleInfo(name=name, source=f"examples/{name}.c", sha256="00") for name in MODULES],
        cells or [Planned(kernel=K, module=name) for name in MODULES],
    )
    return run


def record_all(run: Run, module: str, **different: tuple[Verdict, str]) -> None:
    for stage in Stage:
        verdict, reason = different.get(stage.value, (Verdict.PASS, ""))
        run.record(K, module, stage, verdict, reason, seconds=0.5)


def cell_of(run: Run, module: str) -> Cell:
    return next(cell for cell in run.collect().cells if cell.module == module)


def test_the_file_is_the_contract(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    for module in MODULES:
        record_all(run, module)
    run.record(
        K,
        "chardev",
        Stage.BEHAVIOUR,
        Verdict.PASS,
        checks=[Check(name="second opener", verdict=Verdict.PASS)],
    )
    run.note_kernel(K, release="6.12.1+deb13-amd64", accel="tcg")
    run.note_kernel(K, compiler="gcc-14", host="vm-1")
    run.publish()

    found = json.loads((tmp_path / "reports/latest/results.json").read_text())
    assert set(found) == {"schema", "run", "started", "seconds", "kmodlab", "mode", "revision", "kernels", "modules", "cells"}
    assert found["schema"] == 2 and found["run"] == run.id and found["started"].endswith("Z")
    assert found["kernels"] == [
        {
            "id": K,
            "release": "6.12.1+deb13-amd64",
            "arch": "x86_64",
            "distribution": "trixie",
            "accel": "tcg",
            "host": "vm-1",
            "compiler": "gcc-14",
            "asked": "",
            "stale": False,
        }
    ]
    assert found["modules"][0] == {"name": "hello-1", "source": "examples/hello-1.c", "sha256": "00"}
    assert found["cells"][1] == {
        "kernel": K,
        "module": "chardev",
        "verdict": "pass",
        "stage": "log",
        "reason": "",
        "seconds": 3.0,
        "checks": [{"name": "second opener", "verdict": "pass", "reason": "", "stage": "behaviour"}],
        "findings": [],
        "attempts": [
            {"verdict": "pass", "stage": "log", "reason": "", "seconds": 3.5, "findings": []},
            {"verdict": "pass", "stage": "log", "reason": "", "seconds": 3.0, "findings": []},
        ],
        "log": "",
    }
    assert load_results(run.folder).exit_status == 0


def test_a_cell_nobody_recorded_is_an_error_and_is_there(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    record_all(run, "hello-1")
    run.record(K, "chardev", Stage.BUILD, Verdict.PASS)
    results = run.collect()
    assert [cell.verdict for cell in results.cells] == [Verdict.PASS, Verdict.ERROR, Verdict.ERROR]
    assert results.cells[1].stage is Stage.SIGN
    assert "the lab lost this cell" in results.cells[1].reason
    assert results.exit_status == 2


def test_an_interrupted_run_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    record_all(run, "hello-1")
    run.stop()
    assert [cell.reason for cell in run.collect().cells] == ["", "interrupted", "interrupted"]


def test_a_broken_kernel_gives_its_reason_to_the_cells_it_lost_only(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    record_all(run, "hello-1", build=(Verdict.FAIL, "does not compile"))
    run.break_kernel(K, Stage.DEPLOY, "the VM did not answer\nwithin 60 s", log_text="boot messages")
    run.record(K, "chardev", Stage.BUILD, Verdict.ERROR, "disk full")
    failed, own, lost = run.collect().cells
    assert (failed.verdict, failed.reason) == (Verdict.FAIL, "does not compile")
    assert (own.verdict, own.reason) == (Verdict.ERROR, "disk full")
    assert (lost.verdict, lost.stage) == (Verdict.ERROR, Stage.DEPLOY)
    assert lost.reason == "the VM did not answer within 60 s"
    assert "boot messages" in (run.folder / lost.log).read_text()


def test_a_kernel_that_comes_back_is_not_broken_any_more(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    run.break_kernel(K, Stage.DEPLOY, "the VM did not answer")
    for module in MODULES:
        record_all(run, module)
    assert run.collect().exit_status == 0


@pytest.mark.parametrize(
    ("recorded", "verdict", "stage"),
    [
        ({"load": (Verdict.FAIL, "a"), "log": (Verdict.FAIL, "b")}, Verdict.FAIL, Stage.LOAD),
        ({"load": (Verdict.ERROR, "VM lost"), "log": (Verdict.FAIL, "oops")}, Verdict.FAIL, Stage.LOG),
        ({"load": (Verdict.SKIP, "no board"), "log": (Verdict.ERROR, "VM lost")}, Verdict.ERROR, Stage.LOG),
        ({"load": (Verdict.SKIP, "no board")}, Verdict.SKIP, Stage.LOAD),
        ({}, Verdict.PASS, Stage.LOG),
    ],
)
def test_stages_join(tmp_path: Path, recorded: dict[str, tuple[Verdict, str]], verdict: Verdict, stage: Stage) -> None:
    run = planned_run(tmp_path)
    record_all(run, "hello-1", **recorded)
    cell = cell_of(run, "hello-1")
    assert (cell.verdict, cell.stage) == (verdict, stage)


def test_a_retry_replaces_the_error_and_the_log_keeps_both(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    record_all(run, "hello-1")
    run.record(K, "hello-1", Stage.LOAD, Verdict.ERROR, "VM lost", log_text="first try")
    assert cell_of(run, "hello-1").verdict is Verdict.ERROR
    run.record(K, "hello-1", Stage.LOAD, Verdict.PASS, log_text="second try")
    cell = cell_of(run, "hello-1")
    assert cell.verdict is Verdict.PASS
    log = (run.folder / cell.log).read_text()
    assert log.index("first try") < log.index("second try")
    assert "== load: error" in log


def test_a_failed_check_cannot_hide_in_a_pass(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    record_all(run, "hello-1")
    failed = Check(name="leftovers", verdict=Verdict.FAIL, reason="/dev/x is still there")
    run.record(K, "hello-1", Stage.UNLOAD, Verdict.PASS, checks=[failed])
    cell = cell_of(run, "hello-1")
    assert (cell.verdict, cell.stage) == (Verdict.FAIL, Stage.UNLOAD)
    assert cell.reason == "leftovers: /dev/x is still there"


EXPECT = Expected(stage=Stage.BUILD, reason="objtool refuses the name")


def expecting_run(tmp_path: Path) -> Run:
    return planned_run(tmp_path, Planned(kernel=K, module="hello-1", expect=EXPECT))


def test_an_expected_failure_passes_and_stays_visible(tmp_path: Path) -> None:
    run = expecting_run(tmp_path)
    run.record(K, "hello-1", Stage.BUILD, Verdict.FAIL, "objtool: error")
    cell = cell_of(run, "hello-1")
    assert (cell.verdict, cell.reason, cell.failed_as_expected) == (Verdict.PASS, "", True)
    assert cell.checks == [Check(name=EXPECTED_FAILURE, verdict=Verdict.FAIL, reason="objtool refuses the name: objtool: error")]


def test_an_expected_failure_that_passes_is_a_failure(tmp_path: Path) -> None:
    run = expecting_run(tmp_path)
    record_all(run, "hello-1")
    cell = cell_of(run, "hello-1")
    assert (cell.verdict, cell.stage) == (Verdict.FAIL, Stage.BUILD)
    assert cell.reason.startswith("expected to fail at build") and "drop the expectation" in cell.reason
    assert run.collect().exit_status == 1


def test_a_failure_at_another_stage_is_not_the_expected_one(tmp_path: Path) -> None:
    run = expecting_run(tmp_path)
    record_all(run, "hello-1", load=(Verdict.FAIL, "oops"))
    cell = cell_of(run, "hello-1")
    assert (cell.verdict, cell.stage, cell.failed_as_expected) == (Verdict.FAIL, Stage.LOAD, False)
    assert cell.reason.startswith("oops")


def test_an_expected_failure_does_not_excuse_the_lab(tmp_path: Path) -> None:
    run = expecting_run(tmp_path)
    assert cell_of(run, "hello-1").verdict is Verdict.ERROR


def test_a_failure_outranks_an_error_in_the_exit_status(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    record_all(run, "hello-1", load=(Verdict.FAIL, "oops"))
    assert run.collect().exit_status == 1


def test_skips_need_no_record_and_are_no_error(tmp_path: Path) -> None:
    run = planned_run(tmp_path, Planned(kernel=K, module="syscall", skip="x86 only"))
    assert cell_of(run, "syscall").reason == "x86 only"
    assert run.collect().exit_status == 0


def test_a_run_that_planned_nothing_is_no_success(tmp_path: Path) -> None:
    run = Run.create(tmp_path)
    run.plan([], [], [])
    assert run.collect().exit_status == 2


def test_a_damaged_record_costs_only_its_own_cell(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    for module in MODULES:
        record_all(run, module)
    (run.folder / f"cells/{K}/chardev.json").write_text("")
    assert [cell.verdict for cell in run.collect().cells] == [Verdict.PASS, Verdict.ERROR, Verdict.PASS]


def test_recording_an_unplanned_cell_is_refused(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    with pytest.raises(ValueError, match="not in the plan"):
        run.record(K, "hello-9", Stage.BUILD, Verdict.PASS)


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", ""])
def test_names_that_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="module"):
        Planned(kernel=K, module=name)


def test_a_plan_with_a_cell_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 times"):
        planned_run(tmp_path, Planned(kernel=K, module="hello-1"), Planned(kernel=K, module="hello-1"))


def test_latest_follows_the_newest_run_and_an_open_run_stays(tmp_path: Path) -> None:
    first = Run.create(tmp_path)
    opened = Run.open(tmp_path / "latest")
    second = Run.create(tmp_path)
    assert first.id != second.id
    assert (tmp_path / "latest").resolve() == second.folder.resolve()
    assert opened.folder == first.folder.resolve()


def test_the_previous_run_is_the_newest_readable_one_before(tmp_path: Path) -> None:
    runs = [planned_run(tmp_path) for _ in range(4)]
    for run in runs[:3]:
        run.publish()
    assert runs[0].previous() is None
    (runs[2].folder / "results.json").write_text("{}")
    assert runs[3].previous() == load_results(runs[1].folder)


def test_a_folder_in_the_place_of_latest_is_said(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(LabError, match="latest"):
        Run.create(tmp_path)


def test_opening_what_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no run folder"):
        Run.open(tmp_path)
    with pytest.raises(LabError, match=r"no plan\.json"):
        Run.create(tmp_path).collect()


def test_results_of_another_schema_are_refused(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    run.publish()
    path = run.folder / "results.json"
    path.write_text(path.read_text().replace('"schema": 2', '"schema": 3'))
    with pytest.raises(LabError, match="schema"):
        load_results(run.folder)


def test_a_run_killed_before_it_published_can_be_reported(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    record_all(run, "hello-1")
    assert load_results(run.folder).count == {Verdict.PASS: 1, Verdict.ERROR: 2}
    assert (run.folder / "junit.xml").exists()


def _record_many(folder: Path, module: str) -> None:
    record_all(Run.open(folder), module)


def test_processes_record_at_the_same_time(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    workers = [multiprocessing.Process(target=_record_many, args=(run.folder, module)) for module in MODULES]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)
    assert run.collect().count == {Verdict.PASS: 3}
    assert not list(run.folder.rglob(".*")), "something written aside was left"


def test_junit_has_one_case_a_cell(tmp_path: Path) -> None:
    run = planned_run(
        tmp_path,
        Planned(kernel=K, module="hello-1"),
        Planned(kernel=K, module="chardev"),
        Planned(kernel=K, module="syscall", skip="x86 only"),
    )
    record_all(run, "hello-1", load=(Verdict.FAIL, "log said \x1b[31mBUG\x00"))
    run.record(K, "hello-1", Stage.LOG, Verdict.PASS, log_text="x" * 20_000 + "\n\x07the end")
    run.publish()
    suites = JUnitXml.fromfile(str(run.folder / "junit.xml"))
    assert (suites.tests, suites.failures, suites.errors, suites.skipped) == (3, 1, 1, 1)
    failed, lost, skipped = (case for suite in suites for case in suite)
    assert (failed.classname, failed.name, failed.time) == (K, "hello-1", 3.0)
    assert isinstance(failed.result[0], Failure) and failed.result[0].message.startswith("load: log said")
    assert "the end" in failed.system_out and len(failed.system_out) < 10_000
    assert isinstance(lost.result[0], Error)
    assert isinstance(skipped.result[0], Skipped) and skipped.result[0].message == "x86 only"


def test_reasons_are_one_line() -> None:
    assert one_line("a\n  b\tc ") == "a b c"
    assert "\x1b" not in one_line("\x1b[2J")
    assert len(one_line("x" * 10_000)) == 500


def test_what_is_recorded_can_be_asked_by_kernel(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    run.record(K, "chardev", Stage.BUILD, Verdict.FAIL, "no")
    assert run.verdicts(K) == {"hello-1": {}, "chardev": {Stage.BUILD: Verdict.FAIL}, "syscall": {}}
    assert run.verdicts("6.1-armhf") == {}


def test_no_log_of_a_run_drives_the_terminal_of_who_looks_at_it(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    run.record(K, "hello-1", Stage.BUILD, Verdict.FAIL, "x", log_text="\x1b[2J\x07red\r\n\x9b31m")
    (run.folder / f"logs/{K}").mkdir(parents=True, exist_ok=True)
    (run.folder / f"logs/{K}/console.log").write_bytes(b"\x1b]0;title\x07 plain \xc2\x9bx \xff\n")
    (run.folder / "ansible.log").write_text("\x1b[31mred\n")
    run.publish()
    for log in (run.folder / "ansible.log", *run.folder.glob("logs/*/*.log")):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", log.read_text(errors="replace")), log
    assert "\\x1b[2J\\x07red\n\\x9b31m" in (run.folder / f"logs/{K}/hello-1.log").read_text()
    assert "\\x1b]0;title\\x07 plain" in (run.folder / f"logs/{K}/console.log").read_text()


def test_a_checks_reason_is_one_line_and_bounded(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    run.record(
        K, "hello-1", Stage.BUILD, Verdict.PASS, checks=[Check(name="w", verdict=Verdict.PASS, reason="\x1b[31m" + "x" * 5000)]
    )
    (check,) = cell_of(run, "hello-1").checks
    assert len(check.reason) == 500 and "\x1b" not in check.reason


@pytest.mark.parametrize(
    ("reason", "log", "matches", "verdict"),
    [
        ("No such device", "", "", Verdict.PASS),
        ("No such device", "", "No such device", Verdict.PASS),
        ("Invalid argument", "", "No such device", Verdict.FAIL),
        ("panic: Kernel panic - not syncing", "panic", "", Verdict.FAIL),
        ("oops: BUG: kernel NULL pointer", "oops", "^oops: .*NULL", Verdict.PASS),
    ],
)
def test_a_panic_is_never_expected_by_accident(tmp_path: Path, reason: str, log: str, matches: str, verdict: Verdict) -> None:
    expected = Expected(stage=Stage.LOAD, reason="no hardware", matches=matches)
    run = planned_run(tmp_path, Planned(kernel=K, module="hello-1", expect=expected))
    record_all(run, "hello-1", load=(Verdict.FAIL, reason))
    if log:
        check = Check(name="kernel log clean", verdict=Verdict.FAIL, reason=reason)
        run.record(K, "hello-1", Stage.LOG, Verdict.FAIL, reason, checks=[check])
    assert cell_of(run, "hello-1").verdict is verdict


OOPS = Finding.model_validate(
    {
        "class": "oops",
        "severity": "fatal",
        "fingerprint": "0123456789ab",
        "headline": "BUG: kernel NULL pointer dereference\n\x1b[2J",
        "meaning": "a NULL pointer was used",
        "count": 3,
        "where": ["chardev_read+0x1f [chardev] is chardev.c:87"],
    }
)


def test_nothing_that_was_seen_is_replaced_by_what_was_seen_later(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    record_all(run, "hello-1")
    run.record(K, "hello-1", Stage.LOG, Verdict.FAIL, "oops", findings=[OOPS])
    record_all(run, "hello-1")
    cell = cell_of(run, "hello-1")
    assert (cell.verdict, cell.findings) == (Verdict.PASS, [])
    assert [(each.verdict, [f.kind for f in each.findings]) for each in cell.attempts] == [
        (Verdict.PASS, []),
        (Verdict.FAIL, ["oops"]),
        (Verdict.PASS, []),
    ]


def test_what_is_decided_of_attempts_is_none_itself(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    record_all(run, "hello-1", log=(Verdict.FAIL, "oops"))
    record_all(run, "hello-1")
    run.record(K, "hello-1", Stage.LOG, Verdict.FAIL, "oops (not so again)", amends=True)
    cell = cell_of(run, "hello-1")
    assert (cell.verdict, cell.reason) == (Verdict.FAIL, "oops (not so again)")
    assert [each.verdict for each in cell.attempts] == [Verdict.FAIL, Verdict.PASS]
    record_all(run, "hello-1")
    assert [each.verdict for each in cell_of(run, "hello-1").attempts] == [Verdict.FAIL, Verdict.PASS, Verdict.PASS]


def test_a_build_for_the_sake_of_others_and_a_block_told_twice_are_no_attempts(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    record_all(run, "hello-1")
    for stage in (Stage.BUILD, Stage.SIGN, Stage.DEPLOY):
        run.record(K, "hello-1", stage, Verdict.PASS)
    for _ in range(3):
        run.record(K, "chardev", Stage.LOAD, Verdict.SKIP, "needs hello-1, which failed")
    assert len(cell_of(run, "hello-1").attempts) == len(cell_of(run, "chardev").attempts) == 1


def test_a_lab_that_erred_once_is_told(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    run.record(K, "hello-1", Stage.BUILD, Verdict.ERROR, "disk full")
    record_all(run, "hello-1")
    assert [each.reason for each in cell_of(run, "hello-1").attempts] == ["disk full", ""]


def test_findings_are_in_the_results_and_drive_no_terminal(tmp_path: Path) -> None:
    run = planned_run(tmp_path)
    record_all(run, "chardev")
    run.record(K, "chardev", Stage.LOG, Verdict.FAIL, "oops", findings=[OOPS])
    run.publish()
    found = json.loads((run.folder / "results.json").read_text())["cells"][1]["findings"]
    assert found == [
        {**OOPS.model_dump(by_alias=True), "headline": "BUG: kernel NULL pointer dereference \N{REPLACEMENT CHARACTER}[2J"}
    ]
    text = (run.folder / "junit.xml").read_text()
    assert "3 times fatal: oops" in text and "chardev_read+0x1f [chardev] is chardev.c:87" in text


def test_a_run_says_what_it_was(tmp_path: Path) -> None:
    run = Run.create(tmp_path)
    mode, revision = Mode(quick=True, stress=50), Revision(kmodlab="v0.1.0-3-gabc", modules="12ab")
    run.plan([Kernel(id=K, arch="x86_64")], [], [], mode=mode, revision=revision)
    results = run.publish()
    assert (results.mode, results.revision) == (mode, revision)
    text = (run.folder / "junit.xml").read_text()
    assert all(f'name="{name}"' in text for name in ("quick", "stress", "revision"))


def test_what_schema_1_wrote_is_read(tmp_path: Path) -> None:
    """Both the file and a folder that was not published yet, as they were at commit 6e9ff60."""
    folder = tmp_path / "run"
    shutil.copytree(Path(__file__).parent / "schema1", folder)
    old = load_results(folder)
    (folder / "results.json").unlink()
    made = load_results(folder)
    for results in (old, made):
        assert [cell.verdict for cell in results.cells] == ["pass", "fail", "skip", "error"]
        assert results.mode is None and results.exit_status == 1
        assert not any(cell.only_loaded for cell in results.cells), "it did not say"
    assert old.cells[0].attempts == [] and len(made.cells[0].attempts) == 1


@pytest.mark.parametrize(
    ("names", "tests", "only_loaded"),
    [([NO_TEST], 0, True), ([], 0, True), (["test_one[hello-1]", "test_two[hello-1]"], 2, False)],
)
def test_a_cell_without_behaviour_tests_is_told_from_one_with_some(
    tmp_path: Path, names: list[str], tests: int, only_loaded: bool
) -> None:
    run = planned_run(tmp_path)
    record_all(run, "hello-1")
    run.record(K, "hello-1", Stage.UNLOAD, Verdict.PASS, checks=[Check(name="rmmod", verdict=Verdict.PASS)])
    run.record(K, "hello-1", Stage.BEHAVIOUR, Verdict.PASS, checks=[Check(name=each, verdict=Verdict.PASS) for each in names])
    cell = cell_of(run, "hello-1")
    assert (len(cell.tests), cell.only_loaded) == (tests, only_loaded)
