"""What is kept of a run for ever: one line for the night, and one for each of its cells."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kmodlab.results.contract import Cell, Results, Verdict

DIGITS = 16
"""Of a module's sha256, so many digits are kept: enough to tell two apart."""
REASON = 200
"""Characters of a reason that are kept: its first words."""
BLOCKED = re.compile(r"needs .+, which (?!this host )")
"""So begins the reason of a cell that was skipped because another one failed; the catalog's own reasons do not."""


@dataclass(frozen=True, slots=True)
class Row:
    """One cell in one run. What is not known is empty."""

    run: str
    kernel: str
    module: str
    verdict: str
    stage: str = ""
    release: str = ""
    """The kernel's exact release."""
    digest: str = ""
    """Of the module's sources."""
    lab: str = ""
    """kmodlab's own revision, or its version."""
    reason: str = ""
    kind: str = ""
    """The class of the finding that decided."""
    fingerprint: str = ""
    crash: bool = False
    """Whether the kernel could not go on after it, or cannot be believed any more."""
    again: str = ""
    """The verdict of a second try in the same night, made because the first was news."""
    seconds: float = 0.0
    attempts: int = 1
    log: str = ""
    """Its path in the run's folder."""

    @property
    def cell(self) -> tuple[str, str]:
        """The kernel's id and the module's name: what has a history."""
        return self.kernel, self.module

    @property
    def blocked(self) -> bool:
        """Skipped, not by the catalog, but because what it needs failed."""
        return self.verdict == "skip" and BLOCKED.match(self.reason) is not None


@dataclass(frozen=True, slots=True)
class Night:
    """A run as a whole."""

    run: str
    started: str = ""
    seconds: float = 0.0
    kmodlab: str = ""
    revision: str = ""
    modules: str = ""
    """The digest of all files of the modules' folder."""
    mode: dict[str, Any] = field(default_factory=dict)
    releases: dict[str, str] = field(default_factory=dict)
    """The release of each kernel, by id; empty where it is not known."""
    troubles: list[str] = field(default_factory=list)
    """What the lab could not do, or did with less than it was to: each a line for a person."""


def kept(value: Row | Night) -> dict[str, Any]:
    """As it is written down: what has its ordinary value is left out."""
    return {
        name: content
        for name in value.__slots__
        if (content := getattr(value, name)) and not (name == "attempts" and content == 1)
    }


def rows_of(results: Results, again: Iterable[Cell] = ()) -> list[Row]:
    """A run's rows; `again` are cells that were tried a second time for being news."""
    releases = {kernel.id: kernel.release for kernel in results.kernels}
    digests = {module.name: module.sha256[:DIGITS] for module in results.modules}
    second = {(cell.kernel, cell.module): cell.verdict.value for cell in again}
    lab = (results.revision and results.revision.kmodlab) or results.kmodlab
    return [
        _row(cell, results.run, releases.get(cell.kernel, ""), digests.get(cell.module, ""), lab, second)
        for cell in results.cells
    ]


def _row(cell: Cell, run: str, release: str, digest: str, lab: str, second: dict[tuple[str, str], str]) -> Row:
    worst = {"notice": 0, "fault": 1, "fatal": 2}
    faults = sorted((each for each in cell.findings if each.severity != "notice"), key=lambda each: -worst[each.severity])
    first = faults[0] if faults and cell.verdict is Verdict.FAIL else None
    return Row(
        run=run,
        kernel=cell.kernel,
        module=cell.module,
        verdict=cell.verdict.value,
        stage=cell.stage.value,
        release=release,
        digest=digest,
        lab=lab,
        reason=cell.reason[:REASON],
        kind=first.kind if first else "",
        fingerprint=first.fingerprint if first else "",
        crash=bool(first and first.severity == "fatal"),
        again=second.get((cell.kernel, cell.module), ""),
        seconds=round(cell.seconds, 2),
        attempts=max(1, len(cell.attempts)),
        log=cell.log,
    )


def night_of(results: Results, troubles: Iterable[str] = ()) -> Night:
    """What is kept of the run itself."""
    return Night(
        run=results.run,
        started=results.started,
        seconds=results.seconds,
        kmodlab=results.kmodlab,
        revision=results.revision.kmodlab if results.revision else "",
        modules=results.revision.modules if results.revision else "",
        mode=results.mode.model_dump() if results.mode else {},
        releases={kernel.id: kernel.release for kernel in results.kernels},
        troubles=list(troubles),
    )
