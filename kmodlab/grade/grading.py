"""All submissions of a folder: each in a process of its own, each recorded as soon as it is done.

What is recorded with the same key is not done again, so an interrupted grading goes on where it was, and the same input gets the
same points. A submission that breaks its process costs nobody else anything.
"""

from __future__ import annotations

import multiprocessing
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from pydantic import ValidationError

from kmodlab import __version__
from kmodlab.debian.archive import resolve
from kmodlab.grade.complaints import complaints
from kmodlab.grade.record import ERROR, GRADED, MISSING, Grade, Mark, marks, total
from kmodlab.grade.sitting import Tests, silence, sit, tests_of
from kmodlab.grade.submissions import Submission, submissions
from kmodlab.ground.cache import digest
from kmodlab.ground.ending import terminated_is_interrupted, uninterrupted
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import write_aside
from kmodlab.machine.runtime import stop_all
from kmodlab.plan.assignment import Assignment, load_assignment
from kmodlab.plan.kernels import load_inventory, select
from kmodlab.results.contract import one_line

RECORDS = "records"
"""In the folder of a grading: what was found out of each submission."""
END_SECONDS = 60.0
"""In which a process that is told to end has cleaned up."""


@dataclass(frozen=True)
class Paper:
    """A submission and what became of it."""

    submission: Submission
    grade: Grade
    marks: list[Mark]

    @cached_property
    def points(self) -> int | None:
        """None where the lab could not grade it."""
        return None if self.grade.verdict == ERROR else total(self.marks)


@dataclass(frozen=True)
class Grading:
    """One assignment, and what was handed in."""

    assignment: Assignment
    folder: Path
    """Of the assignment."""
    target: Path
    """Where the results go."""
    submissions: list[Submission]
    releases: tuple[str, ...]
    """Of its kernels."""
    hasty: frozenset[str] = frozenset()
    """By student, the submissions of which the first thing that is wrong is enough to know."""

    @classmethod
    def open(cls, folder: Path, handed_in: Path, target: Path | None = None, kernels: str = "") -> Grading:
        """Read both; `kernels` are others than the assignment's. LabError for what is wrong with the assignment, and where
        nothing was handed in.
        """
        folder = folder.resolve()
        assignment = on_kernels(load_assignment(folder), kernels)
        target = (target or Path("grades") / folder.name).absolute()
        if target.is_relative_to(folder) or target.is_relative_to(handed_in.absolute()):
            raise LabError(f"{target} is in a folder that is graded", hint="name another one with --to")
        return cls(assignment, folder, target, submissions(assignment, handed_in), releases(assignment))

    def key(self, submission: Submission) -> str:
        """A digest of all that its points depend on."""
        hasty = "hasty" if submission.student in self.hasty else ""
        return digest(self.folder, submission.key, *self.assignment.kernels, *self.releases, __version__, hasty)

    def path(self, submission: Submission) -> Path:
        """Where it is recorded."""
        return self.target / RECORDS / f"{file_name(submission.student)}.json"

    def known(self, submission: Submission) -> Grade | None:
        """What was found out of it before, unless it or anything else has changed, or the lab had failed."""
        with suppress(OSError, ValidationError):
            found = Grade.model_validate_json(self.path(submission).read_bytes())
            return found if found.key == self.key(submission) and found.verdict != ERROR else None
        return None

    def note(self, submission: Submission, grade: Grade) -> None:
        """Record it."""
        self.path(submission).parent.mkdir(parents=True, exist_ok=True)
        write_aside(self.path(submission), grade.model_dump_json(by_alias=True, indent=1) + "\n")

    def blank(self, submission: Submission) -> Grade:
        """The record of one that nothing is known of."""
        return Grade(
            student=submission.student,
            assignment=self.folder.name,
            key=self.key(submission),
            handed_in=submission.handed_in,
            verdict=MISSING if submission.problem else ERROR,
            reason=one_line(submission.problem) or "it was not graded",
        )

    def papers(self) -> list[Paper]:
        """What is recorded of all of them; of one that is not, that it was not graded."""
        found = []
        for each in self.submissions:
            grade = self.known(each) or self._failed(each) or self.blank(each)
            found.append(Paper(each, grade, marks(self.assignment, grade)))
        return found

    def _failed(self, submission: Submission) -> Grade | None:
        with suppress(OSError, ValidationError):
            found = Grade.model_validate_json(self.path(submission).read_bytes())
            return found if found.key == self.key(submission) else None
        return None

    def run(self, jobs: int, told: Callable[[Paper], None]) -> bool:
        """Grade what is not graded yet, so many at one time; `told` is called for each when it is done. True where a person
        interrupted it: then nothing of it runs on, and what is recorded stays.
        """
        waiting = [each for each in self.submissions if not self.known(each)]
        for each in waiting:
            if each.problem:
                self.note(each, self.blank(each))
        papers = {paper.submission.student: paper for paper in self.papers()}
        for each in self.submissions:
            if each not in waiting or each.problem:
                told(papers[each.student])
        with tests_of(self.assignment, self.folder) as tests:
            try:
                for done in _each_alone(self, [each for each in waiting if not each.problem], tests, jobs):
                    if not (grade := self.known(done) or self._failed(done)):
                        grade = self.blank(done).model_copy(update={"reason": "kmodlab itself broke: its process ended"})
                        self.note(done, grade)
                    told(Paper(done, grade, marks(self.assignment, grade)))
            except KeyboardInterrupt:
                return True
        return False

    def one(self, submission: Submission, tests: Tests) -> None:
        """Grade one, and record it."""
        try:
            complain = complaints if self.assignment.deductions.sparse else silence
            arguments = self.assignment, self.folder, submission.files
            hasty = submission.student in self.hasty
            sittings = []
            for kernel in self.assignment.kernels:
                sittings.append(sit(*arguments, kernel, tests, complain, lambda item: hasty and not item.whole))
                if hasty and not all(item.whole for item in sittings[-1].items):
                    break
            news = {"verdict": GRADED, "reason": "", "sittings": sittings}
        except LabError as problem:
            news = {"verdict": ERROR, "reason": one_line(str(problem))}
        self.note(submission, self.blank(submission).model_copy(update=news))


def releases(assignment: Assignment) -> tuple[str, ...]:
    """The exact releases of an assignment's kernels. LabError where one is not known, or is no machine of the lab's."""
    inventory = load_inventory()
    chosen = select(list(assignment.kernels), inventory, [])
    if [kernel.id for kernel in chosen] != assignment.kernels:
        raise LabError(f"kernels {' '.join(assignment.kernels)}: each by its whole id, once", hint="see `kmodlab kernels`")
    found = resolve(chosen)
    for each in found.values():
        if isinstance(each, LabError):
            raise each
    return tuple(each.release for each in found.values() if not isinstance(each, LabError))


def on_kernels(assignment: Assignment, kernels: str) -> Assignment:
    """An assignment on these kernels, "6.12-x86_64 um-6.12", where any are named."""
    return assignment.model_copy(update={"kernels": kernels.split()}) if kernels.split() else assignment


def file_name(student: str) -> str:
    """A student's name as a file's."""
    plain = re.sub(r"[^\w@+ .-]", "_", student)[:100].lstrip(".")
    return plain if plain == student else f"{plain}-{digest(student, length=6)}"


def _each_alone(grading: Grading, waiting: Sequence[Submission], tests: Tests, jobs: int) -> Iterator[Submission]:
    """Those whose process has ended, one after the other."""
    context = multiprocessing.get_context("spawn")
    left, running = list(waiting), dict[object, tuple[BaseProcess, Submission]]()
    try:
        while left or running:
            while left and len(running) < jobs:
                submission = left.pop(0)
                process = context.Process(target=_alone, args=(grading, submission, tests))
                process.start()
                running[process.sentinel] = process, submission
            for sentinel in wait([process.sentinel for process, _ in running.values()]):
                ended, submission = running.pop(sentinel)
                ended.join()
                yield submission
    finally:
        uninterrupted(lambda: _end([process for process, _ in running.values()]))


def _end(processes: list[BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(END_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
    if processes:
        stop_all()


def _alone(grading: Grading, submission: Submission, tests: Tests) -> None:
    """A process of one submission."""
    with suppress(KeyboardInterrupt), terminated_is_interrupted():
        try:
            grading.one(submission, tests)
        except Exception as problem:  # noqa: BLE001 - it costs this one, and is told
            log = grading.path(submission).with_suffix(".traceback.log")
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("".join(traceback.format_exception(problem)))
            reason = one_line(f"kmodlab itself broke: {type(problem).__name__}: {problem}; all of it: {log}")
            grading.note(submission, grading.blank(submission).model_copy(update={"reason": reason}))
