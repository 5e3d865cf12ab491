"""What breaks a stage, and how that reaches a person."""

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kmodlab.build.trees import Tree
from kmodlab.debian.archive import Resolved
from kmodlab.ground.errors import LabError
from kmodlab.plan.kernels import load_inventory
from kmodlab.results.contract import Kernel, ModuleInfo, Stage, Verdict
from kmodlab.results.folder import Planned, Run
from kmodlab.run.lab import Lab
from kmodlab.run.order import Order
from kmodlab.stages import work

K = "6.12-x86_64"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    run = Run.create(tmp_path)
    run.plan([Kernel(id=K, arch="x86_64")], [ModuleInfo(name="one", source="", sha256="")], [Planned(kernel=K, module="one")])
    kernels = {K: Resolved(kernel=load_inventory()[K], release="1", version="1", sources=())}
    return Lab(run, Order(tree=Tree(origin=tmp_path, folder=tmp_path), modules=[], only=[], kernels=kernels))


def broken_by(lab: Lab, problem: BaseException, monkeypatch: pytest.MonkeyPatch) -> str:
    """Why the kernel's only cell is an error when its first stage breaks so."""

    def breaks(column: object) -> bool:
        raise problem

    monkeypatch.setitem(work.STAGES, "images", (Stage.BUILD, breaks))
    with pytest.raises(type(problem)):
        work.run_stage(lab, K, "images")
    (cell,) = lab.run.collect().cells
    assert (cell.verdict, cell.stage) == (Verdict.ERROR, Stage.BUILD)
    return cell.reason


def test_the_labs_own_words_are_the_reason(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert broken_by(lab, LabError("no disk; free some"), monkeypatch) == "no disk; free some"


def test_a_program_that_does_not_end_is_named(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert broken_by(lab, subprocess.TimeoutExpired(["apt-get", "update"], 60), monkeypatch) == "apt-get did not end within 60 s"


def test_what_nobody_foresaw_is_one_line_that_says_where_the_rest_is(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = broken_by(lab, KeyError("who\nknows"), monkeypatch)
    head, _, path = reason.partition("; all of it: ")
    assert head.startswith("kmodlab itself broke at images: KeyError: ") and "\n" not in reason
    assert "raise problem" in Path(path).read_text()


def test_a_kernel_that_the_run_has_not_is_named(lab: Lab) -> None:
    with pytest.raises(LabError, match=f"has no kernel 9.9; it has: {K}"):
        work.run_stage(lab, "9.9", "images")


def test_what_a_person_sets_for_a_pytest_of_their_own_leaves_out_no_test_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `-k life` every behaviour would pass unseen."""
    seen: dict[str, str] = {}

    def run(command: list[str], *, env: dict[str, str], **_: Any) -> "subprocess.CompletedProcess[bytes]":
        seen.update(env)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setenv("PYTEST_ADDOPTS", "-k life")
    monkeypatch.setenv("PYTEST_PLUGINS", "mine")
    monkeypatch.setattr(subprocess, "run", run)
    guest = SimpleNamespace(patience=1.0, name="K")
    order = SimpleNamespace(manner=SimpleNamespace(quick=True, stress=0, faults=False), tree=SimpleNamespace(tests={}))
    folder = SimpleNamespace(folder=tmp_path)
    target: Any = SimpleNamespace(guest=lambda: guest)
    column: Any = SimpleNamespace(log=tmp_path.joinpath, order=order, target=target, run=folder, kernel=K, modules=[])
    monkeypatch.setattr("kmodlab.verify.retrial.settle", lambda *_: None)
    work.verify(column)
    assert "PATH" in seen
    ours = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"
    assert [name for name in seen if name.startswith("PYTEST_")] == [ours]
