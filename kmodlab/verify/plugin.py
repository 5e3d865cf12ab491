"""The pytest plugin of a verifying worker: one process for one kernel's target, one cell after the other.

Every test belongs to the cell of the module that its `module` mark names. The plugin supplies the fixtures, watches the target
before and after each test, brings it back when a module has broken it, and records each cell as soon as its last test is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest

from kmodlab.ground.errors import LabError
from kmodlab.guest.gpio import Chip, open_chip
from kmodlab.guest.shell import number
from kmodlab.judge.classifier import Frame
from kmodlab.results.contract import Check, Stage, Verdict
from kmodlab.run.lab import Lab
from kmodlab.verify import retrial, words
from kmodlab.verify.afterwards import Afterwards, closing
from kmodlab.verify.backend import carry, plain
from kmodlab.verify.failing import FailingAllocations
from kmodlab.verify.fixtures import MARKER, NO_NAME, module_name
from kmodlab.verify.life_cycle import LifeCycle
from kmodlab.verify.module import ModuleUnderTest, StageError
from kmodlab.verify.own import OwnTest, projects
from kmodlab.verify.stress import Stress
from kmodlab.verify.worker import Cell, Worker, aftermath, look


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kmodlab")
    group.addoption("--kmodlab-run", type=Path, help="the run folder")
    group.addoption("--kmodlab-kernel", help="the kernel of the run whose cells are verified")
    group.addoption("--kmodlab-only", metavar="MODULE", help="verify no other module's cell")
    group.addoption(
        "--kmodlab-afterwards",
        type=float,
        metavar="SECONDS",
        help="watch the target for so long when the last module has gone (default: as long as something of it may come)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    run, kernel = config.getoption("--kmodlab-run"), config.getoption("--kmodlab-kernel")
    if not run or not kernel:
        raise pytest.UsageError("kmodlab.verify.plugin needs --kmodlab-run and --kmodlab-kernel; `make matrix` gives them")
    try:
        worker = config.stash[WORKER] = Worker(Lab.open(run).column(kernel))
        carry(worker.guest)
    except LabError as problem:
        raise pytest.UsageError(str(problem)) from problem


WORKER = pytest.StashKey[Worker]()
LOADING = {"cell", "stress", "failing", "afterwards"}
"""The fixtures of tests that every module gets, which are not about its behaviour."""
RunOwn: TypeAlias = Callable[[], None]
"""Runs one of a project's own tests."""
OWN = pytest.StashKey[list[OwnTest]]()
"""The tests of all projects, where the worker is asked for them."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "run_own" in metafunc.fixturenames:
        own = _own_tests(metafunc.config)
        marks = [pytest.param(test, id=test.name, marks=pytest.mark.module(test.module)) for test in own]
        metafunc.parametrize("run_own", marks, indirect=True)
    for fixture in LOADING & set(metafunc.fixturenames):
        names = metafunc.config.stash[WORKER].entries
        metafunc.parametrize(
            fixture, [pytest.param(name, id=name, marks=pytest.mark.module(name)) for name in names], indirect=True
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of this kernel's cells, cell by cell, each life cycle first; what comes afterwards is the last one's."""
    only, worker = config.getoption("--kmodlab-only"), config.stash[WORKER]
    names = [only] if only else [name for name in worker.entries if name not in worker.decided]
    order = {name: number for number, name in enumerate(names)}
    kept = [item for item in items if _name(item) in order and (_name(item) == names[-1] or not _uses(item, "afterwards"))]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    kept.sort(key=lambda item: (order[_name(item)], not _uses(item, "cell"), _uses(item, "afterwards")))
    items[:] = kept


def _own_tests(config: pytest.Config) -> list[OwnTest]:
    worker = config.stash[WORKER]
    if OWN not in config.stash:
        worker.projects = projects(worker.column)
        config.stash[OWN] = [test for project in worker.projects for test in project.collect()]
        for project in worker.projects:
            project.connect(worker.guest)
    return config.stash[OWN]


def _title(item: pytest.Item) -> str:
    """A test's name, as people read it."""
    own = item.callspec.params.get("run_own") if isinstance(item, pytest.Function) and hasattr(item, "callspec") else None
    return plain(own.name.rpartition("::")[2] if isinstance(own, OwnTest) else item.name)


def _uses(item: pytest.Item, fixture: str) -> bool:
    return fixture in getattr(item, "fixturenames", ())


def _name(item: pytest.Item) -> str:
    if not (name := module_name(item)):
        raise pytest.UsageError(f"{item.nodeid} {NO_NAME}")
    return name


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment]
    worker = item.config.stash[WORKER]
    if worker.column.kept not in ("", _name(item)):
        return report  # type: ignore[return-value]
    if Stage.BEHAVIOUR is _stage(item) and (call.when == "call" or (call.when == "setup" and report.skipped)):
        _note(worker.begin(_name(item)), item, report, call)
    if call.excinfo and not report.skipped:
        cell = worker.begin(_name(item))
        cell.log.append(f"--- {item.name} ({call.when})\n{report.longreprtext}")
        _judge(cell, item, call.excinfo)
    return report  # type: ignore[return-value]


def _stage(item: pytest.Item) -> Stage:
    """The stage that a test is about."""
    return Stage.LOAD if any(_uses(item, each) for each in LOADING) else Stage.BEHAVIOUR


def _note(cell: Cell, item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
    """Keep which behaviour was seen, and which was not, and why."""
    if cell.failed and cell.failed[0] is not Stage.BEHAVIOUR:
        return  # why its tests are skipped is told already
    verdict = Verdict.SKIP if report.skipped else Verdict.PASS if report.passed else Verdict.FAIL
    reason = str(call.excinfo.value) if report.skipped and call.excinfo else ""
    if verdict is not Verdict.FAIL:  # a failure is told in words below
        cell.checks.setdefault(Stage.BEHAVIOUR, []).append(Check(name=_title(item), verdict=verdict, reason=reason))


def _judge(cell: Cell, item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    problem, stage = excinfo.value, _stage(item)
    if isinstance(problem, StageError):
        cell.fail(problem.stage, problem.reason)
    elif isinstance(problem, LabError):
        cell.fail(Stage.LOAD, str(problem).partition("\n")[0], Verdict.ERROR)
    else:
        reason = str(problem).partition("\n")[0] if isinstance(problem, OwnFailure) else words.failure(_title(item), excinfo)
        cell.fail(stage, reason)
        if stage is Stage.BEHAVIOUR:
            cell.checks.setdefault(stage, []).append(Check(name=_title(item), verdict=Verdict.FAIL, reason=reason))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """What is kept for a person to look at is touched no more."""
    worker = item.config.stash[WORKER]
    if worker.column.order.manner.keep and worker.cell and worker.cell.module.name != _name(item):
        worker.finish()
    if worker.column.kept:
        pytest.skip(worker.lost)


def pytest_sessionfinish(session: pytest.Session) -> None:
    worker = session.config.stash.get(WORKER, None)
    if worker:
        worker.finish()
        if worker.column.kept:
            worker.skip_the_rest()
        else:
            retrial.note(worker.column.run, worker.column.kernel, worker.doubts)
        if not worker.column.order.manner.quick:
            worker.describe_gpio()
        for project in worker.projects:
            project.close()
        worker.guest.close()


class OwnFailure(Exception):  # noqa: N818 - a test's, not an error of ours
    """One of a project's own tests has failed: why in a line, and then all that its pytest said."""


@pytest.fixture
def worker(request: pytest.FixtureRequest) -> Worker:
    """This process's target and cells."""
    return request.config.stash[WORKER]


@pytest.fixture(autouse=True)
def _watched(request: pytest.FixtureRequest, worker: Worker) -> Iterator[None]:
    """Look at the target before and after the test; what the test did to it belongs to its cell."""
    cell = worker.begin(_name(request.node))
    if cell.failed and cell.failed[0] is not Stage.BEHAVIOUR:
        pytest.skip(f"{cell.module.name} failed at {cell.failed[0]}: {cell.failed[2]}")
    watch = worker.watch = look(worker, cell)
    carry(worker.guest)
    yield
    problems = aftermath(worker, cell, watch)
    if problems:
        stage, reason = problems
        raise StageError(stage, reason)


@pytest.fixture
def module(worker: Worker, request: pytest.FixtureRequest) -> ModuleUnderTest:
    """The module under test, not loaded."""
    return worker.begin(_name(request.node)).module


@pytest.fixture
def run_own(worker: Worker, module: ModuleUnderTest, request: pytest.FixtureRequest) -> RunOwn:
    """One of a project's own tests, parametrised over all of them."""
    test: OwnTest = request.param

    def chip() -> Chip:
        if worker.wiring is None:
            raise LabError(f"{worker.column.kernel} has no GPIO lines")
        return open_chip(worker.wiring, worker.guest, worker.target.emulated)

    def run() -> None:
        if test.broken:
            raise OwnFailure(test.broken)
        said = test.project.run(test, module, chip if worker.wiring else None)
        if said.kind == "skipped":
            pytest.skip(said.text.removeprefix("Skipped: "))
        if said.kind == "failed":
            raise OwnFailure(said.text)

    return run


@pytest.fixture
def cell(worker: Worker, request: pytest.FixtureRequest) -> LifeCycle:
    """The life cycle of a planned module, parametrised over all of this kernel."""
    current = worker.begin(request.param)
    used = any(_stage(item) is Stage.BEHAVIOUR and _name(item) == request.param for item in request.session.items)
    manner = worker.column.order.manner
    thorough = not manner.quick or worker.column.checks
    life = LifeCycle(current.module, worker.key_known, worker.column.ko(request.param), again=not used, thorough=thorough)
    current.checks.update(life.checks)
    life.checks = current.checks
    return life


@pytest.fixture
def stress(worker: Worker, request: pytest.FixtureRequest) -> Stress:
    """Many loads of a planned module, parametrised over all of this kernel."""
    current = worker.begin(request.param)
    cpus = 1 if current.module.entry.one_cpu else number(worker.guest.sh("nproc").stdout)
    return Stress(current.module, worker.column.order.manner.stress, cpus, current.checks)


@pytest.fixture
def failing(worker: Worker, request: pytest.FixtureRequest) -> Iterator[FailingAllocations]:
    """Loads of a planned module in which an allocation fails, parametrised over all of this kernel."""
    current = worker.begin(request.param)
    worker.look_for_leaks(current)  # what was lost before is no failing allocation's doing
    when = partial(setattr, current, "when")
    yield FailingAllocations(current.module, partial(_line, worker, request.param), when, current.checks)
    if current.failed is None:
        current.when = "when an allocation of its load fails: "
        worker.look_for_leaks(current)
    if current.failed is None:
        current.when = ""


def _line(worker: Worker, module: str, frame: Frame) -> str:
    return worker.column.source_lines(module, [frame]).get(frame, "")


@pytest.fixture
def afterwards(worker: Worker, request: pytest.FixtureRequest) -> Afterwards:
    """The time after the last test of a planned module, parametrised over all of this kernel."""
    cell = worker.begin(request.param)
    cell.when = retrial.WHENS[0]
    seconds = request.config.getoption("--kmodlab-afterwards")
    return Afterwards(cell.module.guest, closing(worker.files(cell.module)) if seconds is None else seconds)
