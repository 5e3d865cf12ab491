"""What is graded stays graded, until something that the points depend on is another."""

from dataclasses import replace
from pathlib import Path

import pytest
from grade.papers import ASSIGNMENT

from kmodlab.grade.grading import Grading, on_kernels
from kmodlab.grade.record import Grade
from kmodlab.grade.submissions import Submission

ADA = Submission("ada", {"box.c": b"1"})


@pytest.fixture
def grading(tmp_path: Path) -> Grading:
    (tmp_path / "box").mkdir()
    (tmp_path / "box/test_a.py").write_text("1")
    return Grading(ASSIGNMENT, tmp_path / "box", tmp_path / "grades", [ADA], ("6.12",))


def graded(grading: Grading, verdict: str = "graded") -> Grade:
    grade = Grade.model_validate({**grading.blank(ADA).model_dump(), "verdict": verdict, "reason": ""})
    grading.note(ADA, grade)
    return grade


def test_what_is_recorded_is_known(grading: Grading) -> None:
    assert grading.known(ADA) is None
    assert grading.known(ADA) == grading.known(ADA)
    grade = graded(grading)
    assert grading.known(ADA) == grade


def test_what_the_lab_lost_is_tried_again_and_told_meanwhile(grading: Grading) -> None:
    graded(grading, "error")
    assert grading.known(ADA) is None
    assert [paper.grade.verdict for paper in grading.papers()] == ["error"]


def test_what_was_never_graded_is_no_zero(grading: Grading) -> None:
    (paper,) = grading.papers()
    assert paper.points is None and paper.grade.reason == "it was not graded"


def test_a_change_of_anything_is_another(grading: Grading) -> None:
    graded(grading)
    assert grading.known(replace(ADA, files={"box.c": b"2"})) is None
    assert replace(grading, releases=("6.13",)).known(ADA) is None
    assert replace(grading, assignment=on_kernels(ASSIGNMENT, "three")).known(ADA) is None
    (grading.folder / "test_a.py").write_text("2")
    assert grading.known(ADA) is None


def test_half_a_record_is_none(grading: Grading) -> None:
    graded(grading)
    path = grading.path(ADA)
    path.write_text(path.read_text()[:-20])
    assert grading.known(ADA) is None
