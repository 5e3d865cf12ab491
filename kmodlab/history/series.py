"""A series: the history of the runs that are compared with each other, as plain files in a folder.

    SERIES/rows/202611/20261128T020000Z.jsonl   a run: the night's line, then a line for each cell
    SERIES/memory.json                          where each cell stands by now: made from the rows, and made again where it is lost

A run's file is written whole under its own name and never changed: a kill leaves it or leaves it out, and two series are merged
by copying their files together, with git or without. `memory.json` is not worth keeping; the `.gitignore` beside it says so.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kmodlab.ground.errors import LabError
from kmodlab.ground.files import write_aside
from kmodlab.history.row import Night, Row, kept
from kmodlab.history.states import Cells, Memory, Seen, State, fold

FORMAT = 1
LOCK_SECONDS = 60
_RUN = re.compile(r"[0-9]{8}T[0-9]{6}Z(-[0-9]+)?")
_IGNORED = "site\nmemory.json\n.lock\n.*.jsonl.*\n"


class Series:
    """The folder of a series. Any number of processes may read it; who writes holds its lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self) -> list[Path]:
        """Each run's, in the order of their beginning."""
        found = (path for path in self.folder.glob("rows/*/*.jsonl") if _RUN.fullmatch(path.stem))
        return sorted(found, key=lambda path: path.stem)

    def append(self, night: Night, rows: Iterable[Row]) -> None:
        """Add a run; one that is there already stays as it is. LabError where the folder cannot be written."""
        if not _RUN.fullmatch(night.run):
            raise LabError(f"{night.run} is no name of a run", hint="they are like 20261128T020000Z")
        path = self.folder / f"rows/{night.run[:6]}/{night.run}.jsonl"
        lines = [{"format": FORMAT, **kept(night)}, *({**kept(row), "run": None} for row in rows)]
        text = "".join(json.dumps({k: v for k, v in line.items() if v is not None}, ensure_ascii=False) + "\n" for line in lines)
        with self._locked():
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_aside(path, text)
            if not (self.folder / ".gitignore").exists():
                write_aside(self.folder / ".gitignore", _IGNORED)

    def merge(self, other: Series) -> int:
        """Take the runs of another series that this one has not; how many these were."""
        taken = 0
        for file in other.files():
            path = self.folder / file.relative_to(other.folder)
            with self._locked():
                if not path.exists():
                    read_file(file)  # what is damaged is not taken
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_aside(path, file.read_bytes())
                    taken += 1
        return taken

    def nights(self, last: int | None = None) -> Iterator[tuple[Night, list[Row]]]:
        """All runs, or the `last` so many, oldest first. LabError for a damaged file, by name."""
        if last == 0:
            return
        for path in self.files()[-last if last else None :]:
            yield read_file(path)

    def cells(self, until: str | None = None) -> Cells:
        """Where each cell stands after all runs, or after those up to `until`.

        Only what is new since last time is read: how they stood before the newest run is remembered.
        """
        every = self.files()
        if until is None:
            return fold(self.cells(every[-2].stem if len(every) > 1 else ""), read_file(every[-1])[1]) if every else {}
        files = [path for path in every if path.stem <= until]
        cells, count = self._remembered(files)
        for path in files[count:]:
            cells = fold(cells, read_file(path)[1])
        if count < len(files) == len(every) - 1:
            self._remember(files, cells)
        return cells

    def _remembered(self, files: list[Path]) -> tuple[Cells, int]:
        """What memory.json says, and of how many files it says it: none where others have come between them since."""
        try:
            memory = json.loads((self.folder / "memory.json").read_text())
            count = memory["runs"]
            if memory["format"] != FORMAT or count > len(files) or memory["of"] != _names(files[:count]):
                return {}, 0
            return {_cell(key): _memory(each) for key, each in memory["cells"].items()}, count
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}, 0

    def _remember(self, files: list[Path], cells: Cells) -> None:
        said = {f"{kernel}/{module}": memory._asdict() for (kernel, module), memory in cells.items()}
        text = json.dumps({"format": FORMAT, "runs": len(files), "of": _names(files), "cells": said})
        try:
            write_aside(self.folder / "memory.json", text)
        except LabError:  # a series that may only be read is read all the same
            return

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock", timeout=LOCK_SECONDS):
                yield
        except Timeout as problem:
            raise LabError(f"{self.folder}: another process writes here for more than {LOCK_SECONDS} s") from problem
        except OSError as problem:
            raise LabError(
                f"cannot write the series {self.folder}: {problem.strerror}",
                hint="name a folder that you may write with --series",
            ) from problem


def read_file(path: Path) -> tuple[Night, list[Row]]:
    """A run's file. LabError where it is damaged."""
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            head = json.loads(file.readline())
            if head.pop("format") != FORMAT:
                raise LabError(f"{path} was written by another kmodlab", hint="update kmodlab")
            night, rows = Night(**head), []
            for line in file:
                number += 1
                rows.append(Row(run=night.run, **json.loads(line)))
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise LabError(f"{path}: line {number + 1} is damaged: {problem}", hint="remove the file, or restore it") from problem
    return night, rows


def _names(files: list[Path]) -> str:
    """A digest of which files these are: by name and size, for they never change."""
    return hashlib.sha256("\n".join(f"{path.name} {path.stat().st_size}" for path in files).encode()).hexdigest()


def _cell(key: str) -> tuple[str, str]:
    kernel, _, module = key.partition("/")
    return kernel, module


def _memory(said: dict[str, Any]) -> Memory:
    passed, failed = (Seen(*said[name]) if said[name] else None for name in ("passed", "failed"))
    return Memory(
        **{**said, "state": State(said["state"]), "crashes": tuple(said["crashes"]), "passed": passed, "failed": failed}
    )
