"""A class graded on a real kernel: exact points, an evil submission that costs nobody else anything, and nothing graded twice."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from handed_in import ASSIGNMENT, CLASS, Handed, hand_in

from kmodlab.machine.runtime import runtime_dir

FEW = ("right", "panic", "link", "does-not-build")
LIMIT = 1800.0
COMMAND = [sys.executable, "-m", "kmodlab", "grade", str(ASSIGNMENT)]


def graded(class_: Path, results: Path) -> dict[str, dict[str, str]]:
    """The table, by student."""
    answer = subprocess.run(
        [*COMMAND, str(class_), "--to", str(results)], capture_output=True, text=True, check=False, timeout=LIMIT
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    with (results / "grades.csv").open() as table:
        return {row["student"]: row for row in csv.DictReader(table)}


def wrong(table: Mapping[str, Mapping[str, str]], handed: Mapping[str, Handed]) -> dict[str, tuple[str, int]]:
    """Who has other points than they must have."""
    return {
        name: (table[name]["points"], each.points) for name, each in handed.items() if table[name]["points"] != str(each.points)
    }


def test_who_kills_the_machine_has_the_points_from_before(tmp_path: Path) -> None:
    """And costs the others nothing; what every case of a right one costs is the nightly's."""
    handed = {name: CLASS[name] for name in ("panic", "link", "does-not-build")}
    assert wrong(graded(hand_in(tmp_path / "class", handed), tmp_path / "grades"), handed) == {}


@pytest.mark.nightly
def test_each_gets_its_points_and_what_is_graded_stays(tmp_path: Path) -> None:
    handed = {name: CLASS[name] for name in FEW}
    class_, results = hand_in(tmp_path / "class", handed), tmp_path / "grades"
    graded_first = subprocess.Popen([*COMMAND, str(class_), "--to", str(results)], start_new_session=True)
    deadline = time.monotonic() + LIMIT
    while not list(results.glob("records/[pr]*.json")):  # the first that needs machines
        assert graded_first.poll() is None and time.monotonic() < deadline, "nothing is graded"
        time.sleep(0.2)
    os.killpg(graded_first.pid, signal.SIGINT)
    assert graded_first.wait(120) in (130, 0)
    assert not list(runtime_dir().glob("*/*/vm.json")), "something runs on"
    before = {path: path.stat().st_mtime_ns for path in results.glob("records/*.json")}
    assert before and all(json.loads(path.read_text())["verdict"] != "error" for path in before)

    table = graded(class_, results)
    assert wrong(table, handed) == {}
    assert {path: path.stat().st_mtime_ns for path in before} == before, "something was graded twice"
    feedback = (results / "feedback/panic.md").read_text()
    assert "20 of 100 points" in feedback and "The kernel has found a fault" in feedback
    assert (results / "feedback/panic.html").is_file() and (results / "gradescope/right.json").is_file()
    first = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    graded(class_, results)
    assert {path: path.read_bytes() for path in results.rglob("*") if path.is_file()} == first, "the same input, another output"


@pytest.mark.nightly
def test_all_of_a_class_gets_its_points_twice(tmp_path: Path) -> None:
    class_ = hand_in(tmp_path / "class", CLASS)
    for results in (tmp_path / "first", tmp_path / "second"):
        assert wrong(graded(class_, results), CLASS) == {}
