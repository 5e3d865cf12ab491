"""Where a cell stands after each of its nights: newly broken or still, fixed, flaky, and who changed.

A failure is news where something changed since the last pass: the module's sources, or the kernel's release. Where nothing
did, one failure proves nothing: the cell is flaky until it has failed `SOLID` times in a row. Whoever flipped without a cause
is in quarantine until it has passed `STABLE` times in a row. A crash is news always. Nights on which the lab erred, or the
cell was skipped, say nothing of it: they are shown, and change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from kmodlab.history.row import Row

STABLE = 15
"""So many passes in a row end a quarantine (NIPA: apply_stability counts more than 15)."""
SOLID = 3
"""So many failing tries in a row are no flake any more."""
LINE = 60
"""Of a cell's nights, so many are kept at hand as signs."""
SIGNS = {"pass": ".", "fail": "F", "error": "!", "skip": "-"}


class State(StrEnum):
    """What a person is told of a cell."""

    NEWLY_BROKEN = "newly broken"
    STILL_BROKEN = "still broken"
    FIXED = "fixed"
    FLAKY = "flaky"
    """It flipped tonight, and nothing had changed."""
    UNSTABLE = "unstable"
    """It flipped without a cause not long ago; what it does does not count yet."""
    NEVER_PASSED = "never passed"
    FIRST_SEEN = "first seen"
    PASSING = "passing"
    BLOCKED = "blocked"
    """Skipped, for what it needs failed."""
    SKIPPED = "skipped"
    """By the catalog."""
    UNPROVED = "not proved"
    """The lab erred."""


class Blame(StrEnum):
    """What changed between the last pass and the first failure."""

    KERNEL = "the kernel"
    MODULE = "the module"
    EITHER = "the kernel or the module"
    LAB = "kmodlab itself"
    NOTHING = "nothing changed: flaky, or the lab"
    UNKNOWN = ""


class Seen(NamedTuple):
    """When a cell was seen, and what it was made of then."""

    run: str
    release: str
    digest: str
    lab: str

    @classmethod
    def of(cls, row: Row) -> Seen:
        """As that row has it."""
        return cls(row.run, row.release, row.digest, row.lab)


class Memory(NamedTuple):
    """A cell after its newest row. `since` is the run in which it began to fail, or to pass.

    Half a million are made for a page of a year: what is copied with a change is a tuple.
    """

    state: State
    first: str
    since: str
    run: str
    passed: Seen | None = None
    """Its last pass."""
    failed: Seen | None = None
    """Its last failure."""
    passes: int = 0
    """In a row."""
    tries: int = 0
    """That failed in a row, second tries of a night included."""
    told: bool = False
    """Whether it was told that it fails."""
    crashes: tuple[str, ...] = ()
    """Fingerprints of the crashes that were told since it passed."""
    quarantined: bool = False
    blame: str = ""
    line: str = ""
    """A sign for each of its last nights, the newest last."""
    reason: str = ""
    """The first words of its last failure."""


Cells = dict[tuple[str, str], Memory]


def blame(passed: Seen | None, failed: Row) -> Blame:
    """Who changed since it passed."""
    if not passed:
        return Blame.UNKNOWN
    kernel, module = passed.release != failed.release, passed.digest != failed.digest
    if kernel or module:
        return Blame.EITHER if kernel and module else Blame.KERNEL if kernel else Blame.MODULE
    return Blame.LAB if passed.lab != failed.lab else Blame.NOTHING


def fold(cells: Mapping[tuple[str, str], Memory], rows: Iterable[Row]) -> Cells:
    """The cells after one more run."""
    return {**cells, **{row.cell: after(cells.get(row.cell), row) for row in rows}}


def after(memory: Memory | None, row: Row) -> Memory:
    """A cell after one more row."""
    known = memory or Memory(state=State.FIRST_SEEN, first=row.run, since=row.run, run=row.run)
    known = known._replace(run=row.run, line=(known.line + SIGNS.get(row.verdict, "?"))[-LINE:])
    if row.verdict == "pass":
        return _after_pass(known, row)
    if row.verdict == "fail":
        return _after_failure(known, row)
    if row.verdict == "skip":
        return known._replace(state=State.BLOCKED if row.blocked else State.SKIPPED)
    return known._replace(state=State.UNPROVED)


def _after_pass(known: Memory, row: Row) -> Memory:
    passes = known.passes + 1
    quarantined = known.quarantined and passes < STABLE
    now = known._replace(passes=passes, tries=0, told=False, crashes=(), passed=Seen.of(row), blame="", reason="")
    if known.tries:
        failed = known.failed
        by_itself = bool(failed and (failed.release, failed.digest) == (row.release, row.digest))
        state = State.FIXED if known.told or not known.passed else State.FLAKY
        return now._replace(state=state, since=row.run, quarantined=quarantined or by_itself or state is State.FLAKY)
    if not known.passed:
        return now._replace(state=State.FIRST_SEEN, since=row.run)
    return now._replace(state=State.UNSTABLE if quarantined else State.PASSING, quarantined=quarantined)


def _after_failure(known: Memory, row: Row) -> Memory:
    begins = not known.tries
    who = blame(known.passed, row) if begins else Blame(known.blame)
    tries = known.tries + 1 + (row.again == "fail")
    state = _broken(known, row, who, tries, begins)
    told = known.told or state is State.NEWLY_BROKEN
    crashes = (*known.crashes, row.fingerprint) if row.crash and row.fingerprint not in known.crashes else known.crashes
    return known._replace(
        state=state,
        since=row.run if begins else known.since,
        failed=Seen.of(row),
        passes=0,
        tries=tries,
        told=told,
        crashes=crashes,
        quarantined=known.quarantined or state is State.FLAKY,
        blame=who.value,
        reason=row.reason,
    )


def _broken(known: Memory, row: Row, who: Blame, tries: int, begins: bool) -> State:
    caused = who in (Blame.KERNEL, Blame.MODULE, Blame.EITHER)
    if row.crash and row.fingerprint not in known.crashes:
        return State.NEWLY_BROKEN
    if known.told:
        return State.STILL_BROKEN
    if not known.passed:
        return State.NEVER_PASSED
    if row.again != "pass" and (tries >= SOLID or (begins and caused and not known.quarantined)):
        return State.NEWLY_BROKEN
    return State.UNSTABLE if caused and known.quarantined and row.again != "pass" else State.FLAKY
