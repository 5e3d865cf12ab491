"""Known issues: failures that somebody knows of already, as data. They are reported apart, and complained of when stale."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, field_validator

from kmodlab.ground.errors import LabError
from kmodlab.history.row import Row
from kmodlab.history.states import STABLE, Cells


class KnownIssue(BaseModel):
    """One of them. `module` and `kernel` may hold `*` and `?`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    module: str
    kernel: str = "*"
    pattern: str = ""
    """A regular expression that the failure's reason, class or fingerprint must match; empty for any that is no crash."""
    until: date | None = None
    """The last day on which it is an excuse."""
    link: str = ""
    """Where it is discussed."""
    note: str = ""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as problem:
            raise ValueError(f"no regular expression: {problem}") from problem
        return pattern

    def names(self, kernel: str, module: str) -> bool:
        """Whether it is about that cell."""
        return fnmatchcase(module, self.module) and fnmatchcase(kernel, self.kernel)

    def explains(self, row: Row, today: date) -> bool:
        """Whether that failure is this one. A crash must be named by the pattern: it is never excused by accident."""
        if row.verdict != "fail" or (self.until and today > self.until) or not self.names(row.kernel, row.module):
            return False
        if not self.pattern:
            return not row.crash
        return any(re.search(self.pattern, text) for text in (row.reason, row.kind, row.fingerprint))

    def __str__(self) -> str:
        return f"{self.module} on {self.kernel}" + (f" ({self.link or self.note})" if self.link or self.note else "")


@dataclass(frozen=True)
class Stale:
    """A known issue that is one no longer, and why."""

    issue: KnownIssue
    why: str

    def __str__(self) -> str:
        return f"known issue {self.issue}: {self.why}"


def load_known(path: Path) -> list[KnownIssue]:
    """Those of a file: a YAML list. LabError for the first fault."""
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
        return TypeAdapter(list[KnownIssue]).validate_python(said or [])
    except OSError as problem:
        raise LabError(f"{path}: {problem.strerror}", hint="name another file with --known, or none") from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise LabError(f"{path}: no YAML: {' '.join(str(problem).split())[:200]}") from problem
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise LabError(f"{path}: {where}: {first['msg']}", hint="docs/nightly.md says what it may hold") from problem


def stale(issues: Iterable[KnownIssue], cells: Cells, today: date) -> list[Stale]:
    """Those that are past their day, are about no cell, or whose cells have all been passing for long."""
    found = []
    for issue in issues:
        about = [memory for (kernel, module), memory in cells.items() if issue.names(kernel, module)]
        if issue.until and today > issue.until:
            found.append(Stale(issue, f"it was to end on {issue.until}"))
        elif not about:
            found.append(Stale(issue, "there is no such cell"))
        elif all(memory.passes >= STABLE for memory in about):
            found.append(Stale(issue, f"passed {min(memory.passes for memory in about)} times in a row"))
    return found
