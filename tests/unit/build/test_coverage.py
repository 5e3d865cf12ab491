"""Which lines have run, by gcov of programs that are built here: what it says is a stranger's word."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from kmodlab.build.coverage import READING, Lines, count, in_words, keep, kept, pages
from kmodlab.build.make import NOTES, Target
from kmodlab.build.modules import Part
from kmodlab.build.trees import Tree
from kmodlab.ground import sandbox
from kmodlab.ground.errors import LabError

TARGET = Target(Path("/"), "6.12", "", READING)
SOURCE = """\
#include "inside.h"
int main(int count, char **words)
{
	if (count > 1)
		return twice(count);
	return 0;
}
"""
INSIDE = "static inline int twice(int x)\n{\n\treturn 2 * x;\n}\n"


@pytest.fixture
def counted(tmp_path: Path) -> tuple[Part, Path, dict[str, bytes]]:
    """A part of one program that has run, its notes, and what was counted, as a guest brings it."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.c").write_text(SOURCE)
    (tree / "inside.h").write_text(INSIDE)
    work = tmp_path / "work"
    subprocess.run(["cp", "-a", str(tree), str(work)], check=True)
    (work / "a.mod").write_text("/mnt/a.o\n")
    build = f"gcc --coverage -c a.c -o a.o && gcc --coverage a.o -o a && ./a && set ./a.ko && {NOTES}"
    answer = sandbox.run(Path("/"), ["sh", "-c", f"cd /mnt && {build}"], work=work, limits=READING)
    assert answer.status == 0, answer.log
    return Part(root=tree), work / "a.ko.notes", {"mnt/a.gcda": (work / "a.gcda").read_bytes()}


def test_lines_that_ran_and_lines_that_did_not(counted: tuple[Part, Path, dict[str, bytes]]) -> None:
    part, notes, counts = counted
    lines = count(TARGET, notes, counts, part, part.root)
    assert {name: {n for n, ran in each.items() if ran} for name, each in lines.items()} == {"a.c": {2, 4, 6}, "inside.h": set()}
    assert in_words(lines) == "3 of 6; not a.c:5, inside.h:1-3"


def test_what_was_not_counted_is_no_zero(counted: tuple[Part, Path, dict[str, bytes]]) -> None:
    part, notes, counts = counted
    for other in (
        {},
        {"mnt/b.gcda": counts["mnt/a.gcda"]},
        {"mnt/a.gcda": b"nonsense"},
        {"mnt/../../a.gcda": b"x"},
        {"etc/a.gcda": b"x"},
    ):
        with pytest.raises(LabError, match="no line was counted"):
            count(TARGET, notes, other, part, part.root)


def test_a_source_that_is_none_of_the_trees_is_left_out(tmp_path: Path, counted: tuple[Part, Path, dict[str, bytes]]) -> None:
    part, notes, counts = counted
    (part.root / "inside.h").unlink()
    (part.root / "inside.h").symlink_to("/etc/passwd")
    assert set(count(TARGET, notes, counts, part, part.root)) == {"a.c"}
    forged = tmp_path / "forged.tar"
    said = {"files": [{"file": "/etc/passwd", "lines": [{"line_number": 1, "count": 1}]}]}
    (tmp_path / "x.gcov.json.gz").write_bytes(gzip.compress(json.dumps(said).encode()))
    subprocess.run(["tar", "-C", str(tmp_path), "-cf", str(forged), "x.gcov.json.gz"], check=True)
    with pytest.raises(LabError, match="no line was counted"):
        count(TARGET, forged, {}, part, part.root)


def test_names_that_no_files_can_have_and_folders_that_lead_out_are_one_line(
    counted: tuple[Part, Path, dict[str, bytes]],
) -> None:
    part, notes, counts = counted
    for name in ("mnt/a.gcda/b.gcda", f"mnt/{'a' * 300}.gcda", "mnt/\0.gcda"):
        with pytest.raises(LabError, match="cannot be"):
            count(TARGET, notes, {**counts, name: b"x"}, part, part.root)
    outside = part.root.parent / "outside"
    part.root.rename(outside)
    part.root.mkdir()
    (part.root / "a.c").symlink_to(outside / "a.c")
    (part.root / "inside.h").symlink_to(outside / "inside.h")
    with pytest.raises(LabError, match="no line was counted"):
        count(TARGET, notes, counts, part, part.root)


def test_pages_and_lcovs_format_by_gcovr(tmp_path: Path, counted: tuple[Part, Path, dict[str, bytes]]) -> None:
    part, notes, counts = counted
    folder = tmp_path / "coverage"
    keep(count(TARGET, notes, counts, part, part.root), part.root, folder / "a.json")
    keep({"a.c": {5: 2, 6: 0}}, part.root, folder / "b.json")  # another module's tests have reached more of it
    pages(folder, Tree(origin=Path("/home/a/tree"), folder=part.root))
    lcov = (folder / "lcov.info").read_text()
    lines = lcov.splitlines()
    assert "SF:/home/a/tree/a.c" in lines and f"DA:5,2,{hashlib.md5(SOURCE.splitlines()[4].encode()).hexdigest()}" in lines  # noqa: S324
    assert [line.split(",")[:2] for line in lines[lines.index("SF:/home/a/tree/a.c") :] if line.startswith("DA:")][:4] == [
        ["DA:2", "1"],
        ["DA:4", "1"],
        ["DA:5", "2"],
        ["DA:6", "1"],
    ]
    assert "twice" in next(folder.glob("index.inside.h.*.html")).read_text()


def test_what_a_cell_counts_on_several_machines_is_added(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("\n" * 9)
    place = tmp_path / "kept/a.json"
    assert kept(place) == {}
    for lines in ({"a.c": {1: 1, 2: 0, 3: 0}}, {"a.c": {1: 2, 2: 5, 3: 0}}):
        keep(lines, tmp_path, place)
    assert kept(place) == {"a.c": {1: 3, 2: 5, 3: 0}}


def test_pages_of_nonsense_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"gcovr/format_version": "0.1"}')
    with pytest.raises(LabError, match=r"gcovr made no pages .*format version"):
        pages(tmp_path, Tree(origin=tmp_path, folder=tmp_path))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ({"a.c": {1: 1, 2: 3}}, "2 of 2"),
        ({"a.c": {1: 0, 3: 0, 4: 1, 9: 0}}, "1 of 4; not a.c:1-3, a.c:9"),
        (
            {"a.c": {n: n % 2 for n in range(1, 40)}},
            "20 of 39; not " + ", ".join(f"a.c:{n}" for n in range(2, 26, 2)) + " and 7 more",
        ),
    ],
)
def test_which_lines_are_named(lines: Lines, words: str) -> None:
    assert in_words(lines) == words
