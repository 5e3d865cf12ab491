"""assignment.yml: what is wrong with one is a line that names it."""

from pathlib import Path

import pytest

from kmodlab.ground.cache import REPOSITORY
from kmodlab.ground.errors import LabError
from kmodlab.plan.assignment import load_assignment

GOOD = "schema: 1\ntitle: x\nmodule: x\nfiles: [x.c]\nkernels: [k]\npoints: {build: 1}\ntests: {test_a: 2}\nfree: [build]\n"
ASSIGNMENTS = sorted(path.parent for path in (REPOSITORY / "examples/assignments").glob("*/assignment.yml"))


def load(folder: Path, text: str) -> int:
    (folder / "assignment.yml").write_text(text)
    (folder / "x.c").touch()
    (folder / "Makefile").touch()
    return load_assignment(folder).most


def test_points_add_up(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD) == 3


@pytest.mark.parametrize("folder", ASSIGNMENTS, ids=lambda path: path.name)
def test_those_that_are_brought_are_worth_a_hundred(folder: Path) -> None:
    assert load_assignment(folder).most == 100


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("title: x", "name: x", "name|title"),
        ("test_a: 2", "test_a: -2", "tests.test_a: should be greater than or equal to 0"),
        ("test_a: 2", "test_a: 1.5", "tests.test_a: should be a valid integer"),
        ("test_a: 2", "a: 2", "tests.a: "),
        ("free: [build]", "free: [test_b]", "'test_b' is none of build, load, unload, log and no test"),
        ("files: [x.c]", "files: [Makefile]", "files.0: Makefile says what is built and judged"),
        ("files: [x.c]", "files: [../x.c]", "files.0: "),
        ("files: [x.c]", "files: [y.c]", "files: there is no "),
        ("files: [x.c]", "files: []", "files: "),
        ("{build: 1}\ntests: {test_a: 2}", "{build: 0}\ntests: {}", "nothing has any points"),
        ("schema: 1", "schema: 1\nschema: 1", "line 2: not valid YAML: the key 'schema' is there twice"),
        ("schema: 1", "schema: [", "not valid YAML"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert GOOD.count(old) == 1
    with pytest.raises(LabError, match=said) as problem:
        load(tmp_path, GOOD.replace(old, new))
    assert str(tmp_path / "assignment.yml") in str(problem.value) and "\n" not in str(problem.value)


def test_a_folder_without_one_is_none(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"is no assignment: it has no assignment\.yml"):
        load_assignment(tmp_path)
