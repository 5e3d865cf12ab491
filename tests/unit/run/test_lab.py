"""A run that is opened again by each stage: what it lacks is told in one line; and what is put onto a target."""

import os
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from standin import BOARD, StandIn, planned

from kmodlab.ground.errors import LabError
from kmodlab.results.contract import Stage, Verdict
from kmodlab.results.folder import Run
from kmodlab.run import deploy as deploy_file
from kmodlab.run.lab import FILE, Lab
from kmodlab.run.vm_column import VmColumn


def test_a_run_is_the_same_whoever_opens_it(tmp_path: Path) -> None:
    lab = planned(tmp_path, ("one", "two"), "modules:\n  one: {}\n  two: {needs: [one], parameters: who=me}")
    again = Lab.open(lab.run.folder)
    assert again.order == lab.order and list(again.order.catalog) == ["one", "two"]
    assert again.order.catalog["two"].parameters == "who=me"
    column = again.column(BOARD)
    assert (column.release, column.wiring, column.key_known) == ("6.12.1-standin", None, False)


def test_a_run_that_was_stopped_before_it_was_planned_says_so(tmp_path: Path) -> None:
    run = Run.create(tmp_path)
    with pytest.raises(LabError, match=rf"has no {FILE}: it was stopped before it was planned; start another"):
        Lab.open(run.folder)


def test_an_image_that_no_stage_has_made_says_which_does(tmp_path: Path) -> None:
    lab = planned(tmp_path, ("one",))
    with pytest.raises(LabError, match=r"has no build image of board: run playbooks/images\.yml first"):
        _ = VmColumn(lab.run, lab.order, BOARD).root


def test_who_fails_or_needs_who_failed_goes_no_further(tmp_path: Path) -> None:
    lab = planned(tmp_path, ("one", "two", "three"), "modules:\n  one: {}\n  two: {needs: [one]}")
    lab.column(BOARD).record("one", Stage.BUILD, Verdict.FAIL, "no such header")
    assert [module.name for module in lab.column(BOARD).alive(Stage.SIGN)] == ["three"]
    cells = {cell.module: (cell.verdict, cell.stage, cell.reason) for cell in lab.run.collect().cells}
    assert cells["two"] == (Verdict.SKIP, Stage.SIGN, "needs one, which failed at build")


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[StandIn, Lab]:
    machine = StandIn(tmp_path / "machine")
    monkeypatch.setenv("PATH", f"{machine.make()}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return machine, planned(tmp_path, ("one",))


def test_a_target_has_what_was_signed_and_nothing_of_before(board: tuple[StandIn, Lab]) -> None:
    machine, lab = board
    old = machine.folder / "run/kmodlab/modules/old.ko"
    old.parent.mkdir(parents=True)
    old.touch()
    (lab.column(BOARD).folder / "programs/user").write_text("#!/bin/sh\n")
    lab.column(BOARD).deploy_to(lab.column(BOARD).target.guest())
    there = {str(path.relative_to(machine.folder / "run/kmodlab")) for path in (machine.folder / "run/kmodlab").rglob("*")}
    assert there == {"modules", "modules/one.ko", "programs", "programs/user", "lab-modules"}


def test_a_target_that_takes_nothing_has_a_limit(board: tuple[StandIn, Lab], monkeypatch: pytest.MonkeyPatch) -> None:
    machine, lab = board
    (machine.folder / "bin/tar").write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setattr(deploy_file, "DEPLOY_LIMIT", 0.3)
    with pytest.raises(LabError, match=r"board: the modules cannot be deployed: no end within 0\.\d+ s"):
        lab.column(BOARD).deploy_to(lab.column(BOARD).target.guest())
    with tarfile.open(fileobj=BytesIO(deploy_file._archive(lab.column(BOARD).folder))) as tar:
        assert "modules/one.ko" in tar.getnames()
