"""`kmodlab grade`: what students have handed in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
from rich.console import Console

from kmodlab.commands.group import Command
from kmodlab.commands.options import KernelWords
from kmodlab.grade.grading import Grading, Paper
from kmodlab.grade.outcome import write
from kmodlab.ground.ending import terminated_is_interrupted
from kmodlab.ground.packages import need_packages
from kmodlab.machine.runtime import stop_all
from kmodlab.stages.matrix import only_run

STATUSES = """\b
Exit status:
    0  every submission has its points
    1  never: few points are no failure
    2  some could not be graded, which is the lab's fault; or the lab was misused
  130  interrupted: the same words go on where it was"""
OTHER_KERNELS = click.option(
    "--kernels", type=KernelWords(), default="", help="Kernels by id, where not the assignment's own: 'um-6.12' is the quickest."
)
FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)


@click.command("grade", cls=Command, epilog=STATUSES)
@click.argument("assignment", type=FOLDER)
@click.argument("submissions", type=FOLDER)
@click.option("--to", "target", type=click.Path(path_type=Path), help="Where the results go; default: grades/ASSIGNMENT.")
@click.option(
    "--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default="one a processor", help="So many at one time."
)
@OTHER_KERNELS
def grade_submissions(assignment: Path, submissions: Path, target: Path | None, jobs: int, kernels: str) -> None:
    """Grade SUBMISSIONS, a folder with a folder for each student, by the ASSIGNMENT's tests, visible and hidden.

    Each is built, signed and tested alone, on machines of its own. What is graded already, and has not changed, is not graded
    again. Points are in grades.csv, what each student is to read in feedback/.
    """
    console = Console(highlight=False)
    need_packages()
    with only_run(), terminated_is_interrupted():
        grading = Grading.open(assignment, submissions, target, kernels)
        stop_all()
        interrupted = grading.run(jobs, lambda paper: say(paper, grading.assignment.most, console))
    papers = grading.papers()
    write(grading, papers)
    erring = sum(paper.points is None for paper in papers)
    console.print(f"{len(papers) - erring} of {len(papers)} graded; {grading.target}/grades.csv", markup=False, soft_wrap=True)
    sys.exit(130 if interrupted else 2 if erring else 0)


def say(paper: Paper, most: int, console: Console) -> None:
    """A line on a submission that is done."""
    points = "not graded" if paper.points is None else f"{paper.points:3} of {most}"
    reason = f"  {paper.grade.reason}" if paper.grade.reason else ""
    console.print(f"{points}  {paper.submission.student}{reason}", markup=False, soft_wrap=True)
