"""What the kernel log says that is wrong: one finding for each kind of report at each place, however many lines it has and
however often it comes.

Which lines mean what, and why, is data: classifier.yml beside this file. Here is how lines make reports.
A line that begins as a pattern says opens a report, and what follows belongs to it. Until its trace was
seen, more such lines only say more about it ("BUG: unable to handle ...", then "Oops: ..."); after its
trace they open the next report, except those that follow from it (a panic). It is over when nothing that
looks like a report came for a while. Where the kernel says in whose context each line was printed, reports
of two contexts may run through each other.

A module may print anything. The kernel's own words begin a line, behind a prefix of the kernel's at most, and are not said
quietly; where they stand otherwise they count only if a trace follows, which is a second witness.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from kmodlab.ground.errors import LabError
from kmodlab.judge.kernel_log import KERNEL, Record

RULES = Path(__file__).with_name("classifier.yml")
MOST_FINDINGS = 100
"""So many different ones are told; of more, how many there were is added to one that is alike."""
LONGEST_LINE = 4096
"""Characters of a line that are looked at: nothing of the kernel's own is longer."""

_QUIET_SECONDS = 2.0
"""The lines of one report follow each other faster than this."""
_STRAY_LINES = 40
"""So many lines in a row that look like no report end it."""
_MOST_LINES = 1000
"""Of one report, so many are kept."""
_MOST_OPEN = 16
"""Reports at once, each in a context of its own."""
_FUNCTIONS = 5
"""How many functions of a trace make its fingerprint: fewer join strangers, more split twins."""
_QUIET_LEVEL = 6
"""From this level on (info, debug) the kernel does not report what is wrong, a few lines excepted."""
_ANYWHERE = 400
"""Characters of a line in which a pattern is looked for elsewhere than at its beginning."""
_NUMBERED = re.compile(r"(0x)?[0-9a-f]*\d[0-9a-f]*")

# x86 and arm64 write " name+0x1c/0x40 [module]", armhf " name [module] from caller+0x.." and, before 5.13,
# "[<bf000014>] (name [module]) from [<c0101e64>] (caller+0x..)". A question mark marks a stale one.
_FRAME = re.compile(
    r"^\s*(?:\[<?[0-9a-f]+>?\] ){0,2}\(?(?P<stale>\? )?(?P<name>[A-Za-z_][\w.]*)"
    r"(?:\+0x(?P<offset>[0-9a-f]+)/0x[0-9a-f]+(?: \[(?P<module>\w+)\])?|(?: \[\w+\])?\)? from (?:\[<|\w[\w.]*\+0x))"
)
_WHERE = re.compile(
    r"^\s*(?:RIP: 0010:|pc : |epc : |PC is at |NIP \[[0-9a-f]+\] )(?P<name>[A-Za-z_][\w.]*)"
    r"\+0x(?P<offset>[0-9a-f]+)/0x[0-9a-f]+(?: \[(?P<module>\w+)\])?"
)
_SUFFIX = re.compile(r"\.(?:constprop|isra|part|cold|llvm)\b.*")
_END = re.compile(r"---\[ end (?:trace|Kernel panic)")
_TRACE = re.compile(r"\s*(?:Call [Tt]race:|Backtrace:)")
_PART = re.compile(
    r"^\s*(?:Call [Tt]race:|Backtrace:|stack backtrace:|</?(?:TASK|IRQ|NMI|SOFTIRQ|EOE)>"
    r"|NMI backtrace|Modules linked in:|CPU: \d|Tainted: |Hardware name:|Workqueue:|Code: |note: |handlers:$"
    r"|(?:RIP|RSP|R[A-D]X|RBP|R\d\d|FS|CS|CR2|DR\d|PKRU|ORIG_RAX): ?|(?:pstate|pc|lr|sp|[xr]\d+|ip|fp) ?: "
    r"|(?:PC|LR) is at |Exception stack|Process \w+ \(pid|Flags: |Control: |Internal error|Mem abort info"
    r"|(?:Allocated|Freed|Reported) by |The buggy address|Memory state|Object |Redzone |Mem-Info:|Node \d"
    r"|\d+ locks? held by| #\d+: |Showing |workqueue |pool \d|  pwq |    (?:in-flight|pending): "
    r"|\[ *\d+\] |-> #\d+ |Kernel Offset: |Disabling (?:lock debugging|IRQ))"
)
_STAMP = re.compile(r"(?:<\d+>)?\[ *(?P<time>\d+\.\d{6})\](?: ?\[ *(?P<caller>[TC]\d+)\])? ?")
_LOGGER = re.compile(
    r"(?:<\d+>)?(?:[A-Z][a-z]{2} +\d+ [\d:]{8}|\d{4}-\d\d-\d\dT[\d:.+Z-]+) \S+ kernel: |<\d+>(?!\[)"
    r"|\[[A-Z][a-z]{2} [A-Z][a-z]{2} +\d+ [\d:]{8} \d{4}\] "
)
"""What syslog, journalctl and `dmesg -T` put before a line of the kernel's."""
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
    reason: str = ""
    example: str = Field(min_length=1)
    weak: bool = False
    orphan: bool = False
    doubtful: bool = False
    quiet: bool = False
    consequence: bool = False

    @functools.cached_property
    def needles(self) -> tuple[str, ...]:
        """Texts of which one is in every line that matches: looking for them is ten times as fast."""
        return needles(self.match.pattern)


class Kind(_Model):
    """A class of reports."""

    name: str = Field(pattern=r"^[a-z][a-z-]*$")
    severity: Annotated[Severity, BeforeValidator(_severity)]
    means: str = Field(min_length=1)
    patterns: tuple[Pattern, ...] = Field(min_length=1)
    line: bool = False
    starved: bool = False


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
    behind: re.Pattern[str] | None = None


class Rules(_Model):
    """All of classifier.yml."""

    classes: tuple[Kind, ...] = Field(min_length=1)
    prefixes: tuple[re.Pattern[str], ...] = ()
    benign: tuple[Benign, ...] = ()
    machinery: tuple[re.Pattern[str], ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Rules:
        names = [kind.name for kind in self.classes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"expected each name once, and {', '.join(twice)} is there twice")
        return self

    @functools.cached_property
    def ordered(self) -> tuple[tuple[int, Kind, Pattern], ...]:
        """Every pattern with the rank of its class."""
        return tuple((rank, kind, pattern) for rank, kind in enumerate(self.classes) for pattern in kind.patterns)

    @functools.cached_property
    def needles(self) -> tuple[tuple[str, frozenset[int]], ...]:
        """Each text that may be looked for, and the patterns (by their place in `ordered`) that can match only where it is."""
        found: dict[str, set[int]] = {}
        for place, (_, _, pattern) in enumerate(self.ordered):
            for text in pattern.needles:
                found.setdefault(text, set()).add(place)
        return tuple((text, frozenset(places)) for text, places in found.items())

    @functools.cached_property
    def prefix(self) -> re.Pattern[str]:
        """One of the prefixes, the end of a torn stamp, or the bracket in which lockdep puts a headline."""
        return re.compile(rf"\s+|[\d. ]*\] ?|\[ |(?:{'|'.join(each.pattern for each in self.prefixes) or '(?!)'}): ")


@dataclass(frozen=True, slots=True)
class Frame:
    """A function of a trace that is a module's, as the trace has it."""

    function: str
    offset: int
    """Bytes from its beginning."""
    module: str
    returns: bool
    """Whether it is where a call returns to, one instruction behind the call."""

    def __str__(self) -> str:
        return f"{self.function}+{self.offset:#x} [{self.module}]"


@dataclass(frozen=True, slots=True)
class Finding:
    """One report, and how often the like of it came."""

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
    """The lines of the first of them, without stamps."""
    count: int = 1
    """How many reports there were of the same class and fingerprint."""

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The functions of modules in its trace, from the inside out, each once, stale ones left out."""
        return frames_of(self.trace)


@dataclass(frozen=True, slots=True)
class _Line:
    time: float | None
    text: str
    caller: str = ""
    quiet: bool = False
    """Said at a level at which the kernel does not report what is wrong."""


@dataclass(frozen=True, slots=True)
class _Hit:
    rank: int
    kind: Kind
    pattern: Pattern
    headline: str
    excused: bool
    sure: bool
    """Whether it is the kernel's own word, by where and how loud it stands."""


@dataclass(slots=True, eq=False)
class _Report:
    hits: list[_Hit] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    time: float | None = None
    length: int = 0
    """How many of the lines belong to it for certain."""
    traced: bool = False
    """Whether its trace has begun: what comes behind that is another report."""
    framed: bool = False
    """Whether a function was seen in it, or its end."""

    def add(self, line: _Line, hit: _Hit | None) -> None:
        self.time = self.time if line.time is None else line.time
        end = bool(_END.search(line.text) or _FRAME.match(line.text))
        self.framed = self.framed or end
        self.traced = self.traced or end or bool(_TRACE.match(line.text))
        if hit:
            self.hits.append(hit)
        if len(self.lines) < _MOST_LINES:
            self.lines.append(line.text)
            if hit or end or _PART.match(line.text):
                self.length = len(self.lines)

    def over(self, line: _Line) -> bool:
        """Whether it ended before `line`."""
        quiet = None not in (self.time, line.time) and abs((line.time or 0) - (self.time or 0)) > _QUIET_SECONDS
        return quiet or (len(self.lines) - self.length > _STRAY_LINES and len(self.lines) < _MOST_LINES)

    def takes(self, hit: _Hit) -> bool:
        """Whether a line that could open a report is a part of this one."""
        known = any(hit.pattern is own.pattern for own in self.hits)
        return hit.pattern.consequence or hit.pattern.orphan or not (self.traced or known)

    def finding(self, rules: Rules) -> Finding | None:
        """None if it is excused, or nobody's word but a module's."""
        sure = [hit for hit in self.hits if hit.sure]
        believed = self.hits if self.framed and all(hit.pattern.weak for hit in sure) else sure
        named = [hit for hit in believed if not hit.pattern.weak]
        serious = [hit for hit in named or believed if not hit.excused]
        if not serious:
            return None
        first = min(serious, key=lambda hit: hit.rank)
        lines = tuple(self.lines[: self.length])
        doubtful = not self.framed and all(hit.pattern.doubtful for hit in serious)
        return Finding(
            kind=first.kind.name,
            severity=Severity.NOTICE if doubtful else max(hit.kind.severity for hit in serious),
            headline=first.headline.strip(),
            reason=first.pattern.reason or first.kind.means,
            fingerprint=_fingerprint(first, lines, rules),
            trace=lines,
        )


class _Excuses:
    """Which lines mean no harm on a kernel, where they stand."""

    def __init__(self, release: str, rules: Rules) -> None:
        self._benign = [each for each in rules.benign if each.kernels is None or each.kernels.holds(release)]
        self._behind = [each.behind for each in self._benign if each.behind]
        self._heard: dict[re.Pattern[str], float] = {}
        """When such a line was the last to come that others are excused behind."""

    def hear(self, line: _Line) -> None:
        for pattern in self._behind:
            if pattern.search(line.text, 0, _ANYWHERE):
                self._heard[pattern] = line.time or 0.0

    def hold(self, line: _Line) -> bool:
        """Whether the line is excused."""
        text, now = line.text[:LONGEST_LINE], line.time or 0.0
        for benign in self._benign:
            heard = self._heard.get(benign.behind) if benign.behind else now
            if heard is not None and now - heard <= _QUIET_SECONDS and benign.match.search(text):
                return True
        return False


def classify(records: Iterable[Record], *, release: str, rules: Rules | None = None) -> list[Finding]:
    """The reports in a kernel log, in their order. `release` is `uname -r`, by which some lines are excused.

    What programs wrote to /dev/kmsg is passed over: it is not the kernel that says so.
    """
    return _findings(_record_lines(records), release, rules or load_rules())


def classify_console(text: str, *, release: str, rules: Rules | None = None) -> list[Finding]:
    """The same for a serial console's text, with what the log can no longer tell: why the machine died.

    Lines may have stamps or not, callers (`[T123]`) or not, and may be cut or run into each other.
    """
    return _findings(_console_lines(text), release, rules or load_rules())


def frames_of(lines: tuple[str, ...]) -> tuple[Frame, ...]:
    """The functions of modules in a report's trace, from the inside out, each once, stale ones left out."""
    found: dict[tuple[str, int], Frame] = {}
    for match in _matches(lines):
        if match["module"]:
            key = match["name"], int(match["offset"], 16)
            found.setdefault(key, Frame(*key, match["module"], "stale" in match.re.groupindex))
    return tuple(found.values())


def may_be_starved(kind: str) -> bool:
    """Whether a machine that gets no time from its host may show this class, too."""
    return any(each.starved for each in load_rules().classes if each.name == kind)


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
    """Reports are folded as they end, so that a flood of them takes no memory."""
    found: dict[tuple[str, str], Finding] = {}
    reports: list[_Report] = []
    open_: dict[str, _Report] = {}
    excuses = _Excuses(release, rules)
    for line in lines:
        excuses.hear(line)
        for caller in [caller for caller, report in open_.items() if report.over(line)]:
            del open_[caller]
        if len(reports) > MOST_FINDINGS + _MOST_OPEN:
            current = {id(report) for report in open_.values()}
            _fold(found, [report for report in reports if id(report) not in current], rules)
            reports = [report for report in reports if id(report) in current]
        report = open_.get(line.caller) or next(reversed(open_.values()), None)
        ends = report is not None and _END.search(line.text)  # it says again what the panic was
        hit = None if ends else _hit(line, excuses, rules)
        if hit and hit.kind.line:
            reports.append(_Report(hits=[hit], lines=[line.text], length=1))
            continue
        if hit and report and not hit.sure:
            hit = None
        if hit and not (report and report.takes(hit) and (line.caller in open_ or hit.pattern.consequence)):
            report = open_[line.caller] = _Report()
            reports.append(report)
            if len(open_) > _MOST_OPEN:
                del open_[next(iter(open_))]
        if report:
            report.add(line, hit)
    _fold(found, reports, rules)
    return list(found.values())


def _fold(found: dict[tuple[str, str], Finding], reports: Iterable[_Report], rules: Rules) -> None:
    """Add what reports say to what was found, equal ones to their first."""
    for report in reports:
        if not (finding := report.finding(rules)):
            continue
        key = finding.kind, finding.fingerprint
        if key not in found and len(found) >= MOST_FINDINGS:
            key = next((each for each in found if each[0] == finding.kind), next(reversed(found)))
        first = found.get(key)
        found[key] = replace(first, count=first.count + 1, severity=max(first.severity, finding.severity)) if first else finding


def _hit(line: _Line, excuses: _Excuses, rules: Rules) -> _Hit | None:
    """The first pattern that the line begins with as the kernel would say it, else the first that is in it."""
    text = line.text[:LONGEST_LINE]
    found = [places for each, places in rules.needles if each in text]
    if not found:
        return None
    starts = _starts(text, rules)
    elsewhere: _Hit | None = None
    for place in sorted(frozenset().union(*found)):
        rank, kind, pattern = rules.ordered[place]
        begins = any(pattern.match.match(text, start) for start in starts)
        if begins or (not elsewhere and pattern.match.search(text, 0, _ANYWHERE)):
            sure = begins and (pattern.quiet or not line.quiet)
            hit = _Hit(rank, kind, pattern, text, excuses.hold(line), sure)
            if sure:
                return hit
            elsewhere = elsewhere or hit
    return elsewhere


def _starts(text: str, rules: Rules) -> list[int]:
    """Where the words of a line may begin: at its start, and behind each prefix of the kernel's."""
    starts = [0]
    while len(starts) < 8 and (found := rules.prefix.match(text, starts[-1])):
        starts.append(found.end())
    return starts


def needles(pattern: str) -> tuple[str, ...]:
    """For each alternative of a regular expression the longest text that whatever matches it holds, as far as that is easily
    told: what stands outside of groups, classes and repetitions.
    """
    found, runs, depth = [], [""], 0
    pieces = re.findall(r"\\.|\[\^?\]?(?:\\.|[^\]])*\]|\{[\d,]+\}|.", pattern, re.DOTALL)
    for piece, after in zip_longest(pieces, pieces[1:], fillvalue=""):
        if piece == "|" and not depth:
            found.append(max(runs, key=len))
            runs = [""]
            continue
        depth += {"(": 1, ")": -1}.get(piece, 0)
        character = piece[1:] if piece.startswith("\\") and not piece[1:].isalnum() else piece
        plain = not depth and len(character) == 1 and (character != piece or piece not in ".^$*+?()")
        if plain and not (after.startswith("{") or after in ("*", "?")):
            runs[-1] += character
        else:
            runs.append("")
    return (*found, max(runs, key=len))


def _fingerprint(hit: _Hit, lines: tuple[str, ...], rules: Rules) -> str:
    """A report without a trace is known by its headline, numbers aside."""
    where = list(_functions(lines, rules))[:_FUNCTIONS] or [_NUMBERED.sub("#", hit.headline)]
    return hashlib.sha256("\n".join([hit.kind.name, *where]).encode()).hexdigest()[:12]


def _functions(lines: tuple[str, ...], rules: Rules) -> Iterator[str]:
    """The functions of a trace from the inside out, each once: registers and trace both name the first."""
    for name in dict.fromkeys(_SUFFIX.sub("", match["name"]) for match in _matches(lines)):
        if not any(machinery.fullmatch(name) for machinery in rules.machinery):
            yield name


def _matches(lines: tuple[str, ...]) -> list[re.Match[str]]:
    """The lines of a report that name a function, where it happened first: lockdep shows before that where locks were taken."""
    begins = next((n for n, text in enumerate(lines) if _TRACE.match(text)), 0)
    here = [match for text in lines[:begins] if (match := _WHERE.match(text))]
    here += [match for text in lines[begins:] if (match := _WHERE.match(text) or _FRAME.match(text))]
    before = [match for text in lines[:begins] if (match := _FRAME.match(text))]
    return [match for match in (*here, *before) if not match.groupdict().get("stale")]


def _record_lines(records: Iterable[Record]) -> Iterator[_Line]:
    for record in records:
        if record.facility == KERNEL:
            for text in record.text.split("\n"):
                yield _Line(record.time, text[:LONGEST_LINE], record.caller, record.level >= _QUIET_LEVEL)


def _console_lines(text: str) -> Iterator[_Line]:
    for raw in re.split(r"[\r\n]+", _ESCAPES.sub("", text)):
        stamps = list(_STAMP.finditer(raw))
        head = raw[: stamps[0].start()] if stamps else raw
        if head.strip() and not (stamps and _LOGGER.fullmatch(head)):
            logger = _LOGGER.match(head)
            yield _Line(None, head[logger.end() if logger else 0 :][:LONGEST_LINE])
        for stamp, after in zip_longest(stamps, stamps[1:]):
            said = raw[stamp.end() : after.start() if after else None]
            yield _Line(float(stamp["time"]), said[:LONGEST_LINE], stamp["caller"] or "")


def _version(release: str) -> tuple[int, ...]:
    """(6, 12) of "6.12.43+deb13-amd64"; nothing of what is no version."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else ()
