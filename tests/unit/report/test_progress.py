"""Progress: what stages say reaches the person, once, in few lines, with an honest guess of what is left."""

from __future__ import annotations

import io
import json
import multiprocessing
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from kmodlab.report.progress import Progress, Row
from kmodlab.results.contract import Cell, Kernel, ModuleInfo, Results, Stage, Verdict
from kmodlab.results.events import Event, Follower, State, emit
from kmodlab.results.folder import Planned, Run

K = "6.12-x86_64"
MODULES = tuple(f"module-{n}" for n in range(25))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run.create(tmp_path)
    run.plan(
        [Kernel(id=K, arch="x86_64"), Kernel(id="6.1-arm64", arch="arm64")],
        [ModuleInfo(name=name, source="", sha256="") for name in MODULES],
        [Planned(kernel=K, module=name) for name in MODULES]
        + [Planned(kernel="6.1-arm64", module=name, skip="no board") for name in MODULES],
    )
    return run


def console(*, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=100, force_terminal=terminal, color_system=None)


def text_of(it: Console) -> str:
    assert isinstance(it.file, io.StringIO)
    return it.file.getvalue()


def test_an_event_is_the_documented_line(run: Run) -> None:
    emit(run.folder, K, "build", "fail", module="hello-1", text="two\nlines")
    found = json.loads((run.folder / "events.jsonl").read_text())
    assert abs(found.pop("t") - time.time()) < 60
    assert found == {"kernel": K, "stage": "build", "module": "hello-1", "state": "fail", "text": "two lines"}


def _emit_many(folder: Path, writer: int) -> None:
    for number in range(200):
        emit(folder, f"{writer}", "build", "done", module=f"{number}", text="x" * 400)


def test_events_of_many_processes_stay_whole(run: Run) -> None:
    writers = [multiprocessing.Process(target=_emit_many, args=(run.folder, writer)) for writer in range(4)]
    for each in writers:
        each.start()
    for each in writers:
        each.join(timeout=60)
    events = Follower(run.folder / "events.jsonl").events()
    assert {(event.kernel, event.module) for event in events} == {(f"{w}", f"{n}") for w in range(4) for n in range(200)}


def test_a_follower_reads_each_whole_line_once_and_passes_over_damage(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    follower = Follower(path)
    assert follower.events() == []
    line = Event(t=1, kernel=K, stage="build", state="note").model_dump_json().encode()
    path.write_bytes(line + b"\n" + line[:20])
    assert len(follower.events()) == 1
    assert follower.events() == [], "half a line is not read yet"
    with path.open("ab") as file:
        file.write(line[20:] + b"\nnot json\n" + line + b"\n")
    assert len(follower.events()) == 2


def go_through(run: Run, stage: str, fails: tuple[str, ...] = (), modules: tuple[str, ...] = MODULES) -> None:
    emit(run.folder, K, stage, "start")
    for name in modules:
        emit(run.folder, K, stage, "start", module=name)
        emit(
            run.folder,
            K,
            stage,
            "fail" if name in fails else "done",
            module=name,
            text="why" if name in fails else "",
        )
    emit(run.folder, K, stage, "done")


def test_a_log_gets_few_plain_lines(run: Run) -> None:
    screen = console()
    with Progress(run, screen):
        emit(run.folder, "", "images", "start", text="2 releases")
        go_through(run, "build", fails=("module-3",))
        emit(run.folder, K, "boot", "note", text="accelerator tcg")
        go_through(run, "verify", modules=tuple(name for name in MODULES if name != "module-3"))
    lines = [line.split(" ", 1)[1] for line in text_of(screen).splitlines()]
    lines = [line.split(", ~")[0].split(" in ")[0] for line in lines]
    assert lines == [
        "lab images begins: 2 releases",
        f"{K} build begins",
        f"{K} build: module-3 failed: why",
        f"{K} build: 10 of 25 modules",
        f"{K} build: 20 of 25 modules",
        f"{K} build: done",
        f"{K} boot: accelerator tcg",
        f"{K} verify begins",
        f"{K} verify: 10 of 24 modules",
        f"{K} verify: 20 of 24 modules",
        f"{K} verify: done",
    ]


class _Watched(io.StringIO):
    """A screen that tells when a word is on it."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self._word = word
        self.seen = threading.Event()

    def write(self, text: str) -> int:
        if self._word in text:
            self.seen.set()
        return super().write(text)


def test_events_are_shown_while_the_work_goes_on(run: Run) -> None:
    screen = _Watched("boot begins")
    with Progress(run, Console(file=screen, width=100)):
        emit(run.folder, K, "boot", "start")
        assert screen.seen.wait(10), "the thread did not pick it up"


def test_a_terminal_gets_a_row_a_kernel_and_the_failures(run: Run) -> None:
    screen = console(terminal=True)
    shown = Progress(run, screen)
    go_through(run, "build", fails=("module-3",))
    for name in ("module-0", "module-1"):
        emit(run.folder, K, "verify", "done", module=name)
    emit(run.folder, K, "verify", "start", module="module-2")
    shown.look()
    assert "build: module-3 failed: why" in text_of(screen)
    assert "begins" not in text_of(screen)
    plain = console()
    plain.print(shown.table())
    row, idle = (line.split() for line in text_of(plain).splitlines()[1:3])
    assert row[:5] == [K, "verify", "module-2", "2/24", "1"]
    assert idle == ["6.1-arm64", "nothing", "to", "do"]


def test_a_terminal_is_left_clean_after_an_interrupt(run: Run) -> None:
    screen = console(terminal=True)
    with pytest.raises(KeyboardInterrupt), Progress(run, screen):
        raise KeyboardInterrupt
    assert text_of(screen).count("\x1b[?25l") == text_of(screen).count("\x1b[?25h") == 1, "the cursor is back"


def row_after(*events: tuple[float, str, State, str]) -> Row:
    row = Row(K, frozenset({"a", "b", "c", "d"}))
    for at, stage, state, module in events:
        row.take(Event(t=at, kernel=K, stage=stage, state=state, module=module))
    return row


def test_what_is_left_by_the_pace_of_the_stage() -> None:
    row = row_after((0, "build", "start", ""), (5, "build", "done", "a"), (10, "build", "fail", "b"))
    assert row.left(10, {}) == 10
    assert row_after().left(10, {}) is None


def test_what_is_left_by_what_it_took_before() -> None:
    row = row_after((0, "verify", "start", ""), (5, "verify", "done", "a"))
    assert row.left(10, {"a": 100, "b": 1, "c": 2, "d": 5}) == 8
    assert row.left(10, {"a": 1, "b": 3}) == 3 + 2 + 2, "modules that are new take what is usual"


def test_a_broken_kernel_has_nothing_left_until_it_is_tried_again() -> None:
    broken: tuple[float, str, State, str] = (10, "boot", "fail", "")
    assert row_after((0, "boot", "start", ""), broken).left(20, {}) == 0
    assert not row_after(broken, (30, "boot", "start", "")).complete


def test_a_retry_that_passes_is_no_failure() -> None:
    row = row_after((1, "verify", "fail", "a"), (2, "verify", "done", "a"))
    assert not row.failed and row.finished == {"a"}


def earlier(seconds: float, each: float) -> Results:
    cells = [Cell(kernel=K, module=name, verdict=Verdict.PASS, stage=Stage.LOG, seconds=each) for name in MODULES]
    return Results(run="", started="", seconds=seconds, kmodlab="", kernels=[], modules=[], cells=cells)


def test_the_whole_run_is_guessed_from_the_earlier_one(run: Run) -> None:
    shown = Progress(run, console(), earlier(seconds=100, each=2))
    begin = time.time()
    left = shown.left(begin)
    assert left is not None and left == pytest.approx(100, abs=1)
    half_way = shown.left(begin + 40)
    assert half_way is not None and half_way == pytest.approx(60, abs=1), "images took time, no cell is done yet"
    go_through(run, "verify", modules=MODULES[:20])
    shown.look()
    faster = shown.left(begin + 40)
    assert faster is not None and faster == pytest.approx(20, abs=1), "a fifth of the cells is left"
    slower = shown.left(begin + 300)
    assert slower is not None and slower == pytest.approx(20, abs=1), "never below nothing"


def test_the_whole_run_is_guessed_from_its_own_rate(run: Run) -> None:
    shown = Progress(run, console())
    begin = time.time()
    assert shown.left(begin + 50) is None
    go_through(run, "verify", modules=MODULES[:5])
    shown.look()
    left = shown.left(begin + 50)
    assert left is not None and left == pytest.approx(200, abs=2)
