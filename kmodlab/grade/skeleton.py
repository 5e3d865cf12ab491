"""The skeleton of a solution: what is between its TODO marks is left out.

    /* TODO 2: give the reader what is left of the letter. */
    /* SKELETON: return 0; */
    return simple_read_from_buffer(...);
    /* TODO 2 ends */

The first comment stays, the code of the second (or of several, or of none) stands where the solution was, and the rest goes.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kmodlab.ground.errors import LabError
from kmodlab.ground.files import write_aside
from kmodlab.plan.assignment import FILE, HIDDEN, MUTANTS, Assignment

BEGIN = re.compile(r"^\s*/?\*\s*TODO (\d+):")
INSTEAD = re.compile(r"^(\s*)/\*\s*SKELETON:\s*(.*?)\s*\*/$")
END = re.compile(r"^\s*/\*\s*TODO (\d+) ends\s*\*/$")
KEPT_BACK = (FILE, HIDDEN, MUTANTS)
"""What of an assignment's folder no student gets; beside them, what is hidden or was built."""


@dataclass(frozen=True)
class Line:
    """A line of a solution."""

    number: int
    text: str
    todo: int = 0
    """In whose solution it is; 0 where it is given."""
    instead: str | None = None
    """What the skeleton has in its place; None where it goes."""


def lines(path: Path) -> Iterator[Line]:
    """The lines of a solution, read as its marks say. LabError for a mark that does not fit, with its line."""
    todo, seen, comment = 0, set[int](), False
    number = 0
    for number, text in enumerate(path.read_text().splitlines(), 1):
        begin, end, instead = BEGIN.match(text), END.match(text), INSTEAD.match(text)
        if comment:
            comment = "*/" not in text
            yield Line(number, text, 0, text)
        elif begin:
            if todo:
                raise LabError(f"{path}:{number}: TODO {begin[1]} begins in TODO {todo}", hint=f"write `/* TODO {todo} ends */`")
            todo = int(begin[1])
            if todo in seen or not todo:
                raise LabError(f"{path}:{number}: TODO {todo} is there already", hint="give each a number of its own, from 1 on")
            seen.add(todo)
            comment = "*/" not in text
            yield Line(number, text, 0, text)
        elif end:
            if int(end[1]) != todo:
                raise LabError(f"{path}:{number}: TODO {end[1]} ends where it has not begun", hint="number both marks alike")
            todo = 0
        elif instead and not todo:
            raise LabError(f"{path}:{number}: a SKELETON mark outside of a TODO", hint="it belongs behind the TODO's comment")
        elif instead:
            yield Line(number, "", 0, f"{instead[1]}{instead[2]}")
        else:
            yield Line(number, text, todo, None if todo else text)
    if todo:
        raise LabError(f"{path}:{number}: TODO {todo} does not end", hint=f"write `/* TODO {todo} ends */`")


def skeleton(path: Path) -> str:
    """A solution's skeleton; the same text where it has no marks."""
    return "".join(f"{line.instead}\n" for line in lines(path) if line.instead is not None)


def hand_out(assignment: Assignment, folder: Path, target: Path) -> list[str]:
    """Make what students get: the skeleton, the text, rules, catalog and visible tests, in a folder that is not there yet or is
    empty. The names of what was written. LabError where there is something.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise LabError(f"{target} is there, and not empty", hint="name a folder that is not there yet")
    given = [path for path in sorted(folder.iterdir()) if path.name not in KEPT_BACK and not path.name.startswith(".")]
    texts = {name: skeleton(folder / name) for name in assignment.files}
    target.mkdir(parents=True, exist_ok=True)
    for path in given:
        if path.name in texts:
            write_aside(target / path.name, texts[path.name])
        elif path.is_dir():
            shutil.copytree(path, target / path.name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copyfile(path, target / path.name)
    return [path.name for path in given]
