"""A column's stages, one after the other, on a stand-in for a board; and what becomes of its cells where one of them breaks."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from standin import BOARD, StandIn, planned

from kmodlab.ground.errors import LabError
from kmodlab.results.contract import Stage, Verdict
from kmodlab.run.board_column import BoardColumn, BuiltThere
from kmodlab.run.lab import Lab
from kmodlab.stages.work import run_stage
from kmodlab.verify import retrial

OOPS = "printk 'BUG: kernel NULL pointer dereference, address: 0000000000000000'"
Make = Callable[..., tuple[StandIn, Lab]]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """The board, and a quick run of modules of these names on it."""

    def column(*names: str) -> tuple[StandIn, Lab]:
        machine = StandIn(tmp_path / "machine")
        monkeypatch.setenv("PATH", f"{machine.make()}:{os.environ['PATH']}")
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        return machine, planned(tmp_path, names, quick=True)

    return column


def board_of(lab: Lab) -> BoardColumn:
    column = lab.column(BOARD)
    assert isinstance(column, BoardColumn)
    return column


def told(lab: Lab) -> dict[str, tuple[Verdict, Stage | None, str]]:
    return {cell.module: (cell.verdict, cell.stage, cell.reason) for cell in lab.run.collect().cells}


def test_a_column_goes_through_its_stages(make: Make) -> None:
    machine, lab = make("one", "two")
    for stage in ("sign", "boot", "deploy", "verify", "stop"):
        run_stage(lab, BOARD, stage)
    assert told(lab) == dict.fromkeys(("one", "two"), (Verdict.PASS, Stage.LOG, ""))
    assert machine.boots == 1


def test_who_harmed_another_one_late_is_found_and_the_victim_acquitted(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first module's timer goes off while the second one is there."""
    monkeypatch.setattr(retrial, "CLOSING_SECONDS", 0.1)
    machine, lab = make("bomb", "victim")
    when = "if [ -e fired ]; then sleep 0.3; else [ -e sys/module/victim ]; fi"  # when it is tried alone, it goes off soon
    machine.module("bomb", rmmod=f'later "{when}" "{OOPS}; touch fired"')
    machine.module("victim", insmod="n=0; until [ -e fired ] || [ $((n += 1)) -gt 50 ]; do sleep 0.1; done")
    for stage in ("sign", "boot", "deploy", "verify"):
        run_stage(lab, BOARD, stage)
    assert told(lab)["victim"] == (Verdict.PASS, Stage.LOG, "")
    assert told(lab)["bomb"][:2] == (Verdict.FAIL, Stage.LOG) and "oops: BUG" in told(lab)["bomb"][2]


def test_a_stage_that_breaks_is_told_of_in_every_cell_and_to_who_asked_for_it(make: Make) -> None:
    machine, lab = make("one", "two")
    run_stage(lab, BOARD, "sign")
    run_stage(lab, BOARD, "boot")
    (machine.folder / "full").touch()
    with pytest.raises(LabError, match="No space left on device"):
        run_stage(lab, BOARD, "deploy")
    for verdict, stage, reason in told(lab).values():
        assert (verdict, stage) == (Verdict.ERROR, Stage.DEPLOY) and "No space left on device" in reason


def test_a_board_that_has_gone_when_it_is_verified_is_an_error_of_its_cells(make: Make) -> None:
    machine, lab = make("one", "two")
    for stage in ("sign", "boot", "deploy"):
        run_stage(lab, BOARD, stage)
    (machine.folder / "down").touch()
    run_stage(lab, BOARD, "verify")
    for verdict, _, reason in told(lab).values():
        assert verdict is Verdict.ERROR and "did not come back within 2 s after a reboot" in reason


def test_a_worker_that_breaks_is_the_labs_error_and_names_its_log(make: Make) -> None:
    _, lab = make("one")
    for stage in ("sign", "boot", "deploy"):
        run_stage(lab, BOARD, stage)
    lab.column(BOARD).ko("one").unlink()
    (lab.run.folder / "lab.json").unlink()
    with pytest.raises(LabError, match=r"the verifying worker broke \(pytest status 4\); see .*pytest\.log"):
        run_stage(lab, BOARD, "verify")


def test_of_what_a_board_built_only_the_named_files_are_taken(make: Make) -> None:
    machine, lab = make("one")
    there = machine.folder / "run/kmodlab/built"
    there.mkdir(parents=True)
    (there / "one.ko").write_bytes(b"new")
    (there / "link.ko").symlink_to("/etc/shadow")
    column = board_of(lab)
    column._fetch(["/run/kmodlab/built/one.ko", "/run/kmodlab/built/link.ko"], "modules")
    assert column.ko("one").read_bytes() == b"new"
    assert not column.ko("link").exists()
    with pytest.raises(LabError, match=r"board board: what it built cannot be brought over: tar: "):
        column._fetch(["/run/kmodlab/built/none.ko"], "modules")


def test_each_module_that_a_board_builds_gets_its_own_verdict(make: Make) -> None:
    _, lab = make("good", "bad")
    output = {
        "good": "/x/good.c:3:9: warning: unused variable 'n' [-Wunused-variable]\n",
        "bad": "/x/bad.c:7:1: error: expected ';' before '}' token\nmake: *** [bad.o] Error 1\n",
    }
    column = board_of(lab)
    for entry in column.buildable():
        column._built(entry, BuiltThere(modules=["/var/lib/kmodlab/x/good.ko"], output=output))
    assert lab.run.verdicts(BOARD)["good"][Stage.BUILD] is Verdict.PASS
    assert told(lab)["bad"][:2] == (Verdict.FAIL, Stage.BUILD) and "expected ';' before '}' token" in told(lab)["bad"][2]
    checks = {cell.module: cell.checks for cell in lab.run.collect().cells}
    assert [check.name for check in checks["good"]] == ["compiler warning"]
