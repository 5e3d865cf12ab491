"""Mutants: given ones, and those that are made of a solution."""

from pathlib import Path

import pytest

from kmodlab.grade.mutants import mutants
from kmodlab.ground.cache import REPOSITORY
from kmodlab.ground.errors import LabError
from kmodlab.plan.assignment import load_assignment, load_mutants

ASSIGNMENTS = sorted(path.parent for path in (REPOSITORY / "examples/assignments").glob("*/assignment.yml"))
CODE = """\
int given = 1 == 1;
/* TODO 1: think. */
static int count = 3;
int f(int a)
{
	char *text = kmalloc(3, GFP_KERNEL);
	const int b = a + 1;

	if (!text)
		return -ENOMEM;
	mutex_lock(&lock);
	count += a;
	if (a > 3 && b == 1)
		pr_info("a > 3 && b == 1");
	return 0;
}
/* TODO 1 ends */
"""


def made(tmp_path: Path, text: str, data: str = "", most: int = 100) -> set[tuple[str, str]]:
    """What is changed into what, line by line."""
    (tmp_path / "assignment.yml").write_text("schema: 1\ntitle: x\nmodule: x\nfiles: [x.c]\nkernels: [k]\npoints: {build: 1}\n")
    (tmp_path / "Makefile").write_text("obj-m := x.o\n")
    (tmp_path / "x.c").write_text(text)
    if data:
        (tmp_path / "mutants.yml").write_text(data)
    found = mutants(load_assignment(tmp_path), tmp_path, most)
    pairs = (zip(text.splitlines(), each.text.splitlines(), strict=True) for each in found)
    return {(old.strip(), new.strip()) for pair in pairs for old, new in pair if old != new}


def test_only_what_students_write_is_changed_and_each_change_is_a_likely_mistake(tmp_path: Path) -> None:
    assert made(tmp_path, CODE) == {
        ("const int b = a + 1;", "const int b = a - 1;"),
        ("if (!text)", "if (text)"),
        ("return -ENOMEM;", "return 0;"),
        ("mutex_lock(&lock);", ";"),
        ("count += a;", ";"),
        ("if (a > 3 && b == 1)", "if (a >= 3 && b == 1)"),
        ("if (a > 3 && b == 1)", "if (a > 3 || b == 1)"),
        ("if (a > 3 && b == 1)", "if (a > 3 && b != 1)"),
        ('pr_info("a > 3 && b == 1");', ";"),
    }


def test_what_is_harmless_is_left_out_and_only_so_many_are_made(tmp_path: Path) -> None:
    data = "schema: 1\nharmless:\n  - {line: 'pr_info(\"a > 3 && b == 1\");', why: talk}\n"
    assert ('pr_info("a > 3 && b == 1");', ";") not in made(tmp_path, CODE, data)
    assert len(made(tmp_path, CODE, data, most=3)) == 3
    assert made(tmp_path, CODE, data, most=0) == set()


def test_a_given_one_that_changes_nothing_or_much_is_told(tmp_path: Path) -> None:
    data = "schema: 1\ngiven:\n  - {file: x.c, old: 'int', new: 'long', why: because}\n"
    with pytest.raises(LabError, match=r"given\.0: x\.c has \d+ times 'int'"):
        made(tmp_path, CODE, data)


@pytest.mark.parametrize("folder", ASSIGNMENTS, ids=lambda path: path.name)
def test_assignments_bring_mutants_that_change_something(folder: Path) -> None:
    given = [each for each in mutants(load_assignment(folder), folder, 0) if each.given]
    assert len(given) == len(load_mutants(folder).given) >= 5
    assert len(mutants(load_assignment(folder), folder, 20)) >= len(given) + 5
