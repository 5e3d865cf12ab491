"""What became of every cell: the contract `results.json` (schema 1)."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

LOG_CLEAN = "kernel log clean"
"""The name of the check that the kernel's log holds no fault."""
EXPECTED_FAILURE = "expected failure"
"""The name of the check that an expected failure leaves in its cell."""

REASON_CHARACTERS = 500

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+-]*$", max_length=100)]
"""A kernel's id or a module's name: also the name of a file, so no slash and no leading dot."""


class Verdict(StrEnum):
    """See DESIGN: `fail` is the module's fault, `error` the lab's, `skip` declared in the catalog."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    SKIP = "skip"
    ERROR = "error"


class Stage(StrEnum):
    """What a cell goes through, in this order."""

    BUILD = "build"
    SIGN = "sign"
    DEPLOY = "deploy"
    LOAD = "load"
    BEHAVIOUR = "behaviour"
    UNLOAD = "unload"
    LOG = "log"


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Kernel(Model):
    """A kernel as it was tested. What is not known yet is empty."""

    id: Name
    release: str = ""
    arch: str
    distribution: str = ""
    accel: Literal["", "kvm", "tcg", "hardware"] = ""
    host: str = ""
    compiler: str = ""


class ModuleInfo(Model):
    """A module as it was tested: its first source, from the repository's root, and the sha256 of all."""

    name: Name
    source: str
    sha256: str


class Check(Model):
    """One promise, looked at."""

    name: str
    verdict: Verdict
    reason: str = ""


class Cell(Model):
    """One module on one kernel. `stage` is where it ended, `log` a path from the run folder, "" for none."""

    kernel: Name
    module: Name
    verdict: Verdict
    stage: Stage
    reason: str = ""
    seconds: float = 0.0
    checks: list[Check] = []
    log: str = ""

    @property
    def failed_as_expected(self) -> bool:
        """A pass only because the catalog declares the failure that was seen."""
        return self.verdict is Verdict.PASS and any(check.name == EXPECTED_FAILURE for check in self.checks)


class Results(Model):
    """`results.json`. Dump it with `by_alias=True`."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    run: str
    started: str
    seconds: float
    kmodlab: str
    kernels: list[Kernel]
    modules: list[ModuleInfo]
    cells: list[Cell]

    @property
    def count(self) -> Counter[Verdict]:
        """How many cells have each verdict."""
        return Counter(cell.verdict for cell in self.cells)

    @property
    def exit_status(self) -> int:
        """1 where any cell failed, else 2 where the lab erred or nothing was planned, else 0.

        A failure outranks an error: it is the module's, and stays true however the lab fares next time.
        """
        if self.count[Verdict.FAIL]:
            return 1
        return 2 if self.count[Verdict.ERROR] or not self.cells else 0


def one_line(text: str) -> str:
    """A reason as the contract wants it: one line, at most 500 characters, none that drives a terminal."""
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))
    return line if len(line) <= REASON_CHARACTERS else f"{line[: REASON_CHARACTERS - 1]}…"


def rfc3339(moment: datetime) -> str:
    """A moment in UTC to the second, 2026-11-23T13:19:39Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
