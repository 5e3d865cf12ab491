"""Skeletons of solutions, and what students get."""

from pathlib import Path

import pytest

from kmodlab.grade.skeleton import hand_out, skeleton
from kmodlab.ground.cache import REPOSITORY
from kmodlab.ground.errors import LabError
from kmodlab.plan.assignment import load_assignment

ASSIGNMENTS = sorted(path.parent for path in (REPOSITORY / "examples/assignments").glob("*/assignment.yml"))
SOLUTION = """\
int a;
	/* TODO 1: think. */
	/* SKELETON: return 0; */
	int b = secret();
	return b;
	/* TODO 1 ends */
/*
 * TODO 2: think
 * again.
 */
secret();
/* TODO 2 ends */
"""


def made(tmp_path: Path, text: str) -> str:
    (tmp_path / "x.c").write_text(text)
    return skeleton(tmp_path / "x.c")


def test_what_is_between_the_marks_goes_and_its_stand_in_comes(tmp_path: Path) -> None:
    expected = "int a;\n\t/* TODO 1: think. */\n\treturn 0;\n/*\n * TODO 2: think\n * again.\n */\n"
    assert made(tmp_path, SOLUTION) == expected


def test_what_has_no_marks_is_given_as_it_is(tmp_path: Path) -> None:
    assert made(tmp_path, "int a;\n") == "int a;\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/* TODO 1: a */\n/* TODO 2: b */\n", "x.c:2: TODO 2 begins in TODO 1"),
        ("/* TODO 1: a */\nb;\n", "x.c:2: TODO 1 does not end"),
        ("b;\n/* TODO 1 ends */\n", "x.c:2: TODO 1 ends where it has not begun"),
        ("/* TODO 1: a */\n/* TODO 2 ends */\n", "x.c:2: TODO 2 ends where it has not begun"),
        ("/* TODO 1: a */\n/* TODO 1 ends */\n/* TODO 1: a */\n", "x.c:3: TODO 1 is there already"),
        ("/* SKELETON: a; */\n", "x.c:1: a SKELETON mark outside of a TODO"),
    ],
)
def test_a_mark_that_does_not_fit_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(LabError, match=said):
        made(tmp_path, text)


@pytest.mark.parametrize("folder", ASSIGNMENTS, ids=lambda path: path.name)
def test_students_get_no_solution_and_nothing_that_is_hidden(folder: Path, tmp_path: Path) -> None:
    assignment = load_assignment(folder)
    names = hand_out(assignment, folder, tmp_path / "given")
    given = {path.name for path in (tmp_path / "given").rglob("*")}
    hidden = {path.name for path in (folder / "hidden").glob("*.py")}
    assert hidden and not hidden & given
    assert not {"assignment.yml", "mutants.yml", "hidden"} & given
    assert {"README.md", "Makefile", "catalog.yml", "tests", *assignment.files} <= set(names) & given
    for name in assignment.files:
        assert (tmp_path / "given" / name).read_text() == skeleton(folder / name) != (folder / name).read_text()
        assert "ends */" not in skeleton(folder / name) and "SKELETON" not in skeleton(folder / name)


def test_nothing_is_given_out_where_something_is(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(LabError, match="not empty"):
        hand_out(load_assignment(ASSIGNMENTS[0]), ASSIGNMENTS[0], tmp_path)
