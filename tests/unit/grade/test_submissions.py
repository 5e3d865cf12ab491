"""What students hand in, read as a stranger's."""

import os
from pathlib import Path

import pytest
from grade.papers import ASSIGNMENT

from kmodlab.build.modules import discover
from kmodlab.build.trees import copied
from kmodlab.grade.grading import file_name
from kmodlab.grade.submissions import LARGEST, lay_out, submissions
from kmodlab.ground.cache import REPOSITORY
from kmodlab.ground.errors import LabError


def handed(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    return folder


def test_the_file_is_taken_wherever_it_is_and_nothing_else(tmp_path: Path) -> None:
    found = submissions(ASSIGNMENT, handed(tmp_path, "bob/box.c", "ada/work/3/box.c", "ada/Makefile", ".git/box.c", "notes.txt"))
    assert [(each.student, dict(each.files), each.problem) for each in found] == [
        ("ada", {"box.c": b"ada/work/3/box.c"}, ""),
        ("bob", {"box.c": b"bob/box.c"}, ""),
    ]


def test_the_nearest_counts_and_two_as_near_are_told(tmp_path: Path) -> None:
    ada, bob = submissions(ASSIGNMENT, handed(tmp_path, "ada/box.c", "ada/old/box.c", "bob/1/box.c", "bob/2/box.c"))
    assert ada.files == {"box.c": b"ada/box.c"}
    assert bob.problem.startswith("box.c was handed in twice: ") and not bob.files


def test_what_is_no_file_of_theirs_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    class_ = tmp_path / "class"
    for name in ("empty", "link", "pipe", "folder", "large"):
        (class_ / name).mkdir(parents=True)
    (class_ / "link/box.c").symlink_to(secret)
    os.mkfifo(class_ / "pipe/box.c")
    (class_ / "folder/box.c").mkdir()
    (class_ / "large/box.c").write_bytes(b"x" * (LARGEST + 1))
    (class_ / "whole").symlink_to(tmp_path)
    found = {each.student: each.problem for each in submissions(ASSIGNMENT, class_)}
    assert found == {
        "empty": "box.c was not handed in",
        "link": "box.c cannot be read: it is a link",
        "pipe": "box.c is no regular file",
        "folder": "box.c cannot be read: Is a directory",
        "large": "box.c is larger than 1 MiB",
        "whole": "it is a link, which is not followed",
    }


def test_a_folder_without_any_is_misused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="holds no folder"):
        submissions(ASSIGNMENT, tmp_path)


def test_what_is_built_has_the_assignments_rules_and_no_tests(tmp_path: Path) -> None:
    folder = handed(
        tmp_path / "box", "Makefile", "catalog.yml", "box.c", "box.h", "tests/test_a.py", "hidden/test_b.py", "mutants.yml"
    )
    (tmp_path / "out").mkdir()
    lay_out(folder, {"box.c": b"theirs"}, tmp_path / "out")
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {
        "Makefile": "Makefile",
        "catalog.yml": "catalog.yml",
        "box.h": "box.h",
        "box.c": "theirs",
    }


def test_a_students_name_is_a_files_and_two_names_are_two(tmp_path: Path) -> None:
    assert file_name("Ada Lovelace_123") == "Ada Lovelace_123"
    names = [file_name(name) for name in ("a:b", "a*b", "..", "\N{SNOWMAN}" * 200)]
    assert len(set(names)) == 4 and all(len(name) < 120 and not name.startswith(".") for name in names)


def test_examples_have_no_modules_of_assignments() -> None:
    assert "letterbox" not in {module.name for module in discover(copied(REPOSITORY / "examples"))}
