"""A night against those before it: what is new, what is known, what the lab could not do, and the exit status that says so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from kmodlab.history.known import KnownIssue, Stale, stale
from kmodlab.history.row import Night, Row
from kmodlab.history.series import Series, read_file
from kmodlab.history.states import Blame, Cells, Memory, State, fold


class FailOn(StrEnum):
    """What makes a night red."""

    NEW = "new"
    ANY = "any"


@dataclass(frozen=True)
class Change:
    """A cell of which something is to be said tonight."""

    row: Row
    memory: Memory
    before: Memory | None
    known: KnownIssue | None = None

    @property
    def where(self) -> str:
        """`chardev on 6.12-x86_64`"""
        return f"{self.row.module} on {self.row.kernel}"

    @property
    def line(self) -> str:
        """What became of it, in one line: state, since when, at which stage, why, and who changed."""
        state, row = self.memory.state, self.row
        words = f"{self.where}: {state}"
        if state in (State.STILL_BROKEN, State.NEVER_PASSED):
            words += f" since {self.memory.since}"
        if row.verdict == "fail":
            words += f", at {row.stage}: {row.reason}"
            words += f" [{self.cause}]" if self.cause else ""
        elif row.verdict in ("error", "skip"):
            words += f": {row.reason}"
        return words + (f" [known: {self.known}]" if self.known else "")

    @property
    def cause(self) -> str:
        """Who changed before it failed: `changed: the kernel`."""
        who = self.memory.blame
        return f"changed: {who}" if who not in ("", Blame.NOTHING) else who

    @property
    def changed(self) -> str:
        """From what to what, where something changed since its last pass: `kernel 6.12.117 to 6.12.118`."""
        passed, row = self.memory.passed if self.row.verdict == "fail" else self.memory.failed, self.row
        if not passed:
            return ""
        pairs = (("kernel", passed.release, row.release), ("module", passed.digest, row.digest), ("kmodlab", passed.lab, row.lab))
        return ", ".join(f"{what} {old or '?'} to {new or '?'}" for what, old, new in pairs if old != new)


@dataclass(frozen=True)
class Tonight:
    """The newest night of a series."""

    night: Night
    changes: list[Change]
    """Of every cell of the night."""
    earlier: Night | None
    stale: list[Stale]

    def of(self, *states: State, known: bool = False) -> list[Change]:
        """The cells in one of these states whose failure is known of, or is not."""
        return [each for each in self.changes if each.memory.state in states and (each.known is not None) is known]

    @property
    def broken(self) -> list[Change]:
        """What worked and does not: the reason for the whole."""
        return self.of(State.NEWLY_BROKEN)

    @property
    def fixed(self) -> list[Change]:
        """What was told to be broken, or never worked, and works."""
        return self.of(State.FIXED)

    @property
    def newcomers(self) -> list[Change]:
        """Cells that fail on their first night."""
        return [each for each in self.of(State.NEVER_PASSED) if each.memory.since == self.night.run]

    @property
    def known(self) -> list[Change]:
        """Failures that somebody knows of."""
        return [each for each in self.changes if each.known]

    @property
    def unproved(self) -> list[Change]:
        """Cells of which the lab can say nothing."""
        return self.of(State.UNPROVED)

    @property
    def gone(self) -> list[str]:
        """Kernels of the night before that are not in this one."""
        return [kernel for kernel in self.earlier.releases if kernel not in self.night.releases] if self.earlier else []

    @property
    def troubles(self) -> list[str]:
        """The lab's, each a line."""
        lines = list(self.night.troubles)
        lines += [f"kernel {kernel} was in the night before, and is not in this one" for kernel in self.gone]
        if self.unproved:
            lines.append(f"{_cells(len(self.unproved))} could not be proved; the first, {self.unproved[0].line}")
        return lines if self.changes else [*lines, "nothing ran"]

    @property
    def news(self) -> bool:
        """Whether anybody is to be told: something broke or works again, or the lab is newly in trouble."""
        fresh = bool(self.troubles) and not (self.earlier and self.earlier.troubles) and not self._unproved_before
        return bool(self.broken or self.fixed or self.newcomers or fresh)

    @property
    def _unproved_before(self) -> bool:
        return any(each.before is not None and each.before.state is State.UNPROVED for each in self.changes)

    def exit_status(self, fail_on: FailOn = FailOn.NEW) -> int:
        """1 where something is newly broken (or anything fails, if asked so), else 2 where the lab is in trouble, else 0."""
        failing = [each for each in self.changes if each.row.verdict == "fail" and not each.known]
        if self.broken or (fail_on is FailOn.ANY and failing):
            return 1
        return 2 if self.troubles else 0

    @property
    def headline(self) -> str:
        """`2 newly broken, 1 fixed: 128 cells, 120 passed`"""
        counts = (
            (len(self.broken), "newly broken"),
            (len(self.fixed), "fixed"),
            (len(self.of(State.STILL_BROKEN)), "still broken"),
            (len(self.of(State.FLAKY)), "flaky"),
            (len(self.known), "known"),
            (len(self.unproved), "not proved"),
        )
        said = ", ".join(f"{number} {word}" for number, word in counts if number) or "nothing new"
        passed = sum(each.row.verdict == "pass" for each in self.changes)
        return f"{said}: {_cells(len(self.changes))}, {passed} passed"


def tonight(series: Series, known: list[KnownIssue], today: date, run: str = "") -> Tonight | None:
    """The newest night of a series, or that of a run; None where there is none."""
    files = series.files()
    names = [path.stem for path in files]
    if not files or (run and run not in names):
        return None
    at = names.index(run) if run else len(files) - 1
    night, rows = read_file(files[at])
    before = series.cells(names[at - 1]) if at else {}
    now = fold(before, rows)
    changes = [Change(row, now[row.cell], before.get(row.cell), _explained(row, known, today)) for row in rows]
    return Tonight(night, changes, read_file(files[at - 1])[0] if at else None, stale(known, _named(now, rows), today))


def _named(cells: Cells, rows: list[Row]) -> Cells:
    """Those of tonight: a kernel that has left the archive keeps no excuse alive."""
    asked = {row.cell for row in rows}
    return {cell: memory for cell, memory in cells.items() if cell in asked}


def _explained(row: Row, known: list[KnownIssue], today: date) -> KnownIssue | None:
    return next((issue for issue in known if issue.explains(row, today)), None)


def _cells(number: int) -> str:
    return "1 cell" if number == 1 else f"{number} cells"
