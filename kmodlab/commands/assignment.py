"""`kmodlab assignment`: what a teacher does with one before it is given out."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
from rich.console import Console

from kmodlab.commands.grade import FOLDER, OTHER_KERNELS
from kmodlab.commands.group import Command
from kmodlab.grade.checking import check
from kmodlab.grade.skeleton import hand_out
from kmodlab.ground.ending import terminated_is_interrupted
from kmodlab.ground.packages import need_packages
from kmodlab.machine.runtime import stop_all
from kmodlab.plan.assignment import load_assignment
from kmodlab.stages.matrix import only_run

STATUSES = """\b
Exit status:
    0  it holds
    1  it does not: the lines say why
    2  the lab could not do its work, or was misused
  130  interrupted: the same words go on where it was"""
AUTOMATIC = 20
"""Mutants."""


@click.group("assignment", epilog=STATUSES)
def assignment() -> None:
    """Check an assignment, or make what students get of it. `kmodlab grade` grades what they hand in."""


@assignment.command("check", cls=Command, epilog=STATUSES)
@click.argument("folder", metavar="ASSIGNMENT", type=FOLDER)
@click.option(
    "--mutants", default=AUTOMATIC, show_default=True, type=click.IntRange(min=0), help="So many automatic ones at most."
)
@click.option(
    "--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default="one a processor", help="So many at one time."
)
@OTHER_KERNELS
def check_assignment(folder: Path, mutants: int, jobs: int, kernels: str) -> None:
    """Try ASSIGNMENT's solution, which must get all points; its skeleton, which must get the free ones; and wrong solutions.

    Wrong ones are those of mutants.yml, each of which the tests must catch, and automatic changes of the solution: which of
    them no test catches is told, and is no failure.
    """
    console = Console(highlight=False)
    need_packages()

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    with only_run(), terminated_is_interrupted():
        stop_all()
        found = check(folder, jobs, mutants, say, kernels)
    if found.interrupted:
        sys.exit(130)
    for problem in found.problems:
        say(f"! {problem}")
    if found.fates:
        say(found.caught)
    sys.exit(1 if found.problems else 0)


@assignment.command("hand-out", cls=Command)
@click.argument("folder", metavar="ASSIGNMENT", type=FOLDER)
@click.argument("target", metavar="FOLDER", type=click.Path(path_type=Path))
def hand_out_assignment(folder: Path, target: Path) -> None:
    """Make what students get of ASSIGNMENT, in a new FOLDER: the skeleton, the text, and the visible tests."""
    names = hand_out(load_assignment(folder), folder, target)
    click.echo(f"{target}: {' '.join(names)}")
