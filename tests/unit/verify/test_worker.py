"""Who gets the blame for what is seen, and on which target the next cell begins: without any machine."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kmodlab.ground.errors import LabError
from kmodlab.guest import kmemleak
from kmodlab.guest.shell import GuestLostError, Look, Result
from kmodlab.judge.kernel_log import Record
from kmodlab.plan.catalog import Module
from kmodlab.results.contract import Check, Kernel, ModuleInfo, Stage, Verdict
from kmodlab.results.folder import Planned, Run
from kmodlab.run.order import Manner
from kmodlab.verify import worker as worker_file
from kmodlab.verify.module import StageError
from kmodlab.verify.worker import STAGES, Worker, aftermath, look

K = "6.12-x86_64"
OOPS = "BUG: kernel NULL pointer dereference, address: 0000000000000000"


@dataclass
class Log:
    """A kernel log to which a test adds lines."""

    records: list[Record] = field(default_factory=list)
    lost: bool = False
    holes: list[int] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.records.append(Record(seq=len(self.records), time=0.0, level=0, facility=0, text=text))

    def mark(self) -> int:
        if self.lost:
            raise GuestLostError("the connection was lost")
        self.say("")
        return len(self.records) - 1

    def window(self, mark: int) -> tuple[list[Record], int]:
        end = self.mark()
        return [record for record in self.records[mark + 1 : end] if record.text], end

    def known(self, mark: int) -> list[Record]:
        return self.records[mark + 1 :]

    def gaps(self, mark: int) -> list[str]:
        return ["records were lost" for hole in self.holes if hole >= mark]


@dataclass
class Guest:
    """A system that does what it is told and answers nothing but the taint."""

    log: Log = field(default_factory=Log)
    places: dict[str, str] = field(default_factory=dict)
    patience: float = 0.1

    def look_again(self) -> Look:
        return Look(dict(self.places))

    def look(self, script: str, **_: object) -> tuple[Result, Look]:
        return Result(0, "", ""), self.look_again()

    def connect(self) -> None: ...
    def close(self) -> None: ...

    def sh(self, script: str, **_: object) -> Result:
        return Result(0, "4096\n", "")


@dataclass
class Target:
    """A machine, and how often it was brought back."""

    console: Path
    restored: int = 0
    here: Guest = field(default_factory=Guest)
    state: Any = field(default_factory=lambda: SimpleNamespace(accel="tcg", boot=""))
    emulated: bool = True

    def guest(self) -> Guest:
        return self.here

    def restore(self) -> None:
        self.restored += 1
        self.here = Guest()


class Column:
    """A kernel with three modules."""

    kernel = K
    release = "6.12.1"
    wiring = None
    key_known = True
    kept = ""
    checks = False
    counts_lines = False

    def __init__(self, folder: Path) -> None:
        names = ("one", "two", "three")
        self.run = Run.create(folder)
        cells = [Planned(kernel=K, module=name, stages=STAGES) for name in names]
        self.run.plan([Kernel(id=K, arch="x86_64")], [ModuleInfo(name=name, source="", sha256="") for name in names], cells)
        self.target = Target(folder / "console.log")
        self.entries = [Module(name=name) for name in names]
        self.order = SimpleNamespace(manner=Manner())

    def alive(self, before: Stage) -> list[Module]:
        return self.entries

    def needs(self, name: str) -> list[Module]:
        return []

    def ko(self, name: str) -> Path:
        return self.run.folder / name

    def deploy_to(self, guest: object) -> None: ...
    def tell(self, *_: object) -> None: ...
    def record(self, module: str, *found: Any, **more: Any) -> None:
        self.run.record(K, module, *found, **more)

    def verdicts(self) -> dict[str, tuple[Verdict, Stage, str]]:
        return {cell.module: (cell.verdict, cell.stage, cell.reason) for cell in self.run.collect().cells}


@pytest.fixture
def column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Column:
    for name in ("in_tree_needs", "soft_needs"):
        monkeypatch.setattr(worker_file, name, lambda *_: [])
    monkeypatch.setattr(kmemleak, "offered", lambda guest: False)
    return Column(tmp_path)


def worker_of(column: Any) -> Worker:
    return Worker(column)


def life(worker: Worker, name: str, *said: str, failed: str = "") -> None:
    """A cell's only test, in which its kernel says this."""
    cell = worker.begin(name)
    watch = worker.watch = look(worker, cell)
    for line in said:
        worker.guest.log.say(line)  # type: ignore[attr-defined]
    for stage, check in ((Stage.LOAD, "insmod"), (Stage.UNLOAD, "rmmod")):
        cell.checks.setdefault(stage, []).append(Check(name=check, verdict=Verdict.PASS))
    if failed:
        cell.checks[Stage.UNLOAD].append(Check(name="nothing left behind", verdict=Verdict.FAIL, reason=failed))
    if problem := aftermath(worker, cell, watch):
        cell.fail(*problem)


def test_a_module_that_keeps_its_promises_passes_and_costs_the_target_nothing(column: Column) -> None:
    verifying = worker_of(column)
    life(verifying, "one", "one: hello")
    life(verifying, "two")
    verifying.finish()
    assert {name: verdict for name, (verdict, *_) in column.verdicts().items()}["one"] is Verdict.PASS
    assert column.target.restored == 0


def test_what_comes_between_two_cells_belongs_to_the_one_that_ended(column: Column) -> None:
    verifying = worker_of(column)
    life(verifying, "one")
    verifying.guest.log.say(OOPS)  # type: ignore[attr-defined]
    life(verifying, "two")
    verifying.finish()
    verdicts = column.verdicts()
    assert verdicts["one"][:2] == (Verdict.FAIL, Stage.LOG) and "when its tests had ended: oops" in verdicts["one"][2]
    assert verdicts["two"][0] is Verdict.PASS
    assert column.target.restored == 1, "and nobody else is to live with it"


def test_what_comes_after_the_last_test_is_the_last_cells(column: Column) -> None:
    verifying = worker_of(column)
    life(verifying, "one")
    verifying.guest.log.say(OOPS)  # type: ignore[attr-defined]
    verifying.finish()
    assert column.verdicts()["one"][0] is Verdict.FAIL


def test_a_log_that_is_not_whole_after_the_last_test_is_told_of_too(column: Column) -> None:
    verifying = worker_of(column)
    life(verifying, "one")
    log: Any = verifying.guest.log
    log.holes.append(len(log.records))
    life(verifying, "two")
    verifying.finish()
    assert column.verdicts()["one"][2] == "kernel log clean: the log cannot be trusted: records were lost"


def test_a_leftover_costs_its_own_cell_and_the_next_one_begins_on_a_target_as_it_was_found(column: Column) -> None:
    verifying = worker_of(column)
    life(verifying, "one", failed="still there after unloading: /proc/hello")
    life(verifying, "two")
    life(verifying, "three")
    verifying.finish()
    assert [column.verdicts()[name][0] for name in ("one", "two", "three")] == [Verdict.FAIL, Verdict.PASS, Verdict.PASS]
    assert column.target.restored == 1


def test_a_finding_brings_the_target_back_once(column: Column) -> None:
    verifying = worker_of(column)
    life(verifying, "one", OOPS)
    life(verifying, "two")
    verifying.finish()
    assert column.target.restored == 1 and column.verdicts()["two"][0] is Verdict.PASS


def test_what_nobody_saw_is_no_pass(column: Column) -> None:
    verifying = worker_of(column)
    verifying.begin("one")
    verifying.finish()
    assert column.verdicts()["one"] == (Verdict.ERROR, Stage.LOAD, "nobody saw it")


def test_a_behaviour_stage_without_a_test_says_so(column: Column) -> None:
    verifying = worker_of(column)
    life(verifying, "one")
    verifying.finish()
    (cell, *_) = column.run.collect().cells
    assert [check.name for check in cell.checks].count("no test of its own") == 1


def test_a_target_that_comes_back_without_its_modules_is_the_columns_fault_and_nobody_elses(
    column: Column, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifying = worker_of(column)

    def refuse(*_: object) -> None:
        raise LabError("the modules cannot be deployed: no space left on device")

    monkeypatch.setattr(column, "deploy_to", refuse)
    cell = verifying.begin("one")
    verifying.watch = look(verifying, cell)
    verifying.guest.log.say(OOPS)  # type: ignore[attr-defined]
    with pytest.raises(LabError):
        aftermath(verifying, cell, verifying.watch)
    cell.fail(Stage.LOG, "oops")
    second = verifying.begin("two")
    with pytest.raises(LabError, match="cannot be deployed"):
        look(verifying, second)


def test_a_second_pass_leaves_alone_what_the_first_one_decided(column: Column) -> None:
    for stage in STAGES:
        column.run.record(K, "one", stage, Verdict.FAIL if stage is Stage.LOG else Verdict.PASS, "oops")
        column.run.record(K, "two", stage, Verdict.ERROR if stage is Stage.LOAD else Verdict.SKIP, "the column broke")
    column.run.record(K, "three", Stage.LOAD, Verdict.PASS)
    assert worker_of(column).decided == {"one"}


def test_a_target_that_dies_between_two_cells_is_a_doubtful_fault_of_the_second(column: Column) -> None:
    verifying = worker_of(column)
    life(verifying, "one")
    verifying.guest.log.lost = True  # type: ignore[attr-defined]
    column.target.state = None
    second = verifying.begin("two")
    with pytest.raises(StageError, match="the machine went down without a word: the connection was lost"):
        look(verifying, second)
    assert [(doubt.module, list(doubt.suspects)) for doubt in verifying.doubts] == [("two", ["one"])]
    assert column.target.restored == 1


def test_a_connection_that_is_lost_between_two_cells_to_a_target_that_lives_costs_neither(column: Column) -> None:
    verifying = worker_of(column)
    life(verifying, "one")
    verifying.guest.log.lost = True  # type: ignore[attr-defined]
    life(verifying, "two")
    verifying.finish()
    assert [column.verdicts()[name][0] for name in ("one", "two")] == [Verdict.PASS, Verdict.PASS]
    assert column.target.restored == 1


def test_that_a_module_has_gone_is_known_for_one_test_only(column: Column) -> None:
    """A later test may load it by its own commands: then it must be looked for again."""
    verifying = worker_of(column)
    cell = verifying.begin("one")
    cell.module.gone = Look({})
    look(verifying, cell)
    assert cell.module.gone is None


NOTICE = "workqueue: deferred [work] hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND"


def test_every_finding_is_in_the_results_once_and_counted_and_notices_are_no_faults(column: Column) -> None:
    worker = worker_of(column)
    cell = worker.begin("one")
    look(worker, cell)
    for _ in range(2):
        column.target.here.log.say(NOTICE)
        worker.read(cell, worker.cursor or 0)
    column.target.here.log.say(f"{OOPS}\nCall Trace:\n one_init+0x10/0x20 [stranger]")
    worker.read(cell, worker.cursor or 0)
    worker.finish()
    found = next(each for each in column.run.collect().cells if each.module == "one").findings
    assert [(each.kind, each.severity, each.count) for each in found] == [("hogged", "notice", 2), ("oops", "fatal", 1)]
    assert found[1].where == ["one_init+0x10 [stranger]"] and found[1].meaning == "a NULL pointer was used"


def test_a_notice_alone_leaves_the_cell_a_pass_and_the_machine_alone(column: Column) -> None:
    worker = worker_of(column)
    cell = worker.begin("one")
    watch = worker.watch = look(worker, cell)
    column.target.here.log.say(NOTICE)
    assert aftermath(worker, cell, watch) is None and column.target.restored == 0


def test_what_the_console_says_again_is_no_second_finding(column: Column) -> None:
    worker = worker_of(column)
    cell = worker.begin("one")
    watch = worker.watch = look(worker, cell)
    column.target.here.log.say(OOPS)
    column.target.console.write_text(f"[   12.000000] {OOPS}\n[   12.100000] Kernel panic - not syncing: Fatal exception\n")
    column.target.here.log.lost = True
    aftermath(worker, cell, watch)
    (found,) = cell.findings.values()
    assert (found.kind, found.count) == ("oops", 1)
    assert any("Fatal exception" in line for line in found.trace), "the longer of both"


def test_what_a_test_leaves_in_userland_is_no_fault_and_yet_nobody_else_finds_it(column: Column) -> None:
    verifying = worker_of(column)
    life(verifying, "one")
    column.target.here.places["processes"] = "sleep"
    life(verifying, "two")
    assert column.target.restored == 1
    life(verifying, "three")
    verifying.finish()
    assert column.target.restored == 1
    assert {verdict for verdict, _, _ in column.verdicts().values()} == {Verdict.PASS}


def test_what_a_test_leaves_in_the_kernel_is_its_modules_fault(column: Column) -> None:
    verifying = worker_of(column)
    life(verifying, "one")
    column.target.here.places["/proc/"] = "litter"
    life(verifying, "two")
    assert column.target.restored == 1
    assert column.verdicts()["one"] == (
        Verdict.FAIL,
        Stage.UNLOAD,
        "when its tests had ended: still there after unloading: /proc/litter",
    )


def test_in_tree_modules_that_a_test_brought_in_may_stay(column: Column) -> None:
    verifying = worker_of(column)
    life(verifying, "one")
    column.target.here.places |= {"/proc/": "fs", "/proc/modules": "nfs 4096 0 - Live 0x0\n"}
    life(verifying, "two")
    assert column.target.restored == 0


def test_fresh_restores_the_machine_before_every_cell(column: Column) -> None:
    column.order.manner = Manner(fresh=True)
    verifying = worker_of(column)
    for name in ("one", "two", "three"):
        life(verifying, name)
    assert column.target.restored == 2


PRINTK = "changed, and not changed back: /proc/sys/kernel/printk: 15 4 1 7"


def test_a_kernel_that_raises_its_consoles_level_to_report_a_fault_is_no_module_that_changes_it(column: Column) -> None:
    verifying = worker_of(column)
    life(verifying, "one", OOPS, failed=PRINTK)
    life(verifying, "two", failed=PRINTK)
    life(verifying, "three", OOPS, failed=f"{PRINTK}, /proc/sys/kernel/panic: 1")
    verifying.finish()
    verdicts = column.verdicts()
    assert verdicts["one"][1:] == (Stage.LOG, f"oops: {OOPS}")
    assert verdicts["two"][1:] == (Stage.UNLOAD, f"nothing left behind: {PRINTK}"), "a module that did it itself"
    assert verdicts["three"][1] is Stage.UNLOAD


@pytest.mark.parametrize(
    ("reason", "said", "accel", "starved"),
    [
        ("did not end within 30 s", "", "tcg", True),
        ("hang: insmod does not answer", "", "tcg", True),
        ("hang: insmod does not answer", "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [insmod:318]", "tcg", True),
        ("life cycle [one]: Failed: Timeout (>300.0s) from pytest-timeout.", "", "tcg", True),  # while it was brought back
        ("did not end within 30 s", "", "kvm", False),
        ("did not end within 30 s", OOPS, "tcg", False),
        ("could not insert module: Device or resource busy", "", "tcg", False),
    ],
)
def test_what_a_starved_machine_can_show_is_doubted_even_where_nobody_is_suspected(
    column: Column, reason: str, said: str, accel: str, starved: bool
) -> None:
    column.target.state = SimpleNamespace(accel=accel, boot="")
    verifying = worker_of(column)
    cell = verifying.begin("one")
    watch = verifying.watch = look(verifying, cell)
    cell.fail(Stage.LOAD, reason)
    if said:
        verifying.guest.log.say(said)  # type: ignore[attr-defined]
        aftermath(verifying, cell, watch)
    verifying.finish()
    assert [(each.module, each.starved) for each in verifying.doubts] == ([("one", True)] if starved else [])


def test_who_was_slow_and_left_something_behind_is_not_excused_by_a_starved_lab(column: Column) -> None:
    verifying = worker_of(column)
    life(verifying, "one", failed="still there after unloading: /proc/hello")
    verifying.begin("one").fail(Stage.BEHAVIOUR, "did not end within 30 s")
    verifying.finish()
    assert not verifying.doubts


LOST = "still there after unloading: memory that nobody frees: 1 of kmalloc-128, allocated by one_init+0x1f/0x34 [one]"


@pytest.mark.parametrize(
    ("left", "stage", "reason"),
    [
        (LOST, Stage.LOG, f"^slab-corruption: BUG kmalloc-128 .*; {re.escape(LOST)}$"),
        (f"{LOST}, /proc/litter", Stage.UNLOAD, "/proc/litter"),
    ],
)
def test_what_the_kernel_keeps_back_as_corrupted_is_no_fault_beside_that(
    column: Column, left: str, stage: Stage, reason: str
) -> None:
    verifying = worker_of(column)
    life(verifying, "one", "BUG kmalloc-128 (Tainted: G           O      ): Right Redzone overwritten", failed=left)
    verifying.finish()
    verdict, at, why = column.verdicts()["one"]
    assert (verdict, at) == (Verdict.FAIL, stage) and re.search(reason, why), why


def test_a_machine_that_boots_again_by_itself_does_not_hang(column: Column) -> None:
    for boot, reason in (
        ("2", "the machine booted again by itself: the connection was lost"),
        ("1", "hang: the connection was lost"),
    ):
        column.target.state = SimpleNamespace(accel="hardware", boot="1")
        verifying = worker_of(column)
        cell = verifying.begin("one")
        watch = verifying.watch = look(verifying, cell)
        column.target.state.boot = boot
        column.target.here.log.lost = True
        assert aftermath(verifying, cell, watch) == (Stage.LOAD, reason)


def test_of_two_reports_of_one_fault_the_longer_is_kept_wherever_it_stands(column: Column) -> None:
    worker = worker_of(column)
    cell = worker.begin("one")
    watch = worker.watch = look(worker, cell)
    column.target.here.log.say(f"{OOPS}\nCall Trace:\n one_init+0x10/0x20 [one]")
    column.target.console.write_text(f"[   12.000000] {OOPS}\n")
    column.target.here.log.lost = True
    aftermath(worker, cell, watch)
    (found,) = cell.findings.values()
    assert [str(frame) for frame in found.frames] == ["one_init+0x10 [one]"]


def test_a_fault_outranks_a_search_for_leaks_that_failed_but_not_a_leak(column: Column) -> None:
    """An error of the lab's must not stand where the kernel has said what is wrong."""
    cell = worker_of(column).begin("one")
    cell.fail(Stage.LOG, "the search for leaks failed: no answer", Verdict.ERROR)
    assert cell.explain(Stage.LOG, "panic: it stopped") == (Stage.LOG, "panic: it stopped")
    assert cell.failed == (Stage.LOG, Verdict.FAIL, "panic: it stopped")
    assert cell.explain(Stage.LOG, "kmemleak: 1 new suspected memory leaks") == (Stage.LOG, "panic: it stopped")
