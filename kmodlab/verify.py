"""The pytest plugin of a verifying worker: one process for one kernel's target, one cell after the other.

Every test belongs to the cell of the module that its `module` mark names. The plugin supplies the fixtures, watches the target
before and after each test, brings it back when a module has broken it, and records each cell as soon as its last test is done.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kmodlab import kmemleak, progress, retrial, taint
from kmodlab.cache import tail, write_aside
from kmodlab.catalog import Module
from kmodlab.classifier import Finding, Severity, classify, classify_console
from kmodlab.errors import LabError
from kmodlab.gpio import Chip, listing, open_chip
from kmodlab.guest import FLOODED, Guest, GuestLostError, number
from kmodlab.lab import Lab
from kmodlab.life_cycle import LifeCycle, ModuleUnderTest, StageError, in_tree_needs
from kmodlab.results import Check, Stage, Verdict
from kmodlab.retrial import CLOSING_SECONDS, SUSPECT_SECONDS, Afterwards, Doubt
from kmodlab.stages import deploy
from kmodlab.stress import Stress
from kmodlab.vm import Vm

STAGES = (Stage.LOAD, Stage.BEHAVIOUR, Stage.UNLOAD, Stage.LOG)
"""What a worker decides; build, sign and deploy were decided before."""
CONSOLE_MOST = 1 << 20
"""Bytes of the console's end that are looked at when a target is lost."""
ALIVE_LIMIT = 8
"""Seconds in which a target that is not lost answers a trivial command."""


@dataclass
class Cell:
    """A cell while it is worked on."""

    module: ModuleUnderTest
    started: float = field(default_factory=time.monotonic)
    checks: dict[Stage, list[Check]] = field(default_factory=dict)
    failed: tuple[Stage, Verdict, str] | None = None
    log: list[str] = field(default_factory=list)
    when: str = ""
    """What the reason of a failure begins with, where that would surprise."""

    def fail(self, stage: Stage, reason: str, verdict: Verdict = Verdict.FAIL) -> None:
        """Keep the first thing that went wrong; later ones often follow from it."""
        if self.failed is None:
            self.failed = (stage, verdict, reason)

    def explain(self, stage: Stage, reason: str) -> tuple[Stage, str]:
        """The kernel's own word on what went wrong outranks the symptom, which says at which stage it did."""
        reason = f"{self.when}{reason}"
        if self.failed:
            stage = self.failed[0]
            self.failed = (stage, Verdict.FAIL, reason)
        return stage, reason


class Worker:
    """One kernel's target and its cells."""

    def __init__(self, lab: Lab, kernel: str) -> None:
        self.lab = lab
        self.kernel = kernel
        self.target = lab.target(kernel)
        self.release = lab.release(kernel)
        self.guest = self.target.guest()
        self.guest.connect()
        self.wiring = lab.wiring(kernel)
        self.key_known = lab.key_known(kernel)
        self.entries = {entry.name: entry for entry in lab.alive(kernel, Stage.LOAD)}
        self.cell: Cell | None = None
        self._tainted: int | None = None
        self.lost = ""
        """Why it cannot be brought back any more."""
        self.watch: Watch | None = None
        """What the target was like before the newest test, since it was brought back."""
        self.doubts: list[Doubt] = []
        """Faults that may be another module's than the one that they came to."""
        self._done: dict[str, float] = {}
        """When each module that the target has held since it was brought back was done with."""
        self._leaks_told: bool | None = None

    def module(self, name: str) -> ModuleUnderTest:
        """A module of the catalog with all it needs, in loading order."""
        wiring = self.wiring
        entry = self.entries[name]
        if wiring:
            entry = entry.model_copy(update={"parameters": wiring.fill(entry.parameters)})
        needs = self._needs(entry)
        own = [name, *(need.name for need in needs)]
        in_tree = [each for module in own for each in in_tree_needs(self.ko(module), self.entries)]
        extra = [each for each_entry in (entry, *needs) for each in each_entry.kernel_modules]
        gpio = wiring if "gpio" in entry.hardware else None
        return ModuleUnderTest(entry, self.guest, needs, list(dict.fromkeys(in_tree + extra)), gpio)

    def _needs(self, entry: Module) -> list[Module]:
        found: dict[str, Module] = {}
        for name in entry.needs:
            need = self.entries[name]
            found.update({each.name: each for each in (*self._needs(need), need)})
        return list(found.values())

    def ko(self, name: str) -> Path:
        """A module's signed file on the controller."""
        return self.lab.artefacts(self.kernel) / "modules" / f"{name}.ko"

    def begin(self, name: str) -> Cell:
        """The cell of a module; the one before is recorded when another one begins."""
        if self.cell and self.cell.module.name != name:
            self.finish()
        if self.cell is None:
            self.cell = Cell(self.module(name))
            self._forget_leaks()
            progress.emit(self.lab.run.folder, kernel=self.kernel, stage="verify", module=name, state="start")
        return self.cell

    def finish(self) -> None:
        """Record the cell."""
        cell, self.cell = self.cell, None
        if cell is None:
            return
        self._look_for_leaks(cell)
        name, seconds = cell.module.name, time.monotonic() - cell.started
        for stage in STAGES:
            if stage is Stage.BEHAVIOUR and self.lab.order.quick:
                continue
            verdict, reason = Verdict.PASS, ""
            if cell.failed and cell.failed[0] is stage:
                _, verdict, reason = cell.failed
            last = stage is STAGES[-1]
            self.lab.run.record(
                self.kernel,
                name,
                stage,
                verdict,
                reason,
                seconds=seconds if last else 0.0,
                checks=cell.checks.get(stage, ()),
                log_text="\n".join(cell.log) if last else "",
            )
        if self.watch:  # else the target was brought back at its last test, and has not held it since
            self._done[name] = time.monotonic()
        failed = cell.failed is not None or any(c.verdict is Verdict.FAIL for checks in cell.checks.values() for c in checks)
        text = cell.failed[2] if cell.failed else ""
        progress.emit(
            self.lab.run.folder, kernel=self.kernel, stage="verify", module=name, state="fail" if failed else "done", text=text
        )

    def doubt(self, cell: Cell) -> None:
        """A fault has come to a cell; was its module the only one on the target for a while?"""
        now = time.monotonic()
        ages = {name: now - done for name, done in reversed(self._done.items())}
        if suspects := {name: age for name, age in ages.items() if age < SUSPECT_SECONDS}:
            self.doubts.append(Doubt(module=cell.module.name, suspects=suspects))

    @property
    def leaks_told(self) -> bool:
        """Whether the target's kernel tells of memory that was lost."""
        if self._leaks_told is None:
            self._leaks_told = kmemleak.offered(self.guest)
        return self._leaks_told

    def _forget_leaks(self) -> None:
        """What was lost before a cell is none of its fault."""
        if self.leaks_told:
            with suppress(GuestLostError):  # the next look finds that, too, and brings the target back
                kmemleak.forget(self.guest)

    def _look_for_leaks(self, cell: Cell) -> None:
        """When all of a cell is done: has its module lost memory? A target that was just brought back knows of none."""
        if not self.leaks_told:
            return
        try:
            report = kmemleak.scan(self.guest)
        except (GuestLostError, AssertionError) as problem:
            cell.fail(Stage.LOG, f"the search for leaks failed: {str(problem).splitlines()[0]}", Verdict.ERROR)
            return
        name = "no memory lost"
        if report:
            cell.log += ["--- kmemleak", report]
            cell.fail(Stage.LOG, kmemleak.summary(report))
            cell.checks.setdefault(Stage.LOG, []).append(Check(name=name, verdict=Verdict.FAIL, reason=kmemleak.summary(report)))
        else:
            cell.checks.setdefault(Stage.LOG, []).append(Check(name=name, verdict=Verdict.PASS))

    @property
    def tainted(self) -> int:
        """The taint before the next test: what the last look said."""
        if self._tainted is None:
            self._tainted = number(self.guest.sh("cat /proc/sys/kernel/tainted").stdout)
        return self._tainted

    @tainted.setter
    def tainted(self, value: int) -> None:
        self._tainted = value

    def restore(self) -> None:
        """Bring back the target as it was right after its boot, with the modules on it."""
        self.guest.close()
        self._tainted = None
        self.watch = None
        self._done.clear()
        try:
            self.target.restore()
        except LabError as problem:
            self.lost = str(problem)
            raise
        self.guest = self.target.guest()
        deploy(self.lab, self.kernel, self.guest)
        self._forget_leaks()
        if self.cell:
            self.cell.module.guest = self.guest

    @property
    def emulated(self) -> Vm | None:
        """The target where it is an emulated machine, whose wires QEMU holds."""
        return self.target if isinstance(self.target, Vm) else None

    def describe_gpio(self) -> None:
        """Keep in the run's logs what GPIO lines the target offers. At the end, so that it disturbs no cell."""
        if self.lost:
            return
        try:
            with open_chip(self.wiring, self.guest, self.emulated) if self.wiring else nullcontext():
                text = listing(self.guest)
        except (GuestLostError, AssertionError, LabError) as problem:
            text = f"cannot be told: {problem}\n"
        write_aside(self.lab.run.folder / "logs" / self.kernel / "gpio.txt", text)

    def alive(self) -> bool:
        """Whether the target still answers."""
        if self.target.state is None:
            return False
        try:
            return self.guest.sh("true", check=False, timeout=ALIVE_LIMIT).rc == 0
        except (GuestLostError, AssertionError):
            return False


@dataclass
class Watch:
    """What the target was like before a test."""

    mark: int
    tainted: int
    console: int
    """Bytes of the console so far."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kmodlab")
    group.addoption("--kmodlab-run", type=Path, help="the run folder")
    group.addoption("--kmodlab-kernel", help="the kernel of the run whose cells are verified")
    group.addoption("--kmodlab-only", metavar="MODULE", help="verify no other module's cell")
    group.addoption(
        "--kmodlab-afterwards",
        type=float,
        default=CLOSING_SECONDS,
        metavar="SECONDS",
        help="watch the target for so long when the last module has gone (default: %(default)s)",
    )


def pytest_configure(config: pytest.Config) -> None:
    run, kernel = config.getoption("--kmodlab-run"), config.getoption("--kmodlab-kernel")
    if not run or not kernel:
        raise pytest.UsageError("kmodlab.verify needs --kmodlab-run and --kmodlab-kernel; `make matrix` gives them")
    try:
        config.stash[WORKER] = Worker(Lab.open(run), kernel)
    except LabError as problem:
        raise pytest.UsageError(str(problem)) from problem


WORKER = pytest.StashKey[Worker]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture in {"cell", "stress", "afterwards"} & set(metafunc.fixturenames):
        names = metafunc.config.stash[WORKER].entries
        metafunc.parametrize(
            fixture, [pytest.param(name, id=name, marks=pytest.mark.module(name)) for name in names], indirect=True
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of this kernel's cells, cell by cell, each life cycle first; what comes afterwards is the last one's."""
    names = [name for name in config.stash[WORKER].entries if config.getoption("--kmodlab-only") in (None, name)]
    order = {name: number for number, name in enumerate(names)}
    kept = [item for item in items if _name(item) in order and (_name(item) == names[-1] or not _uses(item, "afterwards"))]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    kept.sort(key=lambda item: (order[_name(item)], not _uses(item, "cell"), _uses(item, "afterwards")))
    items[:] = kept


def _uses(item: pytest.Item, fixture: str) -> bool:
    return fixture in getattr(item, "fixturenames", ())


def _name(item: pytest.Item) -> str:
    mark = item.get_closest_marker("module")
    if mark is None or not mark.args:
        raise pytest.UsageError(f"{item.nodeid} belongs to no cell: mark it with @pytest.mark.module(NAME)")
    return str(mark.args[0])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment]
    worker = item.config.stash[WORKER]
    if call.excinfo and not report.skipped:
        cell = worker.begin(_name(item))
        cell.log.append(f"--- {item.name} ({call.when})\n{report.longreprtext}")
        _judge(worker, cell, item, call.excinfo.value)
    return report  # type: ignore[return-value]


def _judge(worker: Worker, cell: Cell, item: pytest.Item, problem: BaseException) -> None:
    reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
    if isinstance(problem, StageError):
        cell.fail(problem.stage, problem.reason)
    elif isinstance(problem, LabError):
        cell.fail(Stage.LOAD, reason, Verdict.ERROR)
    else:
        stage = Stage.LOAD if _uses(item, "cell") else Stage.BEHAVIOUR
        cell.fail(stage, f"{item.name}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    worker = session.config.stash.get(WORKER, None)
    if worker:
        worker.finish()
        retrial.note(worker.lab.run, worker.kernel, worker.doubts)
        if not worker.lab.order.quick:
            worker.describe_gpio()
        worker.guest.close()


@pytest.fixture
def worker(request: pytest.FixtureRequest) -> Worker:
    """This process's target and cells."""
    return request.config.stash[WORKER]


@pytest.fixture
def guest(worker: Worker) -> Guest:
    """The target."""
    return worker.guest


@pytest.fixture(autouse=True)
def _watched(request: pytest.FixtureRequest, worker: Worker) -> Iterator[None]:
    """Look at the target before and after the test; what the test did to it belongs to its cell."""
    cell = worker.begin(_name(request.node))
    if cell.failed and cell.failed[0] is not Stage.BEHAVIOUR:
        pytest.skip(f"{cell.module.name} failed at {cell.failed[0]}: {cell.failed[2]}")
    watch = worker.watch = _look(worker, cell)
    yield
    problems = _aftermath(worker, cell, watch)
    if problems:
        stage, reason = problems
        raise StageError(stage, reason)


def _look(worker: Worker, cell: Cell) -> Watch:
    if worker.lost:
        raise LabError(worker.lost)
    try:
        return _watch(worker)
    except GuestLostError as problem:
        if worker.watch and not worker.alive():  # it died between two tests
            raise StageError(*_autopsy(worker, cell, worker.watch, str(problem).splitlines()[0])) from problem
        worker.restore()
        return _watch(worker)


def _watch(worker: Worker) -> Watch:
    return Watch(worker.guest.log.mark(), worker.tainted, _size(worker.target.console))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _aftermath(worker: Worker, cell: Cell, watch: Watch) -> tuple[Stage, str] | None:
    """What a test left behind: the first fault, after which the target has been brought back if it needed that."""
    try:
        stuck, worker.tainted = cell.module.clean_up()
        records = worker.guest.log.since(watch.mark)
    except (GuestLostError, AssertionError) as problem:
        return _autopsy(worker, cell, watch, str(problem).splitlines()[0])
    cell.log += [f"[{record.time:12.6f}] {record.text}" for record in records]
    findings = [each for each in classify(records, release=worker.release) if each.severity >= Severity.FAULT]
    cell.checks.setdefault(Stage.LOG, []).append(_log_check(findings, worker.guest.log.gaps(watch.mark)))
    # A test may bring the target back itself; then it has no taint of before to be compared with.
    before = watch.tainted if worker.watch else 0
    faults = taint.judge(before, worker.tainted, key_known=worker.key_known)
    if findings:
        worker.doubt(cell)
    if findings or faults or stuck:
        worker.restore()
    if findings:
        return cell.explain(Stage.LOG, f"{findings[0].kind}: {findings[0].headline}")
    if stuck:
        return Stage.UNLOAD, f"left loaded, and cannot be unloaded: {stuck}"
    if faults:
        return Stage.LOG, faults[0]
    return None


def _log_check(findings: list[Finding], gaps: list[str]) -> Check:
    name = "kernel log clean"
    if findings:
        return Check(name=name, verdict=Verdict.FAIL, reason=f"{findings[0].kind}: {findings[0].headline}")
    if gaps:
        return Check(name=name, verdict=Verdict.FAIL, reason=f"the log cannot be trusted: {gaps[0]}")
    return Check(name=name, verdict=Verdict.PASS)


def _autopsy(worker: Worker, cell: Cell, watch: Watch, symptom: str) -> tuple[Stage, str]:
    """The target is lost, or something on it hangs: find out what its log and its console tell, then bring it back."""
    if worker.alive():
        # A command hangs: have the kernel say where (blocked tasks, and what every processor does).
        worker.guest.sh("echo w >/proc/sysrq-trigger; echo l >/proc/sysrq-trigger", check=False)
    state = worker.target.state
    known = worker.guest.log.known(watch.mark)
    console = tail(worker.target.console, CONSOLE_MOST, watch.console)
    findings = classify(known, release=worker.release) + classify_console(console, release=worker.release)
    faults = sorted((each for each in findings if each.severity >= Severity.FAULT), key=lambda each: -each.severity)
    cell.log += [f"[{record.time:12.6f}] {record.text}" for record in known]
    cell.log += ["--- serial console", console]
    worker.doubt(cell)
    worker.restore()
    if faults:
        return cell.explain(Stage.LOAD, f"{faults[0].kind}: {faults[0].headline}")
    if state is None:
        return cell.explain(Stage.LOAD, f"the machine went down without a word: {symptom}")
    if symptom.startswith(FLOODED):
        return cell.explain(Stage.LOG, symptom)
    return cell.explain(Stage.LOAD, f"hang: {symptom}")


@pytest.fixture
def module(worker: Worker, request: pytest.FixtureRequest) -> ModuleUnderTest:
    """The module under test, not loaded."""
    return worker.begin(_name(request.node)).module


@pytest.fixture
def loaded(module: ModuleUnderTest) -> Iterator[ModuleUnderTest]:
    """The module under test, loaded as the catalog says; unloaded after the test, which must succeed."""
    module.load(module.entry.parameters)
    yield module
    module.unload_if_loaded()


@pytest.fixture
def gpio(worker: Worker, module: ModuleUnderTest) -> Iterator[Chip]:
    """The target's GPIO chip, its wires in the test's hand, for modules that ask for the hardware `gpio`.

    A chip cannot go while the module holds its lines: so the module goes first, however the test ended.
    """
    if worker.wiring is None:
        pytest.skip(f"{worker.kernel} has no GPIO lines that a test could drive")
    with open_chip(worker.wiring, worker.guest, worker.emulated) as chip:
        yield chip
        if module.is_loaded():
            module.unload()


@pytest.fixture
def cell(worker: Worker, request: pytest.FixtureRequest) -> LifeCycle:
    """The life cycle of a planned module, parametrised over all of this kernel."""
    current = worker.begin(request.param)
    life = LifeCycle(current.module, worker.key_known, worker.ko(request.param))
    current.checks.update(life.checks)
    life.checks = current.checks
    return life


@pytest.fixture
def stress(worker: Worker, request: pytest.FixtureRequest) -> Stress:
    """Many loads of a planned module, parametrised over all of this kernel."""
    current = worker.begin(request.param)
    cpus = 1 if current.module.entry.one_cpu else number(worker.guest.sh("nproc").stdout)
    return Stress(current.module, worker.lab.order.stress, cpus, current.checks)


@pytest.fixture
def afterwards(worker: Worker, request: pytest.FixtureRequest) -> Afterwards:
    """The time after the last test of a planned module, parametrised over all of this kernel."""
    cell = worker.begin(request.param)
    cell.when = "when it had gone: "
    return Afterwards(cell.module.guest, request.config.getoption("--kmodlab-afterwards"))
