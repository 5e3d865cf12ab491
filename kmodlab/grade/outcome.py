"""The folder of a grading's results, made of what is recorded:

grades/letterbox/
    grades.csv junit.xml       all students
    feedback/NAME.md NAME.html what each is to read
    gradescope/NAME.json       classroom50/NAME.json
    records/NAME.json          what was found out: the rest is made of it
"""

from __future__ import annotations

from collections.abc import Sequence

from kmodlab.grade.feedback import markdown, page
from kmodlab.grade.gradebooks import classroom50, csv_of, gradescope, junit
from kmodlab.grade.grading import Grading, Paper, file_name
from kmodlab.ground.files import write_aside


def write(grading: Grading, papers: Sequence[Paper]) -> None:
    """Write it anew. LabError where the disk is full."""
    for name in ("feedback", "gradescope", "classroom50"):
        (grading.target / name).mkdir(parents=True, exist_ok=True)
    write_aside(grading.target / "grades.csv", csv_of(grading, papers))
    write_aside(grading.target / "junit.xml", junit(grading, papers))
    for paper in papers:
        name = file_name(paper.submission.student)
        write_aside(grading.target / "feedback" / f"{name}.md", markdown(paper, grading.assignment))
        write_aside(grading.target / "feedback" / f"{name}.html", page(paper, grading.assignment))
        write_aside(grading.target / "gradescope" / f"{name}.json", gradescope(paper, grading))
        if paper.points is not None:  # that format knows no "not yet"
            write_aside(grading.target / "classroom50" / f"{name}.json", classroom50(paper, grading))
