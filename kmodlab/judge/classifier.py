"""What the kernel log says that is wrong: one finding for each report, however many lines it has.

Which lines mean what, and why, is data: classifier.yml beside this file. Here is how lines make reports.
A line that a pattern is found in opens a report, and what follows belongs to it. Until its trace was
seen, more such lines only say more about it ("BUG: unable to handle ...", then "Oops: ..."); after its
trace they open the next report, except those that follow from it (a panic). It is over when nothing that
looks like a report came for a while.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from kmodlab.ground.errors import LabError
from kmodlab.judge.kernel_log import KERNEL, Record

RULES = Path(__file__).with_name("classifier.yml")

_QUIET_SECONDS = 2.0
"""The lines of one report follow each other faster than this."""
_STRAY_LINES = 40
"""So many lines in a row that look like no report end it."""
_FUNCTIONS = 5
"""How many functions of a trace make its fingerprint: fewer join strangers, more split twins."""

# x86 and arm64 write " name+0x1c/0x40 [module]", armhf " name [module] from caller+0x.." and, before 5.13,
# "[<bf000014>] (name [module]) from [<c0101e64>] (caller+0x..)". A question mark marks a stale one.
_FRAME = re.compile(
    r"^\s*(?:\[<[0-9a-f]+>\] )?\(?(?P<stale>\? )?(?P<name>[A-Za-z_][\w.]*)"
    r"(?:\+0x[0-9a-f]+/0x[0-9a-f]+|(?: \[\w+\])?\)? from (?:\[<|\w[\w.]*\+0x))"
)
_WHERE = re.compile(r"^\s*(?:RIP: 0010:|pc : |PC is at )(?P<name>[A-Za-z_][\w.]*)\+0x")
_SUFFIX = re.compile(r"\.(?:constprop|isra|part|cold|llvm)\b.*")
_END = re.compile(r"---\[ end (?:trace|Kernel panic)")
_PART = re.compile(
    r"^\s*(?:Call [Tt]race:|Backtrace:|stack backtrace:|</?(?:TASK|IRQ|NMI|SOFTIRQ|EOE)>"
    r"|NMI backtrace|Modules linked in:|CPU: \d|Tainted: |Hardware name:|Workqueue:|Code: |note: |handlers:$"
    r"|(?:RIP|RSP|R[A-D]X|RBP|R\d\d|FS|CS|CR2|DR\d|PKRU|ORIG_RAX): ?|(?:pstate|pc|lr|sp|[xr]\d+|ip|fp) ?: "
    r"|(?:PC|LR) is at |Exception stack|Process \w+ \(pid|Flags: |Control: |Internal error|Mem abort info"
    r"|(?:Allocated|Freed|Reported) by |The buggy address|Memory state|Object |Redzone |Mem-Info:|Node \d"
    r"|\d+ locks? held by| #\d+: |Showing |workqueue |pool \d|  pwq |    (?:in-flight|pending): "
    r"|\[ *\d+\] |-> #\d+ |Kernel Offset: |Disabling (?:lock debugging|IRQ))"
)
_STAMP = re.compile(r"(?:<\d+>)?\[ *(?P<time>\d+\.\d{6})\](?: ?\[ *[TC]\d+\])? ?")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Severity(IntEnum):
    """How bad it is; their order is meant to be compared."""

    NOTICE = 1
    FAULT = 2
    FATAL = 3


def _severity(value: object) -> object:
    known = {severity.name.lower(): severity for severity in Severity}
    if isinstance(value, str) and value in known:
        return known[value]
    raise ValueError(f"expected one of {', '.join(known)}")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pattern(_Model):
    """One way in which a class shows. The fields are described at the top of classifier.yml."""

    match: re.Pattern[str]
    reason: str = Field(min_length=1)
    example: str = Field(min_length=1)
    weak: bool = False
    consequence: bool = False


class Kind(_Model):
    """A class of reports."""

    name: str = Field(pattern=r"^[a-z][a-z-]*$")
    severity: Annotated[Severity, BeforeValidator(_severity)]
    patterns: tuple[Pattern, ...] = Field(min_length=1)
    line: bool = False


class Kernels(_Model):
    """Kernel lines from one to another, both included."""

    first: str = Field("0.0", alias="from", pattern=r"^\d+\.\d+$")
    last: str = Field("9999.0", alias="to", pattern=r"^\d+\.\d+$")

    def holds(self, release: str) -> bool:
        """Whether a kernel of this `uname -r` is among them; a release that is no version is not."""
        return _version(self.first) <= _version(release) <= _version(self.last)


class Benign(_Model):
    """A line that means no harm."""

    match: re.Pattern[str]
    reason: str = Field(min_length=1)
    example: str = Field(min_length=1)
    kernels: Kernels | None = None


class Rules(_Model):
    """All of classifier.yml."""

    classes: tuple[Kind, ...] = Field(min_length=1)
    benign: tuple[Benign, ...] = ()
    machinery: tuple[re.Pattern[str], ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Rules:
        names = [kind.name for kind in self.classes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"expected each name once, and {', '.join(twice)} is there twice")
        return self


@dataclass(frozen=True, slots=True)
class Finding:
    """One report."""

    kind: str
    """The name of its class."""
    severity: Severity
    headline: str
    """The line that names it."""
    reason: str
    """What that means, for a person."""
    fingerprint: str
    """The same for the same fault at the same place, whatever the addresses and mostly the kernel."""
    trace: tuple[str, ...]
    """Its lines, without stamps."""


@dataclass(frozen=True, slots=True)
class _Line:
    time: float | None
    text: str


@dataclass(frozen=True, slots=True)
class _Hit:
    rank: int
    kind: Kind
    pattern: Pattern
    headline: str
    excused: bool


@dataclass(slots=True)
class _Report:
    hits: list[_Hit] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    time: float | None = None
    length: int = 0
    """How many of the lines belong to it for certain."""
    traced: bool = False

    def add(self, line: _Line, hit: _Hit | None) -> None:
        self.lines.append(line.text)
        self.time = self.time if line.time is None else line.time
        end = bool(_END.search(line.text) or _FRAME.match(line.text))
        self.traced = self.traced or end
        if hit:
            self.hits.append(hit)
        if hit or end or _PART.match(line.text):
            self.length = len(self.lines)

    def over(self, line: _Line) -> bool:
        """Whether it ended before `line`."""
        quiet = None not in (self.time, line.time) and abs((line.time or 0) - (self.time or 0)) > _QUIET_SECONDS
        return quiet or len(self.lines) - self.length > _STRAY_LINES

    def takes(self, hit: _Hit) -> bool:
        """Whether a line that could open a report is a part of this one."""
        known = any(hit.pattern is own.pattern for own in self.hits)
        return hit.pattern.consequence or not (self.traced or known)

    def finding(self, rules: Rules) -> Finding | None:
        """None if it is excused."""
        named = [hit for hit in self.hits if not hit.pattern.weak]
        serious = [hit for hit in named or self.hits if not hit.excused]
        if not serious:
            return None
        first = min(serious, key=lambda hit: hit.rank)
        lines = tuple(self.lines[: self.length])
        return Finding(
            kind=first.kind.name,
            severity=max(hit.kind.severity for hit in serious),
            headline=first.headline.strip(),
            reason=first.pattern.reason,
            fingerprint=_fingerprint(first, lines, rules),
            trace=lines,
        )


def classify(records: Iterable[Record], *, release: str, rules: Rules | None = None) -> list[Finding]:
    """The reports in a kernel log, in their order. `release` is `uname -r`, by which some lines are excused.

    What programs wrote to /dev/kmsg is passed over: it is not the kernel that says so.
    """
    lines = (_Line(record.time, text) for record in records if record.facility == KERNEL for text in record.text.split("\n"))
    return _findings(lines, release, rules or load_rules())


def classify_console(text: str, *, release: str, rules: Rules | None = None) -> list[Finding]:
    """The same for a serial console's text, with what the log can no longer tell: why the machine died.

    Lines may have stamps or not, callers (`[T123]`) or not, and may be cut or run into each other.
    """
    return _findings(_console_lines(text), release, rules or load_rules())


def load_rules(path: Path = RULES) -> Rules:
    """The rules of a file. Raises LabError, with the file, the key and what is expected there."""
    return _load_rules(path)


@functools.cache
def _load_rules(path: Path) -> Rules:
    try:
        return Rules.model_validate(yaml.safe_load(path.read_text()))
    except OSError as problem:
        raise LabError(f"{path}: {problem.strerror}; the classifier's rules should be there") from problem
    except yaml.YAMLError as problem:
        raise LabError(f"{path}: not YAML: {' '.join(str(problem).split())}") from problem
    except ValidationError as problem:
        first: Any = problem.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise LabError(f"{path}: {key}: {first['msg']}") from problem


def _findings(lines: Iterable[_Line], release: str, rules: Rules) -> list[Finding]:
    reports: list[_Report] = []
    current: _Report | None = None
    for line in lines:
        if current and current.over(line):
            current = None
        ends = current is not None and _END.search(line.text)  # it says again what the panic was
        hit = None if ends else _hit(line.text, release, rules)
        if hit and hit.kind.line:
            reports.append(_Report(hits=[hit], lines=[line.text], length=1))
            continue
        if hit and not (current and current.takes(hit)):
            current = _Report()
            reports.append(current)
        if current:
            current.add(line, hit)
    return [finding for report in reports if (finding := report.finding(rules))]


def _hit(text: str, release: str, rules: Rules) -> _Hit | None:
    for rank, kind in enumerate(rules.classes):
        for pattern in kind.patterns:
            if pattern.match.search(text):
                return _Hit(rank, kind, pattern, text, _excused(text, release, rules))
    return None


def _excused(text: str, release: str, rules: Rules) -> bool:
    return any(benign.match.search(text) and (benign.kernels is None or benign.kernels.holds(release)) for benign in rules.benign)


def _fingerprint(hit: _Hit, lines: tuple[str, ...], rules: Rules) -> str:
    """A report without a trace is known by its headline, numbers aside."""
    where = list(_functions(lines, rules))[:_FUNCTIONS] or [re.sub(r"(0x)?[0-9a-f]*\d[0-9a-f]*", "#", hit.headline)]
    return hashlib.sha256("\n".join([hit.kind.name, *where]).encode()).hexdigest()[:12]


def _functions(lines: Iterable[str], rules: Rules) -> Iterator[str]:
    """The functions of a trace from the inside out, each once: registers and trace both name the first."""
    found = (_WHERE.match(text) or _FRAME.match(text) for text in lines)
    names = (_SUFFIX.sub("", match["name"]) for match in found if match and not match.groupdict().get("stale"))
    for name in dict.fromkeys(names):
        if not any(machinery.fullmatch(name) for machinery in rules.machinery):
            yield name


def _console_lines(text: str) -> Iterator[_Line]:
    for raw in re.split(r"[\r\n]+", _ESCAPES.sub("", text)):
        stamps = list(_STAMP.finditer(raw))
        head = raw[: stamps[0].start()] if stamps else raw
        if head.strip():
            yield _Line(None, head)
        for stamp, after in zip_longest(stamps, stamps[1:]):
            yield _Line(float(stamp["time"]), raw[stamp.end() : after.start() if after else None])


def _version(release: str) -> tuple[int, ...]:
    """(6, 12) of "6.12.43+deb13-amd64"; nothing of what is no version."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else ()
