"""What students have handed in: a folder each. It is a stranger's, so nothing in it is followed, run or believed.

Only the files that the assignment asks for are taken, wherever in the folder they are; all others are as if they were not there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from kmodlab.grade.skeleton import KEPT_BACK
from kmodlab.ground.cache import digest
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import printable, read_regular
from kmodlab.plan.assignment import VISIBLE, Assignment
from kmodlab.results.contract import rfc3339

LARGEST = 1 << 20
"""Bytes of a file that a student hands in."""
MOST_FOLDERS = 1000
"""Of a submission, so many are searched."""


@dataclass(frozen=True)
class Submission:
    """What one student has handed in."""

    student: str
    """As the folder is called."""
    files: Mapping[str, bytes]
    problem: str = ""
    """Why it cannot be graded, in one line; empty where it can."""
    handed_in: str = ""
    """When the newest file was last changed, RFC 3339."""

    @property
    def key(self) -> str:
        """A digest of all of it."""
        return digest(self.problem, *(part for name, content in sorted(self.files.items()) for part in (name, content)))


def submissions(assignment: Assignment, folder: Path) -> list[Submission]:
    """Those of a folder, sorted by name. LabError where there are none."""
    try:
        places = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as problem:
        raise LabError(
            f"SUBMISSIONS: {folder}: {problem.strerror}", hint="name a folder that has one folder a student"
        ) from problem
    found = [_submission(assignment, path) for path in places if path.is_dir() or path.is_symlink()]
    if not found:
        raise LabError(f"SUBMISSIONS: {folder} holds no folder", hint="each student's files are in a folder of their name")
    return found


def _submission(assignment: Assignment, folder: Path) -> Submission:
    student = printable(folder.name)
    files: dict[str, bytes] = {}
    newest = 0.0
    if folder.is_symlink():
        return Submission(student, files, "it is a link, which is not followed")
    for name in assignment.files:
        try:
            path = _found(folder, name)
            files[name] = read_regular(path, LARGEST)
            newest = max(newest, path.lstat().st_mtime)
        except LabError as problem:
            return Submission(student, files, str(problem))
    return Submission(student, files, handed_in=rfc3339(datetime.fromtimestamp(newest, UTC)))


def _found(folder: Path, name: str) -> Path:
    """The file of a name that is nearest to the top."""
    walk = islice(os.walk(folder), MOST_FOLDERS)
    paths = [Path(place) / name for place, folders, names in walk if name in names or name in folders]
    paths.sort(key=lambda path: len(path.parts))
    if not paths:
        raise LabError(f"{name} was not handed in")
    if len(paths) > 1 and len(paths[1].parts) == len(paths[0].parts):
        raise LabError(f"{name} was handed in twice: {' and '.join(str(path.relative_to(folder)) for path in paths[:2])}")
    return paths[0]


def lay_out(folder: Path, files: Mapping[str, bytes], target: Path) -> None:
    """Put a submission's files into what else the assignment's build needs: nothing of its tests is there."""
    for path in folder.iterdir():
        if path.name in files or path.name.startswith(".") or path.name in (*KEPT_BACK, VISIBLE):
            continue
        if path.is_dir():
            shutil.copytree(path, target / path.name)
        else:
            shutil.copyfile(path, target / path.name)
    for name, content in files.items():
        (target / name).write_bytes(content)
