"""Who broke the machine? A fault that comes while one module is tested may be the work of one before it: of its timer, say.

A module that did not have the machine to itself is therefore tried again, alone on a fresh one. Where it passes, those that the
machine had held before it are tried, the newest first, and the machine is watched when each is gone, for longer than the fault
took to come. Where none of them is caught, either, the fault stays with the module that it came to: it was seen.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from kmodlab.ground.files import write_aside
from kmodlab.results import events
from kmodlab.results.contract import Cell, Stage, Verdict
from kmodlab.results.folder import Run
from kmodlab.verify.afterwards import CLOSING_SECONDS

SUSPECT_SECONDS = 60.0
"""A module that was done with earlier than that is not suspected: timers and work of drivers come within seconds."""
MOST_SUSPECTS = 5
"""So many are tried, the newest first."""
WHENS = ("when it had gone: ", "when its tests had ended: ")
"""What a reason may begin with, and says nothing of what it was."""
LONGER = 1.5
LONGER_SECONDS = 2.0
"""For how long a suspect is watched: the time that the fault took to come, so many times, and so much more."""


class Doubt(BaseModel):
    """A fault that came to one module's cell, and that others may have made."""

    model_config = ConfigDict(frozen=True)

    module: str
    suspects: dict[str, float]
    """The modules that the machine had held before, the newest first: seconds from the end of their cells to the fault."""
    starved: bool = False
    """Whether it may be nobody's: an emulated machine was too slow, and a machine that its host starves looks the same."""


_DOUBTS = TypeAdapter(list[Doubt])


def note(run: Run, kernel: str, doubts: list[Doubt]) -> None:
    """Keep what a kernel's worker is not certain of, for `settle`."""
    if doubts:
        path = _path(run, kernel)
        path.parent.mkdir(exist_ok=True)
        write_aside(path, _DOUBTS.dump_json(doubts).decode())


def settle(run: Run, kernel: str, try_alone: Callable[[str, float], None]) -> None:
    """Find out whose each doubtful fault is, and correct the records of the cells.

    `try_alone` does a module's cell again on a fresh machine, and watches that for so many seconds when the module is gone.
    """
    path = _path(run, kernel)
    if not path.exists():
        return
    doubts = _DOUBTS.validate_json(path.read_bytes())
    path.unlink()
    for doubt in doubts:
        first = _cell(run, kernel, doubt.module)
        if first.verdict is not Verdict.FAIL:
            continue  # the catalog expects it to fail
        why = "may have been starved" if doubt.starved else "did not have the machine to itself"
        _say(run, kernel, f"{doubt.module} {why}: it is tried again")
        try_alone(doubt.module, CLOSING_SECONDS)
        again = _cell(run, kernel, doubt.module)
        if again.verdict is Verdict.FAIL or (again.verdict is Verdict.PASS and _caught(run, first, doubt, try_alone)):
            continue
        _keep(run, first, starved=doubt.starved)


def _caught(run: Run, victim: Cell, doubt: Doubt, try_alone: Callable[[str, float], None]) -> bool:
    """Whether one of the suspects, the newest of them, does it again."""
    kernel = victim.kernel
    for module, seconds in list(doubt.suspects.items())[:MOST_SUSPECTS]:
        first = _cell(run, kernel, module)
        _say(run, kernel, f"{doubt.module} passes alone: {module} was on the machine before it, and is tried again")
        try_alone(module, seconds * LONGER + LONGER_SECONDS)
        again = _cell(run, kernel, module)
        if _did_it(victim, first, again):
            return True
        if first.verdict is Verdict.FAIL and again.verdict is not Verdict.FAIL:
            _keep(run, first)
    return False


def _did_it(victim: Cell, first: Cell, again: Cell) -> bool:
    """Whether a suspect that is alone does what came to the victim, or harms the machine in another way than it is known to.

    A test of its own that fails harms nobody; and a failure that was its own before, with other numbers in its reason, is no
    news. What the kernel says is known by its fingerprint, what the lab says by its first words.
    """
    if again.verdict is not Verdict.FAIL or again.stage is Stage.BEHAVIOUR:
        return False
    seen, own, now = (_faults(cell) for cell in (victim, first, again))
    if seen and now:
        return bool(now & seen) or bool(now - own)
    return _kind(again) == _kind(victim) or _kind(again) != _kind(first)


def _faults(cell: Cell) -> set[tuple[str, str]]:
    return {(each.kind, each.fingerprint) for each in cell.findings if each.severity != "notice"}


def _kind(cell: Cell) -> str:
    """What a failure is, without where, when and how much: `oops`, `with each load there is more`."""
    reason = cell.reason
    for when in WHENS:
        reason = reason.removeprefix(when)
    return reason.partition(":")[0].partition("(")[0].strip()


def _keep(run: Run, first: Cell, *, starved: bool = False) -> None:
    """A failure that was seen counts, even if it was not seen again; but what a starved lab can cause is then the lab's error."""
    verdict, again = (Verdict.ERROR, "the lab may have been too slow") if starved else (Verdict.FAIL, "")
    reason = f"{first.reason} (not so again on a fresh machine{again and f': {again}'})"
    run.record(first.kernel, first.module, first.stage, verdict, reason, findings=first.findings, amends=True)


def _cell(run: Run, kernel: str, module: str) -> Cell:
    return next(each for each in run.collect().cells if (each.kernel, each.module) == (kernel, module))


def _say(run: Run, kernel: str, text: str) -> None:
    events.emit(run.folder, kernel, "verify", "note", text=text)


def _path(run: Run, kernel: str) -> Path:
    return run.folder / "doubts" / f"{kernel}.json"
