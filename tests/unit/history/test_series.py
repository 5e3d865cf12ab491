"""Rows in a folder: whole or not at all, merged by copying, and quick after many runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from history_nights import night, replay, row, run_id
from hypothesis import given, settings
from hypothesis import strategies as st

from kmodlab.ground.errors import LabError
from kmodlab.history.row import Night
from kmodlab.history.series import Series
from kmodlab.history.states import Cells, fold


def _fill(folder: Path, nights: range, seed: int = 1) -> Series:
    series = Series(folder)
    story, _ = replay(seed)
    for n in nights:
        series.append(night(n, story[n]), story[n])
    return series


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rows = [
        row(0),
        row(0, "fail", module="ioctl", crash=True, kind="oops", fingerprint="a\tb", again="fail", attempts=3, seconds=2.5),
    ]
    series = Series(tmp_path / "new/series")
    written = night(0, rows, troubles=["the archive \N{SNOWMAN} was not reached"])
    series.append(written, rows)
    assert list(series.nights()) == [(written, rows)]


def test_a_run_is_added_once(tmp_path: Path) -> None:
    series = _fill(tmp_path, range(2))
    series.append(night(1, [row(1, "fail")]), [row(1, "fail")])
    assert len(list(series.nights())) == 2
    assert all(each.verdict == "pass" for _, rows in series.nights() for each in rows)


def test_cells_are_those_of_all_rows_however_they_are_read(tmp_path: Path) -> None:
    story, _ = replay(3)
    expected: Cells = {}
    series = Series(tmp_path)
    for n, rows in enumerate(story[:30]):
        series.append(night(n, rows), rows)
        expected = fold(expected, rows)
        assert series.cells() == expected
    assert (tmp_path / "memory.json").exists()
    (tmp_path / "memory.json").write_text('{"format": 1, "runs": 3}')
    assert series.cells() == expected
    (tmp_path / "memory.json").unlink()
    assert series.cells() == expected


def test_two_series_are_merged_by_copying(tmp_path: Path) -> None:
    one, other = _fill(tmp_path / "one", range(0, 20, 2)), _fill(tmp_path / "other", range(1, 20, 2))
    one.cells()
    assert one.merge(other) == 10
    assert one.merge(other) == 0
    assert one.cells() == _fill(tmp_path / "whole", range(20)).cells()


def test_git_merges_two_series(tmp_path: Path) -> None:
    def git(*words: str, at: Path) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *words], cwd=at, check=True, capture_output=True, timeout=60)

    one, other = tmp_path / "one", tmp_path / "other"
    _fill(one, range(3))
    git("init", "-q", "-b", "main", at=one)
    git("add", "-A", at=one)
    git("commit", "-qm", "first", at=one)
    git("clone", "-q", str(one), str(other), at=tmp_path)
    for folder, n in ((one, 3), (other, 4)):
        _fill(folder, range(n, n + 1)).cells()
        git("add", "-A", at=folder)
        git("commit", "-qm", "another", at=folder)
    git("pull", "-q", "--no-rebase", "--no-edit", str(other), "main", at=one)
    assert [each.run for each, _ in Series(one).nights()] == [run_id(n) for n in range(5)]


WRITER = """
import sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from history_nights import night, row
from kmodlab.history.series import Series
rows = lambda n: [row(n, module=f"m{m}") for m in range(50)]
for n in range(100000):
    Series(Path(sys.argv[1])).append(night(n, rows(n)), rows(n))
    print(n, flush=True)
"""


def test_a_kill_at_any_moment_leaves_whole_runs(tmp_path: Path) -> None:
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[3])]
        with subprocess.Popen([sys.executable, "-c", WRITER, str(folder), *paths], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout
            for _ in range(3 + attempt):
                said = writer.stdout.readline()
            os.kill(writer.pid, signal.SIGKILL)
        found = list(Series(folder).nights())
        assert len(found) >= int(said) + 1
        assert all(len(rows) == 50 for _, rows in found)
        _fill(folder, range(50, 51))  # and nobody holds its lock


@pytest.mark.parametrize(
    "damage", ["", "{", '{"format": 9, "run": "x"}\n', '{"format": 1, "run": "x", "odd": 1}\n', "[]\n", "\0\n"]
)
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    series = _fill(tmp_path, range(2))
    series.files()[0].write_text(damage)
    with pytest.raises(LabError, match=run_id(0)):
        list(series.nights())


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="cannot write the series"):
        Series(tmp_path / "file/series").append(night(0, []), [])


def test_a_run_has_a_runs_name(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no name of a run"):
        Series(tmp_path).append(Night("../../evil"), [])


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=80), st.text(max_size=20))
def test_any_words_are_kept(tmp_path_factory: pytest.TempPathFactory, reason: str, kind: str) -> None:
    folder = tmp_path_factory.mktemp("series")
    said = reason.encode("utf-8", "replace").decode()
    rows = [replace(row(0, "fail"), reason=said, kind=kind.encode("utf-8", "replace").decode())]
    Series(folder).append(night(0, rows), rows)
    assert list(Series(folder).nights()) == [(night(0, rows), rows)]


def test_ten_thousand_runs_are_read_in_a_second(tmp_path: Path) -> None:
    """By processor time. The rows are those of one cell: what is read again is the newest run only."""
    series = Series(tmp_path)
    for n in range(10_000):
        path = tmp_path / f"rows/{run_id(n)[:6]}/{run_id(n)}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps({"format": 1, "run": run_id(n)}) + '\n{"kernel": "6.12-x86_64", "module": "m", "verdict": "pass"}\n'
        )
    assert series.cells()["6.12-x86_64", "m"].passes == 10_000
    before = time.process_time()
    assert series.cells()["6.12-x86_64", "m"].passes == 10_000
    assert time.process_time() - before < 1


def test_rows_are_small(tmp_path: Path) -> None:
    series = _fill(tmp_path, range(10))
    rows = sum(len(rows) for _, rows in series.nights())
    assert sum(path.stat().st_size for path in series.files()) / rows < 250
