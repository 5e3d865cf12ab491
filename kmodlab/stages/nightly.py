"""A night: a run, second tries of what is news, its rows added to the series, its page written, and who is to know told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from kmodlab.ground.errors import LabError
from kmodlab.ground.files import remove_tree
from kmodlab.history import mail, site, told
from kmodlab.history.known import KnownIssue
from kmodlab.history.mail import Mail
from kmodlab.history.row import night_of, rows_of
from kmodlab.history.series import Series
from kmodlab.history.states import Cells, State, fold
from kmodlab.history.tonight import Tonight, tonight
from kmodlab.results.contract import Cell, Results, Stage
from kmodlab.results.folder import Run
from kmodlab.run.lab import Lab
from kmodlab.stages import planning
from kmodlab.stages.matrix import TIME_LIMIT, prove
from kmodlab.stages.request import Request

LEAST_TIME = 0.05
"""Hours that must be left for a second try."""
AGAIN = "again"
"""In a run's folder, the folder of its second tries: it goes with it."""
SECOND_TRY = (Stage.LOAD, Stage.BEHAVIOUR, Stage.UNLOAD, Stage.LOG)
"""At these stages a failure may be chance; a build that failed fails again."""


@dataclass(frozen=True)
class Telling:
    """Who is told of a change, and where the page is."""

    mail: Mail | None = None
    command: str = ""
    url: str = ""


@dataclass(frozen=True)
class Habits:
    """How the nights of a series go."""

    series: Series
    site: Path
    known: list[KnownIssue] = field(default_factory=list)
    hours: float = TIME_LIMIT
    keep: int = 30
    """So many runs' folders and logs are kept."""
    telling: Telling = Telling()


def settled(cells: Cells) -> frozenset[tuple[str, str, str, str]]:
    """The cells that nobody doubts: their newest word was a pass, and they are in no quarantine."""
    return frozenset(
        (kernel, memory.passed.release, module, memory.passed.digest)
        for (kernel, module), memory in cells.items()
        if memory.passed and not memory.tries and not memory.quarantined and memory.state is not State.UNPROVED
    )


def night(
    request: Request, reports: Path, habits: Habits, lock: int, say: Callable[[str], None], watched: Callable[[Lab], bool]
) -> Tonight | None:
    """All of it. None where nothing was to be done: nothing has changed. `watched` proves a run and shows its progress.

    LabError where the run could not be planned.
    """
    before = habits.series.cells()
    lab = planning.plan(replace(request, settled=settled(before)), reports)
    if not lab.run.planned.cells:
        remove_tree(lab.run.folder)
        return None
    began = time.monotonic()
    watched(lab)
    results = lab.run.publish()
    hours_left = habits.hours - (time.monotonic() - began) / 3600
    again = _second_tries(request, lab.run.folder / AGAIN, before, results, hours_left, lock, say)
    rows = rows_of(results, again)
    habits.series.append(night_of(results, troubles(lab.run, results, asked=request.refresh)), rows)
    site.keep_logs(habits.site, lab.run.folder, rows)
    return tell(habits, reports, results.run, say)


def tell(habits: Habits, reports: Path, run: str, say: Callable[[str], None]) -> Tonight:
    """Write the page of the series, forget old logs, and tell of the run where it has news. What cannot be told is said."""
    found = tonight(habits.series, habits.known, datetime.now(UTC).date(), run)
    if not found:
        raise LabError(f"run {run} is not in the series {habits.series.folder}")
    forget_runs(habits, reports)
    site.make(habits.site, habits.series, found, url=habits.telling.url)
    if found.news:
        for name, tried in _tellers(habits, found, reports / run):
            try:
                tried()
            except LabError as problem:
                say(f"warning: {name}: {problem}")
    return found


def _tellers(habits: Habits, found: Tonight, logs: Path) -> Iterable[tuple[str, Callable[[], None]]]:
    letter, command = habits.telling.mail, habits.telling.command
    if letter:
        yield "mail", lambda: mail.send(mail.message(found, letter, logs, habits.telling.url), letter)
    if command:
        yield "on-change", lambda: told.run_command(command, found)


def _second_tries(
    request: Request,
    reports: Path,
    before: Cells,
    results: Results,
    hours: float,
    lock: int,
    say: Callable[[str], None],
) -> list[Cell]:
    """What would be told as newly broken is proved once more, alone: who passes then is flaky."""
    after = fold(before, rows_of(results))
    news = [cell for cell in results.cells if after[cell.kernel, cell.module].state is State.NEWLY_BROKEN]
    suspects = [cell for cell in news if cell.stage in SECOND_TRY]
    if not suspects or hours < LEAST_TIME:
        return []
    kernels = dict.fromkeys(cell.kernel for cell in suspects)
    modules = dict.fromkeys(cell.module for cell in suspects)
    say(f"once more, for it is news: {' '.join(modules)} on {' '.join(kernels)}")
    again = replace(request, kernels=" ".join(kernels), only=" ".join(modules), refresh=False, changed=False)
    try:
        lab = planning.plan(again, reports)
        prove(lab, lock, hours)
    except LabError as problem:
        say(f"warning: no second try: {problem}")
        return []
    tried = {(cell.kernel, cell.module): cell for cell in lab.run.publish().cells}
    return [tried[cell.kernel, cell.module] for cell in suspects if (cell.kernel, cell.module) in tried]


def troubles(run: Run, results: Results, *, asked: bool) -> list[str]:
    """What the lab did with less than it was to: each a line."""
    lines = [f"the night was cut short: {run.stopped}"] if run.stopped else []
    for kernel in results.kernels:
        if asked and kernel.stale:
            lines.append(f"{kernel.id}: the archive was not reached, {kernel.release} is what it had at {kernel.asked}")
    return lines


def forget_runs(habits: Habits, reports: Path) -> None:
    """Remove the folders of runs that are in the series, and older than those to keep. Nobody else's run is touched."""
    names = [path.stem for path in habits.series.files()]
    kept = set(names[-habits.keep :])
    for name in names:
        folder = reports / name
        if name not in kept and folder.is_dir() and not folder.is_symlink():
            remove_tree(folder)
    site.forget_logs(habits.site, kept)
