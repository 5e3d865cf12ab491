"""What a student is told, as a page and as Markdown: points, what was lost and why, and what the kernel's words mean.

Of a hidden test they learn its name, what it was worth, and what the kernel said of their code; not what it expected.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader

from kmodlab.grade.grading import Paper
from kmodlab.grade.record import COMPLAINTS, ERROR, MISSING, Item, Mark
from kmodlab.plan.assignment import Assignment
from kmodlab.report.remarks import in_words
from kmodlab.results.contract import Finding

WORDS = {
    "build": "it builds",
    "load": "it loads, and keeps its promises",
    "unload": "it unloads, and leaves nothing behind",
    "log": "the kernel finds no fault while it is loaded and unloaded",
}
PLACE = re.compile(r" is (?:.*/)?(?P<file>[\w.+-]+\.[chS]):(?P<line>\d+)")
"""A line of C in a finding's place."""
MOST_COMPLAINTS = 20
"""Of a kind, so many are told."""


@dataclass(frozen=True)
class Explained:
    """What the kernel found."""

    meaning: str
    headline: str
    place: str
    """Where in the student's source, letterbox.c:57; empty where nobody knows."""
    code: str
    """That line."""


@dataclass(frozen=True)
class Told:
    """One thing and its points, as a student reads it."""

    title: str
    points: int
    most: int
    reason: str
    faults: list[Explained]
    complaints: list[str]

    @property
    def worth_a_word(self) -> bool:
        """Whether there is more to say of it than its points."""
        return bool(self.reason or self.faults or self.complaints)

    @property
    def points_in_words(self) -> str:
        """`5 of 10`; of a deduction what it takes."""
        return f"{self.points} of {self.most}" if self.most or not self.complaints else str(self.points)


def told(paper: Paper) -> list[Told]:
    """All of a submission's points."""
    return [_told(paper, mark) for mark in paper.marks if mark.items or mark.complaints]


def title(name: str) -> str:
    """What a thing with points is called."""
    return WORDS.get(name) or COMPLAINTS.get(name) or in_words(name)


def standing(paper: Paper) -> str:
    """Why a submission has no points of its own, in a sentence; empty where it was graded."""
    if paper.grade.verdict == MISSING:
        return f"Nothing was graded: {paper.grade.reason}."
    if paper.grade.verdict == ERROR:
        return "It is not graded yet: the machine that grades has failed. That is not your fault."
    return ""


def _told(paper: Paper, mark: Mark) -> Told:
    words = title(mark.name)
    worst = mark.worst
    reason, faults = "", list[Explained]()
    if worst and not worst.whole:
        reason = _reason(worst)
        faults = [_explained(paper, each) for each in worst.findings]
    shown = mark.complaints[:MOST_COMPLAINTS]
    more = [f"and {len(mark.complaints) - len(shown)} more"] if len(mark.complaints) > len(shown) else []
    return Told(words, mark.points, mark.most, reason, faults, [*shown, *more])


def _reason(item: Item) -> str:
    if item.hidden and not item.findings and item.reason not in ("it does not build", "it cannot be loaded"):
        part = f": {item.passed} of {item.cases} cases are right" if item.cases > 1 else ""
        return f"this test is hidden{part}; read again what the text says of it"
    return "" if item.hidden and item.findings else item.reason


def _explained(paper: Paper, finding: Finding) -> Explained:
    for where in finding.where:
        if (found := PLACE.search(where)) and (source := paper.submission.files.get(found["file"])):
            lines = source.decode(errors="replace").splitlines()
            number = int(found["line"])
            code = lines[number - 1].strip() if 0 < number <= len(lines) else ""
            return Explained(finding.meaning, finding.headline, f"{found['file']}:{number}", code)
    return Explained(finding.meaning, finding.headline, "", "")


def markdown(paper: Paper, assignment: Assignment) -> str:
    """The feedback of one student."""
    lines = [f"# {_plain(assignment.title)}: {_plain(paper.submission.student)}", ""]
    if why := standing(paper):
        lines += [_plain(why), ""]
    if paper.points is not None:
        lines += [f"**{paper.points} of {assignment.most} points**", ""]
    found = told(paper)
    if found:
        lines += ["| | points |", "|---|---|", *(f"| {_plain(each.title)} | {each.points_in_words} |" for each in found), ""]
    for each in found:
        if not each.worth_a_word:
            continue
        lines += [f"## {_plain(each.title[:1].upper() + each.title[1:])}: {each.points_in_words}", ""]
        lines += [_code(each.reason), ""] if each.reason else []
        for fault in each.faults:
            place = f", at {_plain(fault.place)}" if fault.place else ""
            lines += [f"The kernel has found a fault{place}: {_plain(fault.meaning)}.", ""]
            lines += [_code(fault.headline), *([_code(f"{fault.place}: {fault.code}")] if fault.code else []), ""]
        lines += [*map(_code, each.complaints), ""] if each.complaints else []
    return "\n".join(lines).rstrip() + "\n"


def page(paper: Paper, assignment: Assignment) -> str:
    """The same as one page that needs no other file."""
    environment = Environment(loader=PackageLoader("kmodlab.grade"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.get_template("feedback.html")
    return template.render(paper=paper, assignment=assignment, told=told(paper), standing=standing(paper))


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|&~-])", r"\\\1", text)


def _code(text: str) -> str:
    """A line of somebody else's words, which means nothing to Markdown there."""
    return f"    {text}"
