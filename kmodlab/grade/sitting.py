"""One submission on one kernel: built, signed with a key that ends with it, loaded, used and unloaded, each of its tests on a
machine that was just brought back.

Everything that decides is outside of that machine: the tests run in a sandbox here and ask it for one thing after the other, and
what they find, and the kernel's log, is judged here. So what a submission prints counts for nothing, what it does to one test's
machine no other test sees, and none of them knows more of a test than what it asks for.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kmodlab.grade.record import Item, Sitting
from kmodlab.grade.submissions import lay_out
from kmodlab.ground.cache import cache_dir
from kmodlab.ground.ending import uninterrupted
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import remove_tree, scratch
from kmodlab.guest.gpio import Chip, open_chip
from kmodlab.guest.shell import GuestLostError
from kmodlab.plan.assignment import HIDDEN, LIFE, VISIBLE, Assignment
from kmodlab.results.contract import Cell as Decided
from kmodlab.results.contract import Check, Finding, Stage, Verdict, one_line
from kmodlab.run.column import Column
from kmodlab.stages import planning
from kmodlab.stages.request import Request
from kmodlab.verify.afterwards import Afterwards, closing
from kmodlab.verify.backend import plain
from kmodlab.verify.life_cycle import UNLOADED, LifeCycle
from kmodlab.verify.module import StageError
from kmodlab.verify.own import SILENT, OwnTest, Project
from kmodlab.verify.worker import TOO_SLOW, Cell, Worker, aftermath, look

STORE = "grading"
"""In the cache: the runs of submissions, each as long as it lasts."""
WARNING = "compiler warning"
"""The name of the check that a warning is in a build's record."""
Complain = Callable[[Column, Path], Mapping[str, list[str]]]
"""What is to be said of the sources in a folder, beside what the compiler says, by kind."""


def silence(column: Column, sources: Path) -> Mapping[str, list[str]]:
    """Nothing is to be said."""
    return {}


@dataclass(frozen=True)
class Tests:
    """An assignment's tests: a folder with the visible and the hidden ones, so that one pytest runs both."""

    folder: Path
    cases: Mapping[str, int]
    """How many each has, by its function's name."""
    hidden: frozenset[str]
    """Those that students do not have."""


@contextmanager
def tests_of(assignment: Assignment, folder: Path) -> Iterator[Tests]:
    """The tests of the assignment in a folder; their copy is gone in the end.

    LabError where one cannot be read, or has no points, or something has points and is no test.
    """
    with scratch("tests") as closed:
        place = closed / "tests"  # the sandbox's user reads it, and nobody else gets there
        place.mkdir(mode=0o755)
        for name in (VISIBLE, HIDDEN):
            if (folder / name).is_dir():
                shutil.copytree(folder / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        project = _project(assignment, place)
        try:
            found = project.collect()
        finally:
            project.close()
        yield _with_points(assignment, place, found)


def _with_points(assignment: Assignment, place: Path, found: list[OwnTest]) -> Tests:
    if broken := next((test.broken for test in found if test.broken), ""):
        raise LabError(broken)
    files: dict[str, str] = {}
    for test in found:
        name, file = _function(test), test.name.partition("::")[0]
        if name not in assignment.tests:
            raise LabError(f"{file}: {name} has no points", hint="name it under tests: in assignment.yml")
        if files.setdefault(name, file) != file:
            raise LabError(f"{name} is there twice, in {files[name]} and {file}", hint="give one of them another name")
    if missing := [name for name in assignment.tests if name not in files]:
        raise LabError(f"assignment.yml: tests.{missing[0]}: there is no such test", hint="write it, or take its points away")
    hidden = frozenset(name for name, file in files.items() if file.startswith(f"{HIDDEN}/"))
    return Tests(place, Counter(map(_function, found)), hidden)


def _function(test: OwnTest) -> str:
    """By which name an assignment knows a test."""
    return plain(test.name).rpartition("::")[2].partition("[")[0]


def _project(assignment: Assignment, tests: Path) -> Project:
    """Each of its tests has a machine for itself."""
    return Project(tests, str, [assignment.module], limit=assignment.test_limit, discards=True)


def sit(
    assignment: Assignment,
    folder: Path,
    files: Mapping[str, bytes],
    kernel: str,
    tests: Tests,
    complain: Complain = silence,
    enough: Callable[[Item], bool] = lambda item: False,
) -> Sitting:
    """Find out what a submission does on a kernel, up to the first thing that is `enough`.

    LabError where the lab cannot: that says nothing of the submission.
    """
    with scratch("submission") as sources:
        lay_out(folder, files, sources)
        lab = planning.plan(Request(sources, kernels=kernel, throwaway_key=True), cache_dir() / STORE)
        try:
            column = lab.column(kernel)
            if assignment.module not in column.order.sources:
                raise LabError(f"the Makefile of {folder} builds no {assignment.module}", hint="see module: in assignment.yml")
            column.prepare()
            return _Sitting(assignment, column, tests).run(partial(complain, column, sources), enough)
        except GuestLostError as problem:  # of a machine that was just brought back, and has not loaded anything
            raise LabError(f"{kernel}: {problem}") from problem
        finally:
            uninterrupted(lab.leave)
            remove_tree(lab.run.folder)


class _Sitting:
    def __init__(self, assignment: Assignment, column: Column, tests: Tests) -> None:
        self._assignment = assignment
        self._column = column
        self._tests = tests
        self._project = _project(assignment, tests.folder)
        self._loads = True
        """Whether there is anything that its tests could use."""

    def run(self, complain: Callable[[], Mapping[str, list[str]]], enough: Callable[[Item], bool]) -> Sitting:
        column, items = self._column, list[Item]()
        column.build()
        decided = self._decided()
        built = self._column.run.verdicts(column.kernel)[self._assignment.module].get(Stage.BUILD) is Verdict.PASS
        items.append(Item(name="build", passed=int(built), reason="" if built else decided.reason))
        warnings = [check.reason for check in decided.checks if check.name == WARNING]
        more = complain() if built else {}
        news = {
            kind: [each for each in said if not any(known.endswith(each) for known in warnings)] for kind, said in more.items()
        }
        complaints = {"warnings": warnings, **news}
        if built and not enough(items[-1]):
            for item in self._on_machines():
                items.append(item)
                if enough(item):
                    break
        seen = {item.name for item in items}
        why = "" if built else "it does not build"
        items += [self._lost(name, why) for name in self._assignment.worth if name not in seen]
        return Sitting(kernel=column.kernel, release=column.release, items=items, complaints=complaints)

    def _lost(self, name: str, why: str) -> Item:
        """What was not looked at."""
        if name in LIFE:
            return Item(name=name, reason=why)
        return Item(name=name, test=True, hidden=name in self._tests.hidden, cases=self._tests.cases[name], reason=why)

    def _decided(self) -> Decided:
        return next(cell for cell in self._column.run.collect().cells if cell.module == self._assignment.module)

    def _on_machines(self) -> Iterator[Item]:
        column = self._column
        column.sign()
        column.boot()
        column.deploy()
        worker = Worker(column)
        try:
            life = self._life(worker)
            if any(_only_slow(worker, item.reason) for item in life):
                worker.restore()
                life = self._life(worker)
            yield from life
            tests: dict[str, list[OwnTest]] = {}
            for test in self._project.collect():
                if test.broken:
                    raise LabError(test.broken)
                tests.setdefault(_function(test), []).append(test)
            worker.projects = [self._project]
            for name in self._assignment.tests:
                yield self._test(worker, name, tests[name]) if self._loads else self._lost(name, "it cannot be loaded")
        finally:
            self._project.close()
            worker.guest.close()

    def _life(self, worker: Worker) -> list[Item]:
        """Load, unload and log of its life cycle. A machine that is lost in it is brought back."""
        name = self._assignment.module
        cell = worker.begin(name)
        watch = worker.watch = look(worker, cell)
        life = LifeCycle(cell.module, worker.key_known, self._column.ko(name), cell.checks)
        try:
            life.run()
            Afterwards(worker.guest, closing(worker.files(cell.module))).watch()
        except StageError as problem:
            # Whether a machine is lost while the module goes or a moment later is a matter of time: it is the same fault.
            cell.fail(Stage.UNLOAD if problem.stage is Stage.LOG else problem.stage, problem.reason)
        except (GuestLostError, AssertionError) as problem:
            cell.fail(life.at, str(problem).partition("\n")[0])
        if fault := aftermath(worker, cell, watch):
            cell.fail(*fault)
        worker.finish()
        told = self._decided()
        self._loads = life.at is Stage.UNLOAD
        loaded = self._loads and not (cell.failed and cell.failed[0] is Stage.LOAD)
        gone = any(check.name == UNLOADED for check in told.checks)
        return [
            _life_item("load", told, Stage.LOAD, loaded, cell),
            _life_item("unload", told, Stage.UNLOAD, gone and not (cell.failed and cell.failed[0] is Stage.UNLOAD), cell),
            _life_item("log", told, Stage.LOG, not (cell.failed and cell.failed[0] is Stage.LOG), cell),
        ]

    def _test(self, worker: Worker, name: str, tests: list[OwnTest]) -> Item:
        reasons, findings = list[str](), list[Finding]()
        for test in tests:
            reason, found = self._case(worker, test)
            if _only_slow(worker, reason):
                reason, found = self._case(worker, test)
            if reason:
                case = plain(test.name).rpartition("::")[2].partition("[")[2]
                reasons.append(f"[{case}: {reason}" if case else reason)
                findings += found
        seen = {"passed": len(tests) - len(reasons), "findings": findings}
        return self._lost(name, one_line(reasons[0]) if reasons else "").model_copy(update=seen)

    def _case(self, worker: Worker, test: OwnTest) -> tuple[str, list[Finding]]:
        """Why a test fails, in one line; empty where it does not. And the faults that the kernel has found meanwhile."""
        if worker.watch:  # it is not as it was brought back
            worker.restore()
        cell = worker.cell = Cell(worker.module(self._assignment.module))
        worker.tainted = worker.guest.taint()
        watch = worker.watch = look(worker, cell)
        said = self._project.run(test, cell.module, self._chip(worker))
        if said.kind == "skipped":
            raise LabError(f"{test.name} was skipped: {said.text.partition(chr(10))[0]}", hint="a test with points must not be")
        if said.kind == "failed":
            cell.fail(Stage.BEHAVIOUR, said.text.partition("\n")[0])
        if fault := aftermath(worker, cell, watch, unload=False):
            cell.fail(*fault)
        findings = [each for each in worker.told(cell) if each.severity != "notice"]
        worker.cell = None
        return (cell.failed[2] or "no word") if cell.failed else "", findings

    def _chip(self, worker: Worker) -> Callable[[], Chip] | None:
        if worker.wiring is None:
            return None
        return partial(open_chip, worker.wiring, worker.guest, worker.target.emulated)


def _only_slow(worker: Worker, reason: str) -> bool:
    """Whether nothing but time has passed on an emulated machine: one that its host starves looks the same, once."""
    state = worker.target.state
    return bool(TOO_SLOW.search(reason) or SILENT in reason) and (state is None or state.accel == "tcg")


def _life_item(name: str, told: Decided, stage: Stage, good: bool, cell: Cell) -> Item:
    """A stage of a life cycle: it must have been looked at, and nothing found against it."""
    checks = [check for check in told.checks if check.stage is stage]
    failed: list[Check] = [check for check in checks if check.verdict is Verdict.FAIL]
    passed = good and bool(checks) and not failed
    reason = ""
    if not passed:
        own = cell.failed[2] if cell.failed and (cell.failed[0] is stage or not failed) else ""
        reason = own or (failed[0].reason if failed else "nobody saw it")
    findings = [each for each in told.findings if each.severity != "notice"] if name == "log" else []
    return Item(name=name, passed=int(passed), reason=one_line(reason), findings=findings)
