"""Papers of a made-up class, for what is made of them."""

from __future__ import annotations

from pathlib import Path

from kmodlab.grade.grading import Grading, Paper
from kmodlab.grade.record import Grade, Item, Sitting, marks
from kmodlab.grade.submissions import Submission
from kmodlab.plan.assignment import Assignment, Deduction, Deductions, Life
from kmodlab.results.contract import Finding

SOURCE = "int read(void)\n{\n\t*(int *)0 = 1; /* <b>|bold|</b> */\n}\n"
ASSIGNMENT = Assignment(
    schema_version=1,
    title="A box",
    module="box",
    files=["box.c"],
    kernels=["one", "two"],
    points=Life(build=10, load=10),
    tests={"test_open": 20, "test_secret": 7},
    deductions=Deductions(warnings=Deduction(each=2, at_most=5)),
)
OOPS = Finding(
    kind="oops",
    severity="fatal",
    fingerprint="f",
    headline="BUG: NULL <script>alert(1)</script>",
    meaning="a NULL pointer was used",
    where=["box_read+0x1 [box] is box.c:3"],
)


def sitting(kernel: str = "one", warnings: int = 0, **passed: int) -> Sitting:
    """On a kernel, with so many cases passed of each thing; of test_secret there are three."""
    items = [
        Item(name="build", passed=passed.get("build", 1)),
        Item(name="load", passed=passed.get("load", 1), reason="insmod: refused"),
        Item(name="test_open", test=True, passed=passed.get("test_open", 1), reason="open: expected 1, got 2", findings=[OOPS]),
        Item(name="test_secret", test=True, hidden=True, cases=3, passed=passed.get("test_secret", 3), reason="the secret is 42"),
    ]
    complaints = {"warnings": [f"box.c:{number}: warning: unused" for number in range(warnings)]}
    return Sitting(kernel=kernel, release="6.12", items=items, complaints=complaints)


def paper(student: str = "ada", *sittings: Sitting, verdict: str = "graded", reason: str = "") -> Paper:
    """What became of a student's submission."""
    grade = Grade.model_validate(
        {
            "student": student,
            "assignment": "box",
            "key": "k",
            "handed_in": "2026-11-01T10:00:00Z",
            "verdict": verdict,
            "reason": reason,
            "sittings": list(sittings),
        }
    )
    return Paper(Submission(student, {"box.c": SOURCE.encode()}), grade, marks(ASSIGNMENT, grade))


def grading(folder: Path) -> Grading:
    """Of that class."""
    return Grading(ASSIGNMENT, Path("/assignments/box"), folder, [], ("6.12", "6.1"))
