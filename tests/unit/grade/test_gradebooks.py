"""Points and feedback in the formats that others read, each of which is held to what those demand."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from grade.papers import grading, paper, sitting
from junitparser import JUnitXml

from kmodlab.grade.feedback import markdown, page
from kmodlab.grade.gradebooks import classroom50, csv_of, gradescope, junit

GRADESCOPE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "score": {"type": "number"},
        "output": {"type": "string"},
        "visibility": {"enum": ["hidden", "after_due_date", "after_published", "visible"]},
        "stdout_visibility": {"enum": ["hidden", "after_due_date", "after_published", "visible"]},
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "number": {"type": "string"},
                    "score": {"type": "number"},
                    "max_score": {"type": "number"},
                    "output": {"type": "string"},
                    "visibility": {"enum": ["hidden", "after_due_date", "after_published", "visible"]},
                },
                "required": ["name", "score", "max_score"],
                "additionalProperties": False,
            },
        },
    },
    "anyOf": [{"required": ["score"]}, {"required": ["tests"]}],
    "additionalProperties": False,
}
"""As docs/specs.md of its samples describes results.json."""
TEXT = {"type": "string"}
WHOLE = {"type": "integer"}
CLASSROOM50: dict[str, Any] = {
    "type": "object",
    "properties": {
        "schema": {"const": "classroom50/result/v1"},
        **dict.fromkeys(("classroom", "assignment", "submission", "commit", "release", "review"), TEXT),
        "datetime": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"},
        "score": WHOLE,
        "max-score": WHOLE,
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"test-name": TEXT, "passed": {"type": "boolean"}, "score": WHOLE, "max-score": WHOLE},
                "required": ["test-name", "passed", "score", "max-score"],
            },
        },
    },
    "required": ["schema", "assignment", "datetime", "score", "max-score", "tests"],
    "additionalProperties": False,
}
"""As its wiki's Advanced-Autograding describes result.json."""
PAPERS = [
    paper("ada", sitting(), sitting("two")),
    paper("=cmd|'/C calc'!A0", sitting(test_open=0, test_secret=1, warnings=3)),
    paper("charles", verdict="missing", reason="box.c was not handed in"),
    paper("mary", verdict="error", reason="no disk"),
]


def valid(schema: dict[str, Any], text: str) -> Any:
    found = json.loads(text)
    jsonschema.validate(found, schema)
    return found


def rows(tmp_path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_of(grading(tmp_path), PAPERS))))


def test_a_line_a_student_and_what_the_lab_lost_is_empty(tmp_path: Path) -> None:
    found = rows(tmp_path)
    assert [(row["points"], row["max"], row["verdict"]) for row in found] == [
        ("47", "47", "graded"),
        ("17", "47", "graded"),
        ("0", "47", "missing"),
        ("", "47", "error"),
    ]
    assert found[1] | {"student": ""} == {
        "student": "",
        "assignment": "box",
        "points": "17",
        "max": "47",
        "verdict": "graded",
        "reason": "",
        "build": "10",
        "load": "10",
        "test_open": "0",
        "test_secret": "2",
        "warnings": "-5",
    }


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    assert rows(tmp_path)[1]["student"] == "'=cmd|'/C calc'!A0"


@pytest.mark.parametrize("number", range(4))
def test_gradescope_takes_it(tmp_path: Path, number: int) -> None:
    found = valid(GRADESCOPE, gradescope(PAPERS[number], grading(tmp_path)))
    assert found.get("score") == PAPERS[number].points
    for test in found["tests"]:
        assert test["visibility"] == ("after_published" if test["name"] == "secret" else "visible")


@pytest.mark.parametrize("number", range(3))
def test_classroom50_takes_it(tmp_path: Path, number: int) -> None:
    found = valid(CLASSROOM50, classroom50(PAPERS[number], grading(tmp_path)))
    assert (found["score"], found["max-score"]) == (PAPERS[number].points, 47)


@pytest.mark.parametrize(
    ("schema", "make", "key", "value"),
    [
        (GRADESCOPE, gradescope, "score", "47"),
        (GRADESCOPE, gradescope, "visibility", "always"),
        (CLASSROOM50, classroom50, "score", 46.5),
        (CLASSROOM50, classroom50, "schema", "classroom50/result/v2"),
        (CLASSROOM50, classroom50, "datetime", ""),
    ],
)
def test_what_they_do_not_take_is_seen(tmp_path: Path, schema: Any, make: Any, key: str, value: object) -> None:
    broken = json.loads(make(PAPERS[0], grading(tmp_path))) | {key: value}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_junit_has_a_suite_a_student(tmp_path: Path) -> None:
    suites = list(JUnitXml.fromstring(junit(grading(tmp_path), PAPERS)))
    assert [(suite.name, suite.tests, suite.failures, suite.errors) for suite in suites] == [
        ("ada", 4, 0, 0),
        ("=cmd|'/C calc'!A0", 5, 3, 0),
        ("charles", 1, 1, 0),
        ("mary", 1, 0, 1),
    ]


def test_the_same_papers_make_the_same_bytes(tmp_path: Path) -> None:
    assert junit(grading(tmp_path), PAPERS) == junit(grading(tmp_path), PAPERS)
    assert csv_of(grading(tmp_path), PAPERS) == csv_of(grading(tmp_path), PAPERS)


def test_feedback_explains_a_fault_with_its_line_and_keeps_what_is_hidden() -> None:
    given = PAPERS[1]
    for text in (markdown(given, grading(Path("/g")).assignment), page(given, grading(Path("/g")).assignment)):
        assert "17 of 47 points" in text
        assert "open: expected 1, got 2" in text
        assert "a NULL pointer was used" in text and "box.c:3" in text and "*(int *)0 = 1;" in text
        assert "1 of 3 cases" in text and "42" not in text, "a hidden test's reason is told"
        assert "\n<script>" not in text and "<b>" not in text.replace("    box.c:3: *(int *)0 = 1; /* <b>|bold|</b> */", "")


def test_feedback_of_what_was_not_graded_says_whose_fault_that_is() -> None:
    assignment = grading(Path("/g")).assignment
    assert "box.c was not handed in" in markdown(PAPERS[2], assignment).replace("\\", "")
    lost = markdown(PAPERS[3], assignment)
    assert "not your fault" in lost and "points**" not in lost and "no disk" not in lost
