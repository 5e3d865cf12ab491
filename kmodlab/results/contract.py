"""What became of every cell: the contract `results.json` (schema 2; what schema 1 wrote is read, too)."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

LOG_CLEAN = "kernel log clean"
REACHED = "lines of C that its tests reach"
"""The check that is no promise: how many lines ran, of how many, and which did not."""
"""The name of the check that the kernel's log holds no fault."""
EXPECTED_FAILURE = "expected failure"
"""The name of the check that an expected failure leaves in its cell."""
NO_TEST = "no test of its own"
"""The name of the check of a behaviour stage to which nobody has written a test."""

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
    accel: Literal["", "kvm", "tcg", "hardware", "uml"] = ""
    host: str = ""
    compiler: str = ""
    asked: str = ""
    """When the archive was asked which version it is, RFC 3339; empty where no archive was."""
    stale: bool = False
    """Whether the archive was asked for this run, too, and was not reached: the release is what it had then."""


class ModuleInfo(Model):
    """A module as it was tested: its first source, from the repository's root, and the sha256 of all."""

    name: Name
    source: str
    sha256: str


class Mode(Model):
    """What a run was asked to do, beside its kernels and modules."""

    quick: bool = False
    """Life cycles only, no behaviour tests."""
    stress: int = 0
    """How often each module was loaded beside its tests."""
    checks: bool = False
    """On kernels that check their memory."""
    faults: bool = False
    """Each allocation of a module's load failed once, where the kernel can do that."""
    coverage: bool = False
    """The lines that were reached were counted, where the kernel can keep that."""
    secureboot: bool = False
    """On machines that refuse what is not signed."""
    only: list[str] = []
    """The modules that were asked for; empty for all."""


class Revision(Model):
    """What was run, exactly: two runs of the same revision, mode and kernels can be compared."""

    kmodlab: str = ""
    """As `git describe` says it of kmodlab itself; empty where it is no git repository."""
    modules: str = ""
    """A digest of all files of the modules' folder: the same for the same files."""


class Check(Model):
    """One promise, looked at. `stage` is the one that it belongs to; schema 1 did not say."""

    name: str
    verdict: Verdict
    reason: str = ""
    stage: Stage | None = None


class Finding(Model):
    """What the kernel's log said, once or several times in the same place; a `notice` is no fault."""

    kind: str = Field(alias="class")
    """A class of kmodlab/judge/classifier.yml."""
    severity: Literal["notice", "fault", "fatal"]
    fingerprint: str
    """The same for the same class in the same functions, whatever the addresses and mostly the kernel."""
    headline: str
    """The line that names the first of them."""
    meaning: str
    """What that means, for a person."""
    count: int = 1
    where: list[str] = []
    """Its functions of modules and their lines in C, from the inside out: `chardev_read+0x1f [chardev] is chardev.c:87`."""


class Attempt(Model):
    """A cell as one try left it. Nothing that was seen is replaced by what a later one saw."""

    verdict: Verdict
    stage: Stage
    reason: str = ""
    seconds: float = 0.0
    findings: list[Finding] = []


class Cell(Model):
    """One module on one kernel. `stage` is where it ended, `log` a path from the run folder, "" for none.

    `findings` are those of the attempt that decided; `attempts` are all of them, in order, and none in what schema 1 wrote.
    """

    kernel: Name
    module: Name
    verdict: Verdict
    stage: Stage
    reason: str = ""
    seconds: float = 0.0
    checks: list[Check] = []
    findings: list[Finding] = []
    attempts: list[Attempt] = []
    log: str = ""

    @property
    def failed_as_expected(self) -> bool:
        """A pass only because the catalog declares the failure that was seen."""
        return self.verdict is Verdict.PASS and any(check.name == EXPECTED_FAILURE for check in self.checks)

    @property
    def tests(self) -> list[Check]:
        """The behaviour tests that were run, by name."""
        return [
            check
            for check in self.checks
            if check.stage is Stage.BEHAVIOUR and check.name != NO_TEST and check.verdict is not Verdict.SKIP
        ]

    @property
    def only_loaded(self) -> bool:
        """A pass of which no behaviour is known: it was loaded and unloaded, and not used."""
        return self.verdict is Verdict.PASS and not self.tests and any(check.stage is Stage.UNLOAD for check in self.checks)


class Results(Model):
    """`results.json`. Dump it with `by_alias=True`."""

    schema_version: Literal[2] = Field(default=2, alias="schema")
    run: str
    started: str
    seconds: float
    kmodlab: str
    mode: Mode | None = None
    """None where schema 1 did not say."""
    revision: Revision | None = None
    kernels: list[Kernel]
    modules: list[ModuleInfo]
    cells: list[Cell]

    @model_validator(mode="before")
    @classmethod
    def _of_schema_1(cls, data: Any) -> Any:
        """Schema 2 only adds to what schema 1 says."""
        return {**data, "schema": 2} if isinstance(data, dict) and data.get("schema") == 1 else data

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
