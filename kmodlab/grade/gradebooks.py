"""Points in the formats that gradebooks read. The same papers make the same bytes.

    grades.csv             a line a student; what spreadsheets and learning platforms take
    gradescope/NAME.json   results.json of Gradescope's autograder
    classroom50/NAME.json  result.json of Classroom 50, schema classroom50/result/v1
    junit.xml              one suite a student, one case for each thing that has points

Sources: gradescope/autograder_samples docs/specs.md; foundation50/classroom50 wiki/Advanced-Autograding.md.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from kmodlab.grade.feedback import Told, standing, told
from kmodlab.grade.grading import Grading, Paper
from kmodlab.results.junit import xml_text

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula where a cell begins with it."""


def csv_of(grading: Grading, papers: Sequence[Paper]) -> str:
    """A line a student: all points, and those of each thing. Where the lab could not grade, points are empty, not none."""
    worth = grading.assignment.worth
    taken = list(dict.fromkeys(mark.name for paper in papers for mark in paper.marks if mark.name not in worth))
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["student", "assignment", "points", "max", "verdict", "reason", *worth, *taken])
    for paper in papers:
        grade, points = paper.grade, {mark.name: mark.points for mark in paper.marks}
        row = [grade.student, grade.assignment, paper.points, grading.assignment.most, grade.verdict, grade.reason]
        row += [points.get(name, 0) if paper.points is not None else None for name in (*worth, *taken)]
        lines.writerow(["" if each is None else _cell(each) for each in row])
    return text.getvalue()


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def gradescope(paper: Paper, grading: Grading) -> str:
    """results.json. What is hidden from students is hidden there until grades are published."""
    found: dict[str, Any] = {"visibility": "visible", "stdout_visibility": "hidden", "tests": []}
    if paper.points is not None:
        found["score"] = paper.points
    if why := standing(paper):
        found["output"] = why
    for number, (mark, each) in enumerate(zip(_marked(paper), told(paper), strict=True), 1):
        hidden = any(item.hidden for item in mark.items)
        found["tests"].append(
            {
                "name": each.title,
                "number": str(number),
                "score": each.points,
                "max_score": each.most,
                "output": "\n".join(_said(each)),
                "visibility": "after_published" if hidden else "visible",
            }
        )
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def classroom50(paper: Paper, grading: Grading) -> str:
    """result.json. Who runs it there fills in what only the run knows: classroom, commit, and links."""
    found = {
        "schema": "classroom50/result/v1",
        "classroom": "",
        "assignment": paper.grade.assignment,
        "submission": paper.submission.student,
        "commit": "",
        "release": "",
        "review": "",
        "datetime": paper.grade.handed_in,
        "score": paper.points or 0,
        "max-score": grading.assignment.most,
        "tests": [
            {"test-name": each.title, "passed": each.points == each.most, "score": each.points, "max-score": each.most}
            for each in told(paper)
        ],
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def junit(grading: Grading, papers: Sequence[Paper]) -> bytes:
    """One suite a student, one case for each thing that has points; what lost any has failed."""
    xml = JUnitXml(grading.folder.name)
    for paper in papers:
        suite = TestSuite(xml_text(paper.submission.student))
        suite.add_property("points", "" if paper.points is None else str(paper.points))
        suite.add_property("max", str(grading.assignment.most))
        cases = [_case(each, paper) for each in told(paper)]
        if why := standing(paper):
            cases = [TestCase("graded", xml_text(paper.submission.student))]
            lost = paper.points is None
            cases[0].result = Error(xml_text(paper.grade.reason), "error") if lost else Failure(xml_text(why), "fail")
        suite.add_testcases(cases)
        xml.add_testsuite(suite)
    xml.update_statistics()  # type: ignore[no-untyped-call]
    text: bytes = xml.tostring()  # type: ignore[no-untyped-call]
    return b"<?xml version='1.0' encoding='utf-8'?>\n" + text + b"\n"


def _case(each: Told, paper: Paper) -> TestCase:
    case = TestCase(xml_text(each.title), xml_text(paper.submission.student))
    if each.points < each.most:
        case.result = Failure(xml_text(f"{each.points_in_words} points"), "fail")
        case.system_out = xml_text("\n".join(_said(each)))
    return case


def _marked(paper: Paper) -> list[Any]:
    return [mark for mark in paper.marks if mark.items or mark.complaints]


def _said(each: Told) -> list[str]:
    faults = [f"{fault.place}: {fault.meaning}: {fault.headline}".removeprefix(": ") for fault in each.faults]
    return [*([each.reason] if each.reason else []), *faults, *each.complaints]
