"""Shards joined to one run: cell by cell what one machine would have made, whatever order they come in."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from junitparser import JUnitXml

from kmodlab.build.trees import Tree
from kmodlab.debian.archive import Resolved
from kmodlab.ground.errors import LabError
from kmodlab.plan.kernels import load_inventory
from kmodlab.results.contract import Cell, Check, Finding, Mode, ModuleInfo, Results, Revision, Stage, Verdict
from kmodlab.results.events import Follower, emit
from kmodlab.results.folder import Expected, Plan, Planned, Run
from kmodlab.results.shard import Division
from kmodlab.run.lab import FILE, Lab
from kmodlab.run.order import Order
from kmodlab.stages.merging import merge

KERNELS = ("6.1-x86_64", "6.12-x86_64", "7.2-x86_64")
MODULES = ("good", "bad", "flaky", "known", "absent", "lost")
OWNERS = {
    "6.1-x86_64": dict.fromkeys(MODULES, 1),
    "6.12-x86_64": {name: 1 + place % 2 for place, name in enumerate(MODULES)},  # a kernel that was cut
    "7.2-x86_64": dict.fromkeys(MODULES, 3),
}
WHOLE = Plan(
    kernels=[load_inventory()[name].row for name in KERNELS],
    modules=[ModuleInfo(name=name, source=f"{name}.c", sha256="5a") for name in MODULES],
    cells=[
        Planned(
            kernel=kernel,
            module=name,
            skip="not for this line" if name == "absent" else "",
            expect=Expected(stage=Stage.LOAD, reason="no such device") if name == "known" else None,
        )
        for kernel in KERNELS
        for name in MODULES
    ],
    mode=Mode(quick=True),
    revision=Revision(kmodlab="0-1", modules="00"),
)


def started(reports: Path, cells: Sequence[Planned], *, release: str = "") -> Run:
    """A run that owes these cells, planned and ordered."""
    run = Run.create(reports)
    names = dict.fromkeys(cell.kernel for cell in cells)
    inventory = load_inventory()
    kernels = {name: Resolved(kernel=inventory[name], release=f"{name}-1", version="1", sources=()) for name in names}
    order = Order(tree=Tree(origin=reports, folder=reports), modules=[], only=[], kernels=kernels)
    (run.folder / FILE).write_text(order.model_dump_json())
    rows = [resolved.row.model_copy(update={"release": release or resolved.release}) for resolved in kernels.values()]
    infos = [info for info in WHOLE.modules if info.name in {cell.module for cell in cells}]
    run.plan(rows, infos, cells, mode=WHOLE.mode, revision=WHOLE.revision)
    return run


def prove(run: Run) -> None:
    """Whatever a lab finds out: passes, a failure with a finding, a second attempt, an expected failure; some it loses."""
    for cell in run.planned.cells:
        if cell.skip or cell.module == "lost":
            continue
        for stage in Stage:
            verdict, reason, findings = Verdict.PASS, "", []
            if (cell.module, stage) == ("bad", Stage.LOG):
                verdict, reason = Verdict.FAIL, "it oopsed"
                findings = [
                    Finding.model_validate(
                        {"class": "oops", "severity": "fatal", "fingerprint": "ab", "headline": "BUG", "meaning": "it broke"}
                    )
                ]
            if (cell.module, stage) == ("known", Stage.LOAD):
                verdict, reason = Verdict.FAIL, "no such device"
            if (cell.module, stage) == ("flaky", Stage.LOAD):
                run.record(cell.kernel, cell.module, stage, Verdict.ERROR, "the connection was lost", seconds=1)
            run.record(
                cell.kernel,
                cell.module,
                stage,
                verdict,
                reason,
                seconds=0.25,
                checks=[Check(name=f"{stage} is well", verdict=Verdict.PASS)],
                findings=findings,
                log_text=f"{stage} of {cell.module} on {cell.kernel}",
            )
            emit(run.folder, cell.kernel, stage, "done", module=cell.module)
    for kernel in run.planned.kernels:
        run.note_kernel(kernel.id, compiler="gcc-14", accel="tcg")
        (run.folder / "coverage" / kernel.id).mkdir(parents=True)
        (run.folder / "coverage" / kernel.id / "index.html").write_text("lines")
    for cell in run.planned.cells:
        (run.folder / "coverage" / cell.kernel / f"{cell.module}.json").write_text("{}")
    (run.folder / "ansible.log").write_text("it played\n")


def shard(reports: Path, number: int, *, of: int = 3, whole: Plan = WHOLE, balanced_by: str = "", release: str = "") -> Run:
    division = Division(number=number, of=of, whole=whole, owners=OWNERS, balanced_by=balanced_by)
    run = started(reports / f"machine-{number}", division.cells, release=release)
    division.write(run.folder)
    return run


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    runs = [shard(tmp_path, number) for number in (1, 2, 3)]
    for run in runs:
        prove(run)
        run.publish()
    return [run.folder for run in runs]


def plain(results: Results) -> dict[str, object]:
    """All of it but times, and the run's name."""
    found = results.model_dump(exclude={"run", "started", "seconds"})
    for cell in found["cells"]:
        cell["seconds"] = 0
    return found


def difference(results: Results, other: Results) -> list[tuple[Cell, Cell]]:
    return [(one, two) for one, two in zip(results.cells, other.cells, strict=True) if one != two]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_merged_it_is_the_run_that_one_machine_makes(tmp_path: Path, shards: list[Path], order: tuple[int, ...]) -> None:
    alone = started(tmp_path / "alone", WHOLE.cells)
    prove(alone)
    merged = merge([shards[place] for place in order], tmp_path / "reports").run
    one, joined = alone.publish(), merged.publish()
    assert difference(joined, one) == []
    assert plain(joined) == plain(one)
    assert one.count == {Verdict.PASS: 9, Verdict.FAIL: 3, Verdict.SKIP: 3, Verdict.ERROR: 3}
    here, there = (sorted(str(path.relative_to(run.folder)) for path in run.folder.rglob("*.log")) for run in (merged, alone))
    assert here == there
    for cell in one.cells:
        if cell.log:
            assert [line for line in (merged.folder / cell.log).read_text().splitlines() if "==" not in line] == [
                line for line in (alone.folder / cell.log).read_text().splitlines() if "==" not in line
            ]
    assert (tmp_path / "reports/latest").resolve() == merged.folder
    suites = [{(suite.name, case.name) for case in suite} for suite in JUnitXml.fromfile(str(merged.folder / "junit.xml"))]
    assert suites == [{(kernel, module) for module in MODULES} for kernel in KERNELS]


def test_merged_it_began_when_the_first_began_and_tells_what_all_told(tmp_path: Path, shards: list[Path]) -> None:
    merged = merge(shards, tmp_path / "reports")
    runs = [Run.open(folder) for folder in shards]
    assert merged.run.started == min(run.started for run in runs)
    assert merged.run.collect().seconds >= max(run.collect().seconds for run in runs)
    events = Follower(merged.run.folder / "events.jsonl").events()
    assert len(events) == sum(len(Follower(folder / "events.jsonl").events()) for folder in shards)
    assert [event.t for event in events] == sorted(event.t for event in events)
    assert (merged.run.folder / "ansible.log").read_text().count("it played") == 3
    assert set(Lab.open(merged.run.folder).columns) == set(KERNELS)
    for kernel in KERNELS:
        counted = {path.name for path in (merged.run.folder / "coverage" / kernel).iterdir()}
        assert {f"{name}.json" for name in MODULES} <= counted
        assert ("index.html" in counted) == (kernel != "6.12-x86_64"), "a page of one half is no page of the kernel"


def test_a_shard_that_is_missing_is_an_error_in_its_cells_alone(tmp_path: Path, shards: list[Path]) -> None:
    whole = merge(shards, tmp_path / "whole").run.collect()
    found = merge([shards[2], shards[0]], tmp_path / "reports").run.publish()
    changed = difference(found, whole)
    assert {(one.kernel, one.module) for one, _ in changed} == {
        ("6.12-x86_64", name) for name, number in OWNERS["6.12-x86_64"].items() if number == 2
    }
    for one, _ in changed:
        assert one.verdict is Verdict.ERROR
        assert one.reason == "shard 2/3 is missing: run it, and merge all of them again"
    assert found.exit_status == 1
    alone = merge([shards[1]], tmp_path / "alone").run.collect()
    assert alone.count[Verdict.ERROR] == 13 and len(alone.cells) == len(WHOLE.cells)


def test_a_shard_for_which_nothing_was_left_adds_nothing(tmp_path: Path) -> None:
    runs = [shard(tmp_path, number, of=4) for number in (1, 2, 3, 4)]
    for run in runs:
        prove(run)
        run.publish()
    assert runs[3].planned.cells == []
    found, without = (merge([run.folder for run in some], tmp_path / str(len(some))).run.collect() for some in (runs, runs[:3]))
    assert found.cells == without.cells and found.count[Verdict.PASS] == 9


def test_the_shards_themselves_are_not_touched(tmp_path: Path, shards: list[Path]) -> None:
    before = {path: path.read_bytes() for folder in shards for path in folder.rglob("*") if path.is_file()}
    merge(shards, tmp_path / "reports")
    assert {path: path.read_bytes() for folder in shards for path in folder.rglob("*") if path.is_file()} == before


def test_each_half_of_a_kernel_keeps_its_own_reasons(tmp_path: Path) -> None:
    """One machine could not boot it, another was stopped, a third was killed: no reason is told of another's cells."""
    runs = [shard(tmp_path, number) for number in (1, 2, 3)]
    prove(runs[0])
    runs[0].publish()
    runs[1].break_kernel("6.12-x86_64", Stage.DEPLOY, "the VM did not boot", log_text="panic")
    runs[1].publish()
    for stage in (Stage.BUILD, Stage.SIGN):
        runs[2].record("7.2-x86_64", "good", stage, Verdict.PASS)
    merged = merge([run.folder for run in runs], tmp_path / "reports").run
    cells = {(cell.kernel, cell.module): cell for cell in merged.publish().cells}
    assert cells["6.12-x86_64", "good"].verdict is Verdict.PASS
    broken = cells["6.12-x86_64", "bad"]
    assert (broken.verdict, broken.stage, broken.reason) == (Verdict.ERROR, Stage.DEPLOY, "the VM did not boot")
    assert "panic" in (merged.folder / broken.log).read_text()
    killed = cells["7.2-x86_64", "good"]
    assert killed.reason.startswith("shard 3/3 was ended before it was done: ") and killed.stage is Stage.DEPLOY
    assert cells["7.2-x86_64", "absent"].verdict is Verdict.SKIP
    runs[2].stop("interrupted")
    again = merge([run.folder for run in runs], tmp_path / "again").run
    assert {cell.reason for cell in again.collect().cells if cell.kernel == "7.2-x86_64" and not cell.log} == {
        "interrupted",
        "not for this line",
    }
    assert again.stopped == "shard 3/3: interrupted"


def test_a_damaged_cell_costs_itself(tmp_path: Path, shards: list[Path]) -> None:
    (shards[0] / "cells/6.1-x86_64/good.json").write_text("{half")
    cells = merge(shards, tmp_path / "reports").run.collect().cells
    lost = [cell for cell in cells if cell.reason.startswith("the lab lost this cell: ") and "good.json" in cell.reason]
    assert [(cell.kernel, cell.module) for cell in lost] == [("6.1-x86_64", "good")]


def refused(tmp_path: Path, *folders: Path) -> str:
    with pytest.raises(LabError) as problem:
        merge(folders, tmp_path / "reports")
    assert not (tmp_path / "reports").exists(), "nothing was begun"
    assert "\n" not in str(problem.value) and problem.value.hint
    return str(problem.value)


def test_two_of_the_same_number_are_refused(tmp_path: Path, shards: list[Path]) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(shards[1], copy)
    assert "are the same shard; leave out one" in refused(tmp_path, *shards, copy)
    assert "are the same shard" in refused(tmp_path, shards[0], shards[0])


def test_what_is_no_shard_is_refused(tmp_path: Path, shards: list[Path]) -> None:
    whole = started(tmp_path / "alone", WHOLE.cells)
    assert "is no shard: its run was asked for all its cells" in refused(tmp_path, shards[0], whole.folder)
    assert "is no run folder" in refused(tmp_path, shards[0], tmp_path / "nowhere")
    (shards[1] / FILE).unlink()
    assert "was stopped before it was planned" in refused(tmp_path, *shards)


def other(field: str, value: object) -> Plan:
    return WHOLE.model_copy(update={field: value})


@pytest.mark.parametrize(
    ("different", "words"),
    [
        ({"of": 4}, "are of different numbers of shards"),
        (
            {"whole": other("revision", Revision(kmodlab="0-2", modules="00"))},
            "versions of kmodlab: 0.* 0-1 and 0.* 0-2",
        ),
        ({"whole": other("revision", Revision(kmodlab="0-1", modules="11"))}, "are of different sources of the modules"),
        (
            {"whole": other("modules", [*WHOLE.modules[:-1], ModuleInfo(name="lost", source="", sha256="6b")])},
            "different sources",
        ),
        ({"whole": other("mode", Mode(stress=20))}, "were asked for in different words"),
        (
            {"balanced_by": "20261128T000000Z"},
            "by a count of the cells and the seconds of run 20261128T000000Z; give all of them",
        ),
    ],
)
def test_shards_of_different_runs_are_refused(
    tmp_path: Path, shards: list[Path], different: dict[str, object], words: str
) -> None:
    stranger = shard(tmp_path / "stranger", 2, **different)  # type: ignore[arg-type]
    said = refused(tmp_path, shards[0], shards[2], stranger.folder)
    assert re.search(words, said), said


def test_shards_of_different_kernels_are_refused(tmp_path: Path, shards: list[Path]) -> None:
    path = shards[1] / "shard.json"
    found = json.loads(path.read_text())
    found["owners"]["7.2-x86_64"]["good"] = 1
    path.write_text(json.dumps(found))
    assert "were shared out differently; ask for the same kernels" in refused(tmp_path, *shards)


def test_a_kernel_of_two_releases_is_refused_but_not_one_that_was_not_found(tmp_path: Path, shards: list[Path]) -> None:
    newer = shard(tmp_path / "newer", 2, release="6.12.999")
    assert "proved 6.12-x86_64 on different releases: 6.12-x86_64-1 and 6.12.999" in refused(
        tmp_path, shards[0], newer.folder, shards[2]
    )
    unknown = shard(tmp_path / "unknown", 2)
    path = unknown.folder / "plan.json"
    found = json.loads(path.read_text())
    found["kernels"][0]["release"] = ""
    path.write_text(json.dumps(found))
    unknown = Run.open(unknown.folder)
    unknown.break_kernel("6.12-x86_64", Stage.BUILD, "the archive was not reached")
    rows = merge([shards[2], unknown.folder, shards[0]], tmp_path / "reports").run.collect().kernels
    assert [row.release for row in rows] == [f"{name}-1" for name in KERNELS]


def test_the_command_says_what_is_wrong_in_a_line_and_ends_with_its_status(tmp_path: Path, shards: list[Path]) -> None:
    def said(*words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kmodlab", "merge", "--reports", str(tmp_path / "reports"), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    wrong = said(shards[0], shards[0])
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert len(wrong.stderr.splitlines()) == 1 and "are the same shard" in wrong.stderr
    assert said().returncode == 2
    right = said(*shards)
    assert right.returncode == 1 and "it oopsed" in right.stdout
    assert (tmp_path / "reports/latest/index.html").is_file()
