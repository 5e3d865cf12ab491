"""One kernel's target and its cells: what is watched before and after each test, and who is blamed for what is found."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from kmodlab.build.needs import in_tree_needs, kernel_name, soft_needs
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import tail, write_aside
from kmodlab.guest import gcov, kmemleak
from kmodlab.guest.gpio import listing, open_chip
from kmodlab.guest.shell import FLOODED, GuestLostError, Look, number
from kmodlab.judge import leftovers, taint
from kmodlab.judge.classifier import Finding, Frame, Severity, classify, classify_console, frames_of, may_be_starved
from kmodlab.judge.kernel_log import Record
from kmodlab.results import contract
from kmodlab.results.contract import LOG_CLEAN, NO_TEST, REACHED, Check, Stage, Verdict
from kmodlab.run.column import Column
from kmodlab.verify.life_cycle import UNLOADED
from kmodlab.verify.module import ModuleUnderTest, StageError, what_is_left
from kmodlab.verify.own import Project
from kmodlab.verify.retrial import SUSPECT_SECONDS, WHENS, Doubt

STAGES = (Stage.LOAD, Stage.BEHAVIOUR, Stage.UNLOAD, Stage.LOG)
"""What a worker decides; build, sign and deploy were decided before."""
CONSOLE_MOST = 1 << 20
"""Bytes of the console's end that are looked at when a target is lost."""
SEVERITIES: dict[Severity, Literal["notice", "fault", "fatal"]] = {
    Severity.NOTICE: "notice",
    Severity.FAULT: "fault",
    Severity.FATAL: "fatal",
}
MEMORY_KEPT_BACK = frozenset({"slab-corruption", "slab-leftover"})
"""The classes of findings after which the kernel does not free memory that was to be freed."""
TOO_SLOW = re.compile(r"^hang: |\bdid not end within \d|\bTimeout \(>[\d.]+s\) from pytest-timeout")
"""In a reason: nothing but time has passed."""
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
    untidy: bool = False
    """Whether processes, files or mounts stayed that somebody else should not find."""
    reached: Check | None = None
    """Which lines of its module's sources its tests have reached, where that is counted."""
    when: str = ""
    """What the reason of a failure begins with, where that would surprise."""
    findings: dict[tuple[str, str], Finding] = field(default_factory=dict)
    """What the log said in its time, notices included, by class and fingerprint."""

    def keep(self, findings: list[Finding]) -> None:
        """Add what was found; what is known already is counted."""
        for each in findings:
            key = each.kind, each.fingerprint
            known = self.findings.get(key)
            self.findings[key] = replace(known, count=known.count + each.count) if known else each

    def fail(self, stage: Stage, reason: str, verdict: Verdict = Verdict.FAIL) -> None:
        """Keep the first thing that went wrong; later ones often follow from it."""
        if self.failed is None:
            self.failed = (stage, verdict, reason)

    @property
    def unclean(self) -> bool:
        """Whether its module may have left the target as nobody else should find it."""
        failed = {stage for stage, checks in self.checks.items() if any(check.verdict is Verdict.FAIL for check in checks)}
        return bool(failed & {Stage.UNLOAD, Stage.LOG}) or (self.failed is not None and self.failed[0] is not Stage.BEHAVIOUR)

    def verdict(self, stage: Stage) -> tuple[Verdict, str]:
        """What was found out of one stage; where nobody looked, that is the lab's fault, and no pass."""
        if self.failed and self.failed[0] is stage:
            return self.failed[1:]
        if stage in self.checks:
            return Verdict.PASS, ""
        if stage is Stage.BEHAVIOUR:
            self.checks[stage] = [Check(name=NO_TEST, verdict=Verdict.PASS)]
            return Verdict.PASS, ""
        return (Verdict.SKIP, f"it failed at {self.failed[0]}") if self.failed else (Verdict.ERROR, "nobody saw it")

    def excuse_the_console(self) -> None:
        """The kernel has reported a fault: that its console tells more since then is its own doing."""
        checks = self.checks.get(Stage.UNLOAD, [])
        checks[:] = [each for each in checks if not leftovers.raised_by_a_report(each.reason)]

    def join_lost_memory(self) -> str:
        """The kernel has found memory corrupted, and keeps back what it cannot trust: that it is not freed is no fault beside.
        What is left, in words, as it says who allocated it; nothing where something else was left, too.
        """
        checks = self.checks.get(Stage.UNLOAD, [])
        lost = [each for each in checks if each.verdict is Verdict.FAIL and leftovers.only_memory(each.reason)]
        checks[:] = [each for each in checks if each not in lost]
        return "".join(f"; {each.reason}" for each in lost[:1])

    def explain(self, stage: Stage, reason: str) -> tuple[Stage, str]:
        """The kernel's own word on what went wrong outranks the symptom, which says at which stage it did."""
        if self.failed and self.failed[:2] == (Stage.LOG, Verdict.FAIL):
            return self.failed[0], self.failed[2]  # that was the kernel's own word already
        reason = f"{self.when}{reason}"
        if self.failed:
            stage = self.failed[0]
            self.failed = (stage, Verdict.FAIL, reason)
        return stage, reason


class Worker:
    """One kernel's target and its cells."""

    def __init__(self, column: Column) -> None:
        self.column = column
        self.target = column.target
        self.release = column.release
        self.guest = self.target.guest()
        self.guest.checks = column.checks
        self.guest.connect()
        self.projects: list[Project] = []
        """Whose own tests run, each connected to the target."""
        self.wiring = column.wiring
        self.key_known = column.key_known
        self.entries = {entry.name: entry for entry in column.alive(Stage.LOAD)}
        self.decided = column.run.decided(column.kernel, STAGES)
        """The modules whose cells an earlier pass has decided: they are not tried again because another one erred."""
        self.cell: Cell | None = None
        self.boot = self._boot()
        self._tainted: int | None = None
        self.lost = ""
        """Why it cannot be brought back any more."""
        self.watch: Watch | None = None
        """What the target was like before the newest test, since it was brought back."""
        self.doubts: list[Doubt] = []
        """Faults that may be another module's than the one that they came to."""
        self.cursor: int | None = None
        """Where the log is read up to: what comes after it has no owner yet. None where it is not read yet."""
        self._done: dict[str, float] = {}
        """When each module that the target has held since it was brought back was done with."""
        self._leaks_told: bool | None = None
        self.found: Look | None = None
        """What the target was like when the cell began, since it was brought back."""

    def module(self, name: str) -> ModuleUnderTest:
        """A module of the catalog with all it needs, in loading order."""
        wiring = self.wiring
        entry = self.entries[name]
        if wiring:
            entry = entry.model_copy(update={"parameters": wiring.fill(entry.parameters)})
        needs = self.column.needs(name)
        own = [self.column.ko(each) for each in (name, *(need.name for need in needs))]
        here = [*self.entries, *(need.name for need in needs)]
        in_tree = [each for ko in own for each in in_tree_needs(ko, here)]
        extra = [each for each_entry in (entry, *needs) for each in each_entry.kernel_modules]
        gpio = wiring if "gpio" in entry.hardware else None
        lab = {kernel_name(each) for each in here}
        soft = [each for ko in own for each in soft_needs(ko) if kernel_name(each) not in lab]
        return ModuleUnderTest(entry, self.guest, needs, list(dict.fromkeys(in_tree + extra)), soft, gpio)

    def files(self, module: ModuleUnderTest) -> list[Path]:
        """The files of a module and of those of the catalog that it needs."""
        return [self.column.ko(each.name) for each in (module.entry, *module.needs)]

    def begin(self, name: str) -> Cell:
        """The cell of a module; the one before is recorded when another one begins, on a target that is as it was found."""
        if self.cell and self.cell.module.name != name:
            before = self.cell
            self.finish()
            if (before.unclean or before.untidy or self.column.order.manner.fresh) and self.watch and not self.lost:
                self.restore()
        if self.cell is None:
            self.cell = Cell(self.module(name))
            self._forget_leaks()
            self._count_anew()
            self.found = self._look_again()
            self.column.tell("verify", "start", name)
        return self.cell

    def finish(self) -> None:
        """Record the cell."""
        cell, self.cell = self.cell, None
        if cell is None:
            return
        if not self.column.kept:
            self._look_around(cell)
            self.look_for_leaks(cell)
            self._read_to_the_end(cell)
            self._take_counts(cell)
            cell.checks.setdefault(Stage.LOG, []).extend(filter(None, [cell.reached]))
            if cell.failed:
                self._kept(cell)
        if self._starved(cell):
            self.doubt(cell, starved=True)
        name, seconds = cell.module.name, time.monotonic() - cell.started
        for stage in STAGES:
            if stage is Stage.BEHAVIOUR and self.column.order.manner.quick:
                continue
            verdict, reason = cell.verdict(stage)
            last = stage is STAGES[-1]
            self.column.record(
                name,
                stage,
                verdict,
                reason,
                seconds=seconds if last else 0.0,
                checks=cell.checks.get(stage, ()),
                findings=self.told(cell) if last else (),
                log_text="\n".join(cell.log) if last else "",
            )
        if self.watch:  # else the target was brought back at its last test, and has not held it since
            self._done[name] = time.monotonic()
        failed = cell.failed is not None or any(c.verdict is Verdict.FAIL for checks in cell.checks.values() for c in checks)
        text = cell.failed[2] if cell.failed else ""
        self.column.tell("verify", "fail" if failed else "done", name, text)

    def told(self, cell: Cell) -> list[contract.Finding]:
        """A cell's findings for the results, their functions with the lines of C where the modules' files tell."""
        return [
            contract.Finding(
                kind=each.kind,
                severity=SEVERITIES[each.severity],
                fingerprint=each.fingerprint,
                headline=each.headline,
                meaning=each.reason,
                count=each.count,
                where=self._places(each.frames) if each.severity >= Severity.FAULT else [],
            )
            for each in cell.findings.values()
        ]

    def _places(self, frames: Sequence[Frame]) -> list[str]:
        """Frames in words, with their lines of C where the modules' files tell."""
        places: dict[Frame, str] = {}
        known = {kernel_name(name): name for name in self.entries}
        for module in dict.fromkeys(frame.module for frame in frames if frame.module in known):
            places |= self.column.source_lines(known[module], [frame for frame in frames if frame.module == module])
        return [f"{frame} is {places[frame]}" if frame in places else str(frame) for frame in frames]

    def _look_again(self) -> Look | None:
        """What the target is like between two cells. None where it does not tell: the next look finds that, too."""
        try:
            return None if self.lost else self.guest.look_again()
        except GuestLostError:
            return None

    def _look_around(self, cell: Cell) -> None:
        """What have the cell's tests left behind, since it began? Some things take a moment to go."""
        if cell.unclean:
            return  # and the kernel may point to memory that has gone: no look follows there
        before, now = self.found, self._look_again()
        if not before or not now:
            return
        own = {kernel_name(each.name) for each in (cell.module.entry, *cell.module.needs)}
        try:
            left, now = what_is_left(self.guest, before, now, own, userland=True)
        except (GuestLostError, AssertionError):  # the next look finds that, too
            return
        if left.userland and self.target.emulated:  # a board has a life of its own
            cell.untidy = True
            cell.log.append(f"--- restored, because of what is other in its userland: {', '.join(left.userland)}")
        # In-tree modules may rightly stay, and with them their files.
        if left and not leftovers.modules(now.places) - leftovers.modules(before.places):
            cell.fail(Stage.UNLOAD, f"{WHENS[1]}{left}")

    def _read_to_the_end(self, cell: Cell) -> None:
        """What the kernel said since the cell's last test, while it was looked for leaks, say, is the cell's, too."""
        if self.cursor is None:
            return
        try:
            findings = self.read(cell, self.cursor)
        except GuestLostError:  # the next look finds that, too, and brings the target back
            self.cursor = None
            return
        if findings:
            cell.fail(Stage.LOG, f"{WHENS[1]}{findings[0].kind}: {findings[0].headline}")
            self.doubt(cell)

    def read(self, cell: Cell, mark: int) -> list[Finding]:
        """Read the log from a mark up to now for a cell, which keeps it, and whether it is clean and whole; the faults in it."""
        records, self.cursor = self.guest.log.window(mark)
        records = [replace(record, text=cell.module.named(record.text)) for record in records]
        cell.log += lines_of(records)
        found = classify(records, release=self.release)
        cell.keep(found)
        findings = [each for each in found if each.severity >= Severity.FAULT]
        cell.checks.setdefault(Stage.LOG, []).append(log_check(findings, self.guest.log.gaps(mark)))
        return findings

    def doubt(self, cell: Cell, *, starved: bool = False) -> None:
        """A fault has come to a cell; was its module the only one on the target for a while? And did the target have its time?"""
        now, name = time.monotonic(), cell.module.name
        ages = {name: now - done for name, done in reversed(self._done.items())}
        suspects = {name: age for name, age in ages.items() if age < SUSPECT_SECONDS}
        known = next((each for each in self.doubts if each.module == name), None)
        if known:
            self.doubts.remove(known)
            suspects, starved = known.suspects or suspects, known.starved or starved
        if suspects or starved:
            self.doubts.append(Doubt(module=name, suspects=suspects, starved=starved))

    def _starved(self, cell: Cell) -> bool:
        """Whether all that is wrong with a cell is that its target was slow, and its host may have made it so."""
        state = self.target.state
        if cell.failed is None or state is None or state.accel != "tcg":
            return False
        failed = [each for checks in cell.checks.values() for each in checks if each.verdict is Verdict.FAIL]
        if any(each.name != LOG_CLEAN and not TOO_SLOW.search(each.reason) for each in failed):
            return False  # something else was seen, too: a file that stayed, say, or lost memory
        faults = [each for each in cell.findings.values() if each.severity >= Severity.FAULT]
        return all(may_be_starved(each.kind) for each in faults) if faults else TOO_SLOW.search(cell.failed[2]) is not None

    @property
    def leaks_told(self) -> bool:
        """Whether the target's kernel tells of memory that was lost."""
        if self._leaks_told is None:
            try:
                self._leaks_told = kmemleak.offered(self.guest)
            except GuestLostError:  # the next look finds that, too, and brings the target back
                return False
        return self._leaks_told

    def _forget_leaks(self) -> None:
        """What was lost before a cell is none of its fault."""
        if self.leaks_told:
            with suppress(GuestLostError):  # the next look finds that, too, and brings the target back
                kmemleak.forget(self.guest)

    def look_for_leaks(self, cell: Cell) -> None:
        """When all of a cell, or of a part of it, is done: has its module lost memory? A target that was just brought back knows
        of none.
        """
        if not self.leaks_told:
            return
        try:
            report = cell.module.named(kmemleak.scan(self.guest))
        except (GuestLostError, AssertionError) as problem:
            cell.fail(Stage.LOG, f"the search for leaks failed: {str(problem).splitlines()[0]}", Verdict.ERROR)
            return
        name = "no memory lost"
        if report:
            cell.log += ["--- kmemleak", report]
            where = self._places(frames_of(tuple(report.splitlines())))[:1]
            reason = f"{cell.when}{kmemleak.summary(report)}{f', allocated in {where[0]}' if where else ''}"
            cell.fail(Stage.LOG, reason)
            cell.checks.setdefault(Stage.LOG, []).append(Check(name=name, verdict=Verdict.FAIL, reason=reason))
        else:
            cell.checks.setdefault(Stage.LOG, []).append(Check(name=name, verdict=Verdict.PASS))

    def _count_anew(self) -> None:
        if self.column.counts_lines and not self.lost:
            with suppress(GuestLostError, AssertionError):  # the next look finds that, too
                gcov.reset(self.guest)

    def _take_counts(self, cell: Cell) -> None:
        """Which lines of its module's sources have the cell's tests reached so far? A target takes what it counted with it."""
        if not self.column.counts_lines:
            return
        needs = [need.name for need in cell.module.needs]
        try:
            words = self.column.lines_reached(cell.module.name, needs, gcov.counts(self.guest))
            cell.reached = Check(name=REACHED, verdict=Verdict.PASS, reason=words)
        except (GuestLostError, AssertionError, LabError) as problem:
            skip = Check(name=REACHED, verdict=Verdict.SKIP, reason=str(problem).splitlines()[0])
            cell.reached = cell.reached or skip

    def _boot(self) -> str:
        state = self.target.state
        return state.boot if state else ""

    @property
    def tainted(self) -> int:
        """The taint before the next test: what the last look said."""
        if self._tainted is None:
            self._tainted = number(self.guest.sh("cat /proc/sys/kernel/tainted").stdout)
        return self._tainted

    @tainted.setter
    def tainted(self, value: int) -> None:
        self._tainted = value

    def _kept(self, cell: Cell | None) -> bool:
        """Leave the target as a cell that has failed left it, where that was asked for. A failure that is expected is none."""
        if cell is None or not self.column.order.manner.keep or self.column.may_fail(cell.module.name):
            return False
        self.lost = f"not run: the machine is kept as {cell.module.name} left it"
        self.column.keep(cell.module.name)
        return True

    def skip_the_rest(self) -> None:
        """Nothing more is done on a target that is kept: say so of every cell that was to come."""
        verdicts = self.column.run.verdicts(self.column.kernel)
        for name in self.entries:
            if Stage.LOAD not in verdicts[name]:
                self.column.record(name, Stage.LOAD, Verdict.SKIP, self.lost)

    def restore(self) -> None:
        """Bring back the target as it was right after its boot, with the modules on it; or leave it, where it is to be kept."""
        if self.cell:
            self._take_counts(self.cell)
        self.guest.close()
        self._tainted = None
        self.watch = None
        self.found = None
        self.cursor = None
        self._done.clear()
        if self._kept(self.cell):
            return
        try:
            self.target.restore()
        except LabError as problem:
            self.lost = str(problem)
            raise
        self.boot = self._boot()
        self.guest = self.target.guest()
        self.guest.checks = self.column.checks
        try:
            self.column.deploy_to(self.guest)
            self.cursor = self.guest.log.mark()
        except (LabError, GuestLostError) as problem:
            self.lost = str(problem)  # without its modules it is of no use to any cell
            raise LabError(self.lost) from problem
        for project in self.projects:
            project.connect(self.guest)
        self._forget_leaks()
        if self.cell:
            self.cell.module.guest = self.guest

    def describe_gpio(self) -> None:
        """Keep in the run's logs what GPIO lines the target offers. At the end, so that it disturbs no cell."""
        if self.lost:
            return
        try:
            with open_chip(self.wiring, self.guest, self.target.emulated) if self.wiring else nullcontext():
                text = listing(self.guest)
        except (GuestLostError, AssertionError, LabError) as problem:
            text = f"cannot be told: {problem}\n"
        write_aside(self.column.log("gpio.txt"), text)

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


def look(worker: Worker, cell: Cell) -> Watch:
    if worker.lost:
        raise LabError(worker.lost)
    cell.module.gone = None  # what an earlier test saw is not so any more
    try:
        return _watch(worker)
    except GuestLostError as problem:
        if worker.watch and not worker.alive():  # it died between two tests
            raise StageError(*_autopsy(worker, cell, worker.watch, str(problem).splitlines()[0])) from problem
        worker.restore()
        return _watch(worker)


def _watch(worker: Worker) -> Watch:
    if worker.cursor is None:
        worker.cursor = worker.guest.log.mark()
    return Watch(worker.cursor, worker.tainted, _size(worker.target.console))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def aftermath(worker: Worker, cell: Cell, watch: Watch, *, unload: bool = True) -> tuple[Stage, str] | None:
    """What a test left behind: the first fault, after which the target has been brought back if it needed that.

    Without `unload` the module stays as the test left it: for a target that nobody else is to have.
    """
    try:
        if unload:
            stuck, worker.tainted = cell.module.clean_up()
        else:
            stuck, worker.tainted = "", worker.guest.taint()
        # A test may bring the target back itself: then the log is another, and begins where it came back.
        mark = watch.mark if worker.watch or worker.cursor is None else worker.cursor
        findings = worker.read(cell, mark)
    except (GuestLostError, AssertionError) as problem:
        return _autopsy(worker, cell, watch, str(problem).splitlines()[0])
    # A test may bring the target back itself; then it has no taint of before to be compared with.
    before = watch.tainted if worker.watch else 0
    faults = taint.judge(before, worker.tainted, key_known=worker.key_known)
    if findings:
        worker.doubt(cell)
    if findings or faults or stuck:
        worker.restore()
    if findings:
        cell.excuse_the_console()
        lost = cell.join_lost_memory() if any(each.kind in MEMORY_KEPT_BACK for each in findings) else ""
        return cell.explain(Stage.LOG, f"{findings[0].kind}: {findings[0].headline}{lost}")
    if stuck:
        return Stage.UNLOAD, f"left loaded, and cannot be unloaded: {stuck}"
    if faults:
        return Stage.LOG, faults[0]
    return None


def lines_of(records: list[Record]) -> list[str]:
    """Records as people read them."""
    return [f"[{record.time:12.6f}] {record.text}" for record in records]


def log_check(findings: list[Finding], gaps: list[str]) -> Check:
    name = LOG_CLEAN
    if findings:
        return Check(name=name, verdict=Verdict.FAIL, reason=f"{findings[0].kind}: {findings[0].headline}")
    if gaps:
        return Check(name=name, verdict=Verdict.FAIL, reason=f"the log cannot be trusted: {gaps[0]}")
    return Check(name=name, verdict=Verdict.PASS)


def _joined(log: list[Finding], console: list[Finding]) -> list[Finding]:
    """What the log says, and what came too late for it: the console says all of it again, often more of it."""
    found = list(log)
    for heard in console:
        same = (n for n, each in enumerate(found) if each.kind == heard.kind and heard.headline in (each.headline, *each.trace))
        alike = (n for n, each in enumerate(found) if (each.kind, each.fingerprint) == (heard.kind, heard.fingerprint))
        known = next(same, next(alike, None))
        if known is None:
            found.append(heard)
        else:
            whole = max(found[known], heard, key=lambda each: len(each.trace))
            severity = max(found[known].severity, heard.severity)
            found[known] = replace(whole, count=found[known].count, severity=severity)
    return found


def _autopsy(worker: Worker, cell: Cell, watch: Watch, symptom: str) -> tuple[Stage, str]:
    """The target is lost, or something on it hangs: find out what its log and its console tell, then bring it back."""
    if worker.alive():
        # A command hangs: have the kernel say where (blocked tasks, and what every processor does).
        with suppress(GuestLostError, AssertionError):
            worker.guest.sh("echo w >/proc/sysrq-trigger; echo l >/proc/sysrq-trigger", check=False)
    state, boot = worker.target.state, worker.boot
    known = worker.guest.log.known(watch.mark)
    console = tail(worker.target.console, CONSOLE_MOST, watch.console)
    findings = _joined(classify(known, release=worker.release), classify_console(console, release=worker.release))
    cell.keep(findings)
    faults = sorted((each for each in findings if each.severity >= Severity.FAULT), key=lambda each: -each.severity)
    cell.log += lines_of(known)
    cell.checks.setdefault(Stage.LOG, []).append(log_check(faults, ["the machine was lost"]))
    cell.log += ["--- serial console", console]
    worker.doubt(cell)
    worker.restore()
    gone = any(check.name == UNLOADED for check in cell.checks.get(Stage.UNLOAD, ()))
    stage = Stage.UNLOAD if gone else Stage.LOAD
    if faults:
        return cell.explain(stage, f"{faults[0].kind}: {faults[0].headline}")
    if state is None:
        return cell.explain(stage, f"the machine went down without a word: {symptom}")
    if boot and state.boot != boot:
        return cell.explain(stage, f"the machine booted again by itself: {symptom}")
    if symptom.startswith(FLOODED):
        return cell.explain(Stage.LOG, symptom)
    return cell.explain(stage, f"hang: {symptom}")
