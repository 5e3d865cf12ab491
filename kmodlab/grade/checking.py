"""An assignment, held to its word: the solution gets all points, the skeleton those that are free, wrong solutions lose some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kmodlab.grade.grading import Grading, Paper, on_kernels, releases
from kmodlab.grade.mutants import Mutant, mutants
from kmodlab.grade.record import ERROR, Item
from kmodlab.grade.skeleton import skeleton
from kmodlab.grade.submissions import Submission
from kmodlab.ground.cache import cache_dir, digest
from kmodlab.ground.errors import LabError
from kmodlab.plan.assignment import Assignment, load_assignment

SOLUTION, SKELETON = "the solution", "the skeleton"
STORE = "assignments"
"""In the cache: what was found out of each assignment's solutions, right and wrong."""


@dataclass(frozen=True)
class Fate:
    """What became of a mutant."""

    mutant: Mutant
    by: str
    """What caught it; empty where nothing did."""
    tried: bool
    """Whether it builds: what does not is no solution."""


@dataclass(frozen=True)
class Checked:
    """What is wrong with an assignment."""

    problems: list[str]
    """Each in a line; none where it holds."""
    fates: list[Fate]
    interrupted: bool = False

    @property
    def caught(self) -> str:
        """`your tests catch 17 of 20 wrong solutions`"""
        tried = [fate for fate in self.fates if fate.tried]
        return f"your tests catch {sum(bool(fate.by) for fate in tried)} of {len(tried)} wrong solutions"


def check(folder: Path, jobs: int, automatic: int, told: Callable[[str], None], kernels: str = "") -> Checked:
    """Try them all, so many at one time; `told` hears of each. What was tried before, and is the same, is not tried again.

    LabError where something cannot be read, or the lab fails.
    """
    folder = folder.resolve()
    assignment = on_kernels(load_assignment(folder), kernels)
    wrong = {f"mutant {number:02}": each for number, each in enumerate(mutants(assignment, folder, automatic), 1)}
    target = cache_dir() / STORE / digest(str(folder))
    right = {name: (folder / name).read_bytes() for name in assignment.files}
    bare = {name: skeleton(folder / name).encode() for name in assignment.files}
    todo = [Submission(SOLUTION, right), Submission(SKELETON, bare)]
    grading = Grading(assignment, folder, target, todo, releases(assignment))
    grading = replace(
        grading,
        submissions=[*todo, *(Submission(name, {**right, each.file: each.text.encode()}) for name, each in wrong.items())],
        hasty=frozenset(wrong),
    )

    def tell(paper: Paper) -> None:
        name = paper.submission.student
        told(_line(paper, wrong.get(name), assignment))

    interrupted = grading.run(jobs, tell)
    papers = {paper.submission.student: paper for paper in grading.papers()}
    if interrupted:
        return Checked([], [], interrupted=True)
    for paper in papers.values():
        if paper.grade.verdict == ERROR:
            raise LabError(f"{paper.submission.student} cannot be tried: {paper.grade.reason}")
    fates = [_fate(papers[name], each) for name, each in wrong.items()]
    problems = [*_of_solution(papers[SOLUTION], assignment), *_of_skeleton(papers[SKELETON], assignment)]
    for fate in (each for each in fates if each.mutant.given and not each.by):
        problems.append(f"a given mutant {'is not caught' if fate.tried else 'does not build'}: {fate.mutant}")
    return Checked(problems, fates)


def _lost(paper: Paper) -> list[Item]:
    return [item for sitting in paper.grade.sittings for item in sitting.items if not item.whole]


def _of_solution(paper: Paper, assignment: Assignment) -> list[str]:
    lost = [
        f"{SOLUTION} loses {mark.most - mark.points} points at {mark.name}: {_why(mark.items, mark.complaints)}"
        for mark in paper.marks
        if mark.points < mark.most
    ]
    return lost + ([] if lost or paper.points == assignment.most else [f"{SOLUTION} gets {paper.points} of {assignment.most}"])


def _why(items: list[Item], complaints: list[str]) -> str:
    return next((item.reason for item in items if item.reason), "") or next(iter(complaints), "no word")


def _of_skeleton(paper: Paper, assignment: Assignment) -> list[str]:
    problems = []
    for mark in paper.marks:
        free = mark.name in assignment.free
        if mark.name == "build" and any(not item.whole for item in mark.items):
            return [f"{SKELETON} does not build: {_why(mark.items, mark.complaints)}"]
        if free and mark.points < mark.most:
            problems.append(f"{SKELETON} does not get the free points of {mark.name}: {_why(mark.items, mark.complaints)}")
        elif not free and mark.points:
            what = "gets" if mark.points > 0 else "loses"
            why = f": {mark.complaints[0]}" if mark.complaints else ", which are not free"
            problems.append(f"{SKELETON} {what} {abs(mark.points)} points at {mark.name}{why}")
    return problems


def _fate(paper: Paper, mutant: Mutant) -> Fate:
    lost = _lost(paper)
    tried = not any(item.name == "build" for item in lost)
    return Fate(mutant, lost[0].name if lost and tried else "", tried)


def _line(paper: Paper, mutant: Mutant | None, assignment: Assignment) -> str:
    if paper.grade.verdict == ERROR:
        return f"{paper.submission.student} cannot be tried: {paper.grade.reason}"
    if mutant is None:
        return f"{paper.submission.student} gets {paper.points} of {assignment.most} points"
    fate = _fate(paper, mutant)
    return f"{'no mutant' if not fate.tried else f'caught by {fate.by}' if fate.by else 'LIVES'}: {mutant}"
