"""The run folder, in which everything that a run finds out is written down, and from which its results are made.

A run is a folder, so that each stage can be a process of its own and a kill at any moment loses nothing:

    reports/latest -> 20261123T131939Z       the newest run
    reports/20261123T131939Z/
        run.json  plan.json                  when it started; which cells it owes
        cells/KERNEL/MODULE.json             what each stage recorded of a cell
        kernels/KERNEL.json                  a kernel by now: exact release, compiler, accelerator
        broken/KERNEL.json  stopped.json     why a kernel, or the run, came to nothing
        lost/KERNEL/MODULE.json              why one cell came to nothing: of runs that were merged of shards
        doubts/KERNEL.json                   faults of which it is not settled yet whose they are
        logs/KERNEL/MODULE.log               everything the stages said of a cell, oldest first
        results.json  junit.xml  index.html  made from the above by publish() and report.show()

How the stages of a cell join to one verdict, in this order:

1. a cell that the catalog skips is `skip`;
2. a `fail` at any stage makes it `fail`: the first one, in the order of `Stage`;
3. else an `error` makes it `error`, else a stage that was skipped makes it `skip`;
4. else a planned stage that nobody recorded makes it `error`: the lab lost it, or was stopped;
5. else it is `pass`.

A failure that the catalog expects counts as `pass` when it happened at the declared stage; the cell keeps it
as a check named "expected failure" with verdict `fail`. A cell that was to fail and passed is a `fail`: the
declaration is stale.

What a stage records again, in another pass or in a retrial, is another attempt: how the cell stood before is kept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from kmodlab import __version__
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import make_printable, printable, write_aside
from kmodlab.results.contract import (
    EXPECTED_FAILURE,
    LOG_CLEAN,
    Attempt,
    Cell,
    Check,
    Finding,
    Kernel,
    Mode,
    Model,
    ModuleInfo,
    Name,
    Results,
    Revision,
    Stage,
    Verdict,
    one_line,
    rfc3339,
)
from kmodlab.results.junit import junit

KERNEL_LOG = "=kernel"
MADE = (Stage.BUILD, Stage.SIGN, Stage.DEPLOY)
"""Stages that make something for all cells of a kernel at once."""
MOST_PLACES = 10
"""Of a finding, so many functions are kept."""


class Expected(Model):
    """A failure that the catalog declares: the stage at which the cell is to fail, and why."""

    stage: Stage
    reason: str
    matches: str = ""
    """A regular expression that the failure's own reason must match; empty for any that is no fault of the kernel's."""


class Planned(Model):
    """A cell that the run owes: the stages that must each be recorded, or the catalog's reason to skip it."""

    kernel: Name
    module: Name
    stages: list[Stage] = Field(default_factory=lambda: list(Stage))
    skip: str = ""
    expect: Expected | None = None


class Plan(Model):
    """Everything that the results will hold, whatever happens."""

    kernels: list[Kernel]
    modules: list[ModuleInfo]
    cells: list[Planned]
    mode: Mode | None = None
    revision: Revision | None = None


class _Started(Model):
    run: str
    started: datetime
    kmodlab: str


class _Record(Model):
    """What one stage found out about one cell."""

    verdict: Verdict
    reason: str
    seconds: float
    checks: list[Check]
    findings: list[Finding] = Field(default_factory=list)
    at: datetime
    attempt: int = 1


class _Records(Model):
    stages: dict[Stage, _Record] = Field(default_factory=dict)
    attempt: int = 1
    """The number of the newest."""
    earlier: list[Attempt] = Field(default_factory=list)
    amended: bool = False
    """Whether the stages say what was decided of the attempts, and are none themselves."""


class _Broken(Model):
    stage: Stage
    reason: str
    log: str
    at: datetime


class _Stopped(Model):
    reason: str
    at: datetime


_AnyModel = TypeVar("_AnyModel", bound=Model)


def read(path: Path, model: type[_AnyModel]) -> _AnyModel:
    """A file of the run folder; FileNotFoundError where there is none, LabError where it is damaged."""
    try:
        return model.model_validate_json(path.read_bytes())
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise LabError(f"{path}: {where}: {one_line(first['msg'])}", hint="this run cannot be read, start another") from problem


def _read_if_there(path: Path, model: type[_AnyModel]) -> _AnyModel | None:
    return read(path, model) if path.exists() else None


def write(path: Path, model: Model) -> None:
    """Write a file of the run folder, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, model.model_dump_json(by_alias=True, indent=1) + "\n")


class Run:
    """A run folder. Any number of processes may have it open; each cell has one writer at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self._started = read(folder / "run.json", _Started)
        except (FileNotFoundError, NotADirectoryError) as problem:
            raise LabError(
                f"{folder} is no run folder: it has no run.json", hint="runs are in reports/, made by `make matrix`"
            ) from problem

    @property
    def id(self) -> str:
        """The name of the folder when it was made: its UTC timestamp."""
        return self._started.run

    @property
    def started(self) -> datetime:
        """When."""
        return self._started.started

    @property
    def kmodlab(self) -> str:
        """The version that made it."""
        return self._started.kmodlab

    @classmethod
    def create(cls, reports: Path, *, started: datetime | None = None) -> Run:
        """A new run folder, and `latest` pointing to it. It started now, if not said otherwise: its shards did before."""
        now = datetime.now(UTC)
        folder = _new_folder(reports, f"{now:%Y%m%dT%H%M%SZ}")
        write(folder / "run.json", _Started(run=folder.name, started=started or now, kmodlab=__version__))
        _point(reports / "latest", folder.name)
        return cls(folder)

    @classmethod
    def open(cls, path: Path) -> Run:
        """A run that is there. `latest` is resolved now: a newer run must not take its place midway."""
        return cls(path.resolve())

    @property
    def published(self) -> bool:
        """Whether it came to its end."""
        return (self.folder / "results.json").is_file()

    def previous(self) -> Results | None:
        """The results of the newest run before this one that has any."""
        return newest_results(self.folder.parent, before=self.folder.name)

    @cached_property
    def planned(self) -> Plan:
        """The plan; a LabError where none was made yet."""
        try:
            return read(self.folder / "plan.json", Plan)
        except FileNotFoundError as problem:
            raise LabError(
                f"run {self.id} has no plan.json: it was stopped before it was planned", hint="start another"
            ) from problem

    def plan(
        self,
        kernels: Iterable[Kernel],
        modules: Iterable[ModuleInfo],
        cells: Iterable[Planned],
        *,
        mode: Mode | None = None,
        revision: Revision | None = None,
    ) -> Plan:
        """Write down what this run owes. ValueError for one twice or of no kernel or module here."""
        plan = Plan(kernels=list(kernels), modules=list(modules), cells=list(cells), mode=mode, revision=revision)
        ids, names = {kernel.id for kernel in plan.kernels}, {module.name for module in plan.modules}
        for (kernel, module), times in Counter((cell.kernel, cell.module) for cell in plan.cells).items():
            if times > 1 or kernel not in ids or module not in names:
                raise ValueError(f"the plan has {module} on {kernel} {times} times, or not its module or kernel")
        write(self.folder / "plan.json", plan)
        self.__dict__.pop("planned", None)
        return plan

    @cached_property
    def _owed(self) -> dict[tuple[str, str], Planned]:
        return {(cell.kernel, cell.module): cell for cell in self.planned.cells}

    def note_kernel(self, kernel: str, **facts: str) -> None:
        """Add what has become known of a kernel: `release`, `compiler`, `accel`, `host` or `distribution`."""
        current = next(each for each in self._kernels() if each.id == kernel)
        write(self.folder / f"kernels/{kernel}.json", Kernel.model_validate({**current.model_dump(), **facts}))

    def record(
        self,
        kernel: str,
        module: str,
        stage: Stage,
        verdict: Verdict,
        reason: str = "",
        *,
        seconds: float = 0.0,
        checks: Iterable[Check] = (),
        findings: Iterable[Finding] = (),
        log_text: str = "",
        amends: bool = False,
    ) -> None:
        """Write down what a stage found out about a cell, whole. What it recorded before becomes an earlier attempt.

        A check that failed outranks the verdict given. `log_text` is added to the cell's log, after that of
        earlier attempts. `amends`: this is no attempt, but what was decided of them. ValueError for a cell that was never
        planned.
        """
        if (kernel, module) not in self._owed:
            raise ValueError(f"{module} on {kernel} is not in the plan of run {self.id}")
        checks = [check.model_copy(update={"reason": one_line(check.reason), "stage": stage}) for check in checks]
        failed = next((check for check in checks if check.verdict is Verdict.FAIL), None)
        if failed and verdict is not Verdict.FAIL:
            verdict, reason = Verdict.FAIL, f"{failed.name}: {failed.reason}"
        if verdict is not Verdict.PASS and not reason:
            reason = "no reason given, see the log"
        record = _Record(
            verdict=verdict,
            reason="" if verdict is Verdict.PASS else one_line(reason),
            seconds=seconds,
            checks=checks,
            findings=[_bounded(finding) for finding in findings],
            at=datetime.now(UTC),
        )
        path = self.folder / f"cells/{kernel}/{module}.json"
        earlier = _read_if_there(path, _Records) or _Records()
        write(path, _recorded(self._owed[kernel, module], earlier, stage, record, amends=amends))
        if log_text:
            self._log(kernel, module, f"== {stage}: {verdict} ({rfc3339(record.at)})\n{log_text.rstrip()}\n\n")

    def break_kernel(self, kernel: str, stage: Stage, reason: str, *, log_text: str = "") -> None:
        """Say why a kernel's cells are errors where not recorded yet: no image (`build`), no VM (`deploy`).

        Cells that are recorded after all, by a retry, are not touched by it.
        """
        log = self._log(kernel, KERNEL_LOG, f"== {reason}\n{log_text.rstrip()}\n\n") if log_text else ""
        broken = _Broken(stage=stage, reason=one_line(reason), log=log, at=datetime.now(UTC))
        write(self.folder / f"broken/{kernel}.json", broken)

    def lose(self, cell: Cell) -> None:
        """Say why a single cell is an error where nobody recorded one, in another run's words: stage, reason and log."""
        lost = _Broken(stage=cell.stage, reason=one_line(cell.reason), log=cell.log, at=self.started)
        write(self.folder / f"lost/{cell.kernel}/{cell.module}.json", lost)

    def stop(self, reason: str = "interrupted") -> None:
        """Say why no more cells will be recorded in this run."""
        write(self.folder / "stopped.json", _Stopped(reason=one_line(reason), at=datetime.now(UTC)))

    @property
    def stopped(self) -> str:
        """Why no more cells were recorded; empty where it came to its end."""
        found = _read_if_there(self.folder / "stopped.json", _Stopped)
        return found.reason if found else ""

    def _log(self, kernel: str, name: str, text: str) -> str:
        relative = f"logs/{kernel}/{name}.log"
        path = self.folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(printable(text))
        return relative

    def _kernels(self) -> list[Kernel]:
        return [_read_if_there(self.folder / f"kernels/{k.id}.json", Kernel) or k for k in self.planned.kernels]

    def collect(self) -> Results:
        """Join everything recorded so far, changing nothing. Every planned cell is there, come what may."""
        plan = self.planned
        broken = {k.id: _read_if_there(self.folder / f"broken/{k.id}.json", _Broken) for k in plan.kernels}
        stopped = _read_if_there(self.folder / "stopped.json", _Stopped)
        records = {(c.kernel, c.module): self._records(c) for c in plan.cells}
        moments = [record.at for each in records.values() for record in each.stages.values()]
        moments += [each.at for each in (*broken.values(), stopped) if each]
        return Results(
            run=self.id,
            started=rfc3339(self._started.started),
            seconds=_seconds(max(((m - self._started.started).total_seconds() for m in moments), default=0.0)),
            kmodlab=self._started.kmodlab,
            mode=plan.mode,
            revision=plan.revision,
            kernels=self._kernels(),
            modules=plan.modules,
            cells=[self._cell(c, records[c.kernel, c.module], self._lost(c) or broken[c.kernel], stopped) for c in plan.cells],
        )

    def _lost(self, planned: Planned) -> _Broken | None:
        return _read_if_there(self.folder / f"lost/{planned.kernel}/{planned.module}.json", _Broken)

    def _records(self, planned: Planned) -> _Records:
        """What the stages recorded of a cell. A file that cannot be read costs no other cell."""
        try:
            found = _read_if_there(self.folder / f"cells/{planned.kernel}/{planned.module}.json", _Records)
        except LabError as problem:
            lost = _Record(
                verdict=Verdict.ERROR,
                reason=one_line(f"the lab lost this cell: {problem}"),
                seconds=0,
                checks=[],
                at=self._started.started,
            )
            return _Records(stages={planned.stages[0]: lost})
        return found or _Records()

    def _cell(self, planned: Planned, found: _Records, broken: _Broken | None, stopped: _Stopped | None) -> Cell:
        log = f"logs/{planned.kernel}/{planned.module}.log"
        records = found.stages
        current = _attempt(planned, records)
        cell = Cell(
            kernel=planned.kernel,
            module=planned.module,
            checks=[check for stage in Stage if stage in records for check in records[stage].checks],
            log=log if (self.folder / log).exists() else "",
            attempts=[*found.earlier, *([current] if records and not found.amended else [])],
            **dict(current),
        )
        if cell.verdict is Verdict.ERROR and cell.stage not in records:
            if broken:
                return cell.model_copy(update={"stage": broken.stage, "reason": broken.reason, "log": cell.log or broken.log})
            if stopped:
                return cell.model_copy(update={"reason": stopped.reason})
        return _against_expectation(cell, planned.expect) if planned.expect else cell

    def verdicts(self, kernel: str) -> dict[str, dict[Stage, Verdict]]:
        """What has been recorded of each planned module of a kernel so far, by name and stage."""
        return {
            cell.module: {stage: record.verdict for stage, record in self._records(cell).stages.items()}
            for cell in self.planned.cells
            if cell.kernel == kernel
        }

    def decided(self, kernel: str, stages: Iterable[Stage]) -> set[str]:
        """The modules of a kernel of which all of these stages that are planned are recorded, and none as the lab's error."""
        wanted, verdicts = set(stages), self.verdicts(kernel)
        owed = {cell.module: wanted & set(cell.stages) for cell in self.planned.cells if cell.kernel == kernel}
        found = {name: {stage: verdicts[name].get(stage, Verdict.ERROR) for stage in each} for name, each in owed.items()}
        return {name for name, each in found.items() if Verdict.ERROR not in each.values()}

    def publish(self) -> Results:
        """Collect, and write results.json and junit.xml. What programs of ours logged themselves can be looked at from now on."""
        results = self.collect()
        for log in (self.folder / "ansible.log", *self.folder.glob("logs/*/*.log")):
            if log.is_file():
                make_printable(log)
        write_aside(self.folder / "results.json", results.model_dump_json(by_alias=True, indent=1) + "\n")
        write_aside(self.folder / "junit.xml", junit(results, self.folder))
        return results


def load_results(run_dir: Path) -> Results:
    """A run's results.json, made from its folder first where it was killed before it could publish."""
    path = run_dir / "results.json"
    return read(path, Results) if path.exists() else Run.open(run_dir).publish()


def newest_results(reports: Path, *, before: str = "") -> Results | None:
    """Those of the newest run in a folder of runs that has any, or of the newest before the one of that id; ids sort by time."""
    for path in sorted(reports.glob("*/results.json"), reverse=True):
        if not path.parent.is_symlink() and (not before or path.parent.name < before):
            try:
                return read(path, Results)
            except LabError:  # of another schema, or damaged: an older one will do
                continue
    return None


def _seconds(value: float) -> float:
    return round(value, 3)


def _new_folder(reports: Path, name: str) -> Path:
    for attempt in range(1, 100):
        folder = reports / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as problem:
            raise LabError(
                f"cannot make the run folder {folder}: {problem.strerror}", hint="free the disk or mend its mode"
            ) from problem
        return folder
    raise LabError(f"{reports}: a hundred runs began in this second", hint="wait for one")


def _point(link: Path, target: str) -> None:
    aside = link.with_name(f".{link.name}.{target}")
    try:
        aside.symlink_to(target)
        aside.replace(link)
    except OSError as problem:
        aside.unlink(missing_ok=True)
        raise LabError(
            f"cannot point {link} to {target}: {problem.strerror}", hint="move what is there out of the way"
        ) from problem


def _recorded(planned: Planned, known: _Records, stage: Stage, record: _Record, *, amends: bool) -> _Records:
    """A cell's records with one more. Whether that begins another attempt depends on what the stage had recorded before."""
    before = known.stages.get(stage)
    same = before and (before.verdict, before.reason) == (record.verdict, record.reason)
    # What is built and signed is built and signed again for others' sake, and who is blocked is told so whenever it is asked.
    again = before and not (same and (stage in MADE or record.verdict is Verdict.SKIP))
    number = known.attempt if amends or not before else before.attempt + bool(again)
    earlier = known.earlier
    if not known.amended and known.stages and (amends or number > known.attempt):
        earlier = [*earlier, _attempt(planned, known.stages)]
    return _Records(
        stages={**known.stages, stage: record.model_copy(update={"attempt": number})},
        attempt=max(number, known.attempt),
        earlier=earlier,
        amended=amends or (known.amended and number <= known.attempt),
    )


def _attempt(planned: Planned, records: Mapping[Stage, _Record]) -> Attempt:
    return Attempt(
        seconds=_seconds(sum(record.seconds for record in records.values())),
        findings=[finding for stage in Stage if stage in records for finding in records[stage].findings],
        **_joined(planned, records),
    )


def _bounded(finding: Finding) -> Finding:
    """A finding as the contract wants it: its words are the kernel's, and may be a module's."""
    return finding.model_copy(
        update={"headline": one_line(finding.headline), "where": [one_line(each) for each in finding.where[:MOST_PLACES]]}
    )


def _joined(planned: Planned, records: Mapping[Stage, _Record]) -> dict[str, Any]:
    """Verdict, stage and reason of a cell: the rules at the top of this file."""
    if planned.skip:
        return {"verdict": Verdict.SKIP, "stage": planned.stages[0], "reason": one_line(planned.skip)}
    for verdict in (Verdict.FAIL, Verdict.ERROR, Verdict.SKIP):
        for stage in Stage:
            if stage in records and records[stage].verdict is verdict:
                return {"verdict": verdict, "stage": stage, "reason": records[stage].reason}
    for stage in planned.stages:
        if stage not in records:
            reason = f"the lab lost this cell: its stage {stage} recorded nothing"
            return {"verdict": Verdict.ERROR, "stage": stage, "reason": reason}
    return {"verdict": Verdict.PASS, "stage": planned.stages[-1], "reason": ""}


def _is_expected(cell: Cell, expected: Expected) -> bool:
    """Whether a failure at the right stage is the one that was meant: a panic is never expected by accident."""
    if expected.matches:
        return re.search(expected.matches, cell.reason) is not None
    return not any(check.name == LOG_CLEAN and check.verdict is Verdict.FAIL for check in cell.checks)


def _against_expectation(cell: Cell, expected: Expected) -> Cell:
    promise = f"expected to fail at {expected.stage} ({expected.reason})"
    if cell.verdict is Verdict.PASS:
        reason = f"{promise}: passed; drop the expectation from the catalog"
        return cell.model_copy(update={"verdict": Verdict.FAIL, "stage": expected.stage, "reason": one_line(reason)})
    if cell.verdict is not Verdict.FAIL:
        return cell
    if cell.stage is not expected.stage or not _is_expected(cell, expected):
        return cell.model_copy(update={"reason": one_line(f"{cell.reason} (not as {promise})")})
    seen = Check(name=EXPECTED_FAILURE, verdict=Verdict.FAIL, reason=one_line(f"{expected.reason}: {cell.reason}"))
    return cell.model_copy(update={"verdict": Verdict.PASS, "reason": "", "checks": [*cell.checks, seen]})
