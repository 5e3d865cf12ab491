"""Wrong solutions, by which an assignment's tests are tested: those that it brings, and one-line changes of its solution.

Only what is between TODO marks is changed, because only there students write. The same solution makes the same mutants.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kmodlab.grade.skeleton import lines
from kmodlab.plan.assignment import Assignment, load_mutants

TYPE = r"(?:static|const|struct|enum|union|unsigned|signed|int|char|long|short|bool|void|[us]\d+|\w+_t)"
DECLARATION = re.compile(rf"^\s*{TYPE}\b[^=()]*(?:=|;|\[)")
STATEMENT = re.compile(
    r"^(\s+)(?!return\b|goto\b|break\b|continue\b|case\b|default\b|else\b)[\w*>.\-\[\]&+]+\s*(?:\(.*\)|[-+|&^]?=.*|\+\+|--);$"
)
"""A call, an assignment, a step: on one line, and nothing hangs on its value."""
SWAPS = (
    (r" == ", " != ", "the comparison is the other way round"),
    (r" != ", " == ", "the comparison is the other way round"),
    (r" <= ", " < ", "the limit itself is left out"),
    (r" >= ", " > ", "the limit itself is left out"),
    (r" < ", " <= ", "the limit itself is taken in"),
    (r" > ", " >= ", "the limit itself is taken in"),
    (r" && ", " || ", "one of two conditions is enough"),
    (r" \|\| ", " && ", "both conditions are needed"),
    (r"(?<=[\w)]) \+ (?=[\w(])", " - ", "it takes away what is to be added"),
    (r"(?<=[\w)]) - (?=[\w(])", " + ", "it adds what is to be taken away"),
    (r"\bif \(!(?=\w)", "if (", "the condition is the other way round"),
    (r"\breturn -E[A-Z0-9]+;", "return 0;", "an error is no error"),
    (r"\breturn (?:PTR_ERR\(\w+\)|err|ret|error);", "return 0;", "an error is no error"),
)
"""What a line has, what it gets, and what that means."""


@dataclass(frozen=True)
class Mutant:
    """A wrong solution."""

    file: str
    text: str
    """All of that file."""
    why: str
    given: bool
    place: str = ""
    """Of an automatic one: letterbox.c:87."""
    line: str = ""
    """As it was there."""

    def __str__(self) -> str:
        return f"{self.place}: {self.why}: {self.line}" if self.place else self.why


def mutants(assignment: Assignment, folder: Path, most: int) -> list[Mutant]:
    """Those that are given, and at most so many automatic ones, spread over all there are. LabError for a fault of either."""
    data = load_mutants(folder)
    given = [Mutant(m.file, (folder / m.file).read_text().replace(m.old, m.new), m.why, True) for m in data.given]
    harmless = {each.line for each in data.harmless}
    known = {mutant.text for mutant in given}
    found: dict[str, Mutant] = {}
    for name in assignment.files:
        for mutant in _automatic(folder / name):
            if mutant.line not in harmless and mutant.text not in known:
                found.setdefault(mutant.text, mutant)
    every = list(found.values())
    step = max(1.0, len(every) / most) if most else 0.0
    chosen = [every[int(number * step)] for number in range(min(most, len(every)))]
    return [*given, *chosen]


def _automatic(path: Path) -> Iterator[Mutant]:
    text = path.read_text().splitlines()
    for line in lines(path):
        if not line.todo or not line.text.strip() or line.text.lstrip().startswith(("/", "*", "#")):
            continue
        for news, why in _changes(line.text):
            changed = [*text[: line.number - 1], news, *text[line.number :]]
            place = f"{path.name}:{line.number}"
            yield Mutant(path.name, "\n".join(changed) + "\n", why, False, place, line.text.strip())


def _changes(line: str) -> Iterator[tuple[str, str]]:
    """A line as it might be written wrongly, and what is wrong."""
    code = re.sub(r'"(?:\\.|[^"\\])*"', lambda found: '"' + "x" * (len(found[0]) - 2) + '"', line)
    if (found := STATEMENT.match(code)) and not DECLARATION.match(code):
        yield f"{found[1]};", "this is not done"
    for pattern, instead, why in SWAPS:
        for place in re.finditer(pattern, code):
            yield f"{line[: place.start()]}{instead}{line[place.end() :]}", why
