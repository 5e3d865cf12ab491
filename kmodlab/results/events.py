"""What is running and what is done: stages say it in `events.jsonl`.

An event is one line of JSON, `t` in seconds since the epoch:

    {"t": 1795439979.1, "kernel": "6.12-x86_64", "stage": "build", "module": "hello-1",
     "state": "start|done|fail|note", "text": "..."}

With a module it is about one cell: `start` takes it up, `done` and `fail` end its stage. Without one it is
about a kernel's stage as a whole, without a kernel about the lab. A stage has the name that a person should
read: "images", "build", "boot"; the last one, which finishes a cell, is "verify".
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from kmodlab.results.contract import one_line

State = Literal["start", "done", "fail", "note"]

FILE = "events.jsonl"

LAST_STAGE = "verify"
"""A cell that is done here is finished; one that failed is finished wherever it was."""


class Event(BaseModel):
    """One line of events.jsonl."""

    t: float
    kernel: str
    stage: str
    module: str = ""
    state: State
    text: str = ""


def emit(run_dir: Path, kernel: str, stage: str, state: State, *, module: str = "", text: str = "") -> None:
    """Append an event, in a single write, so that any number of processes may do so at once."""
    event = Event(t=time.time(), kernel=kernel, stage=stage, module=module, state=state, text=one_line(text))
    file = os.open(run_dir / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, event.model_dump_json().encode() + b"\n")
    finally:
        os.close(file)


class Follower:
    """Reads what was appended to a file since the last look, whole lines only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def events(self) -> list[Event]:
        """The events that are new; a line that is no event (its writer was killed) is passed over."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole = file.read().rpartition(b"\n")[0]
        self._offset += len(whole) + 1 if whole else 0
        return [event for line in whole.splitlines() if (event := _event(line))]


def _event(line: bytes) -> Event | None:
    try:
        return Event.model_validate_json(line)
    except ValidationError:
        return None
