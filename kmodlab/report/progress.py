"""What a run's events tell a person while it lasts: what is running, what is done, how long is left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event as Flag
from threading import Lock, Thread
from types import TracebackType

from rich.console import Console, JustifyMethod
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kmodlab.report.remarks import duration
from kmodlab.results.contract import Results
from kmodlab.results.events import LAST_STAGE, Event, Follower
from kmodlab.results.folder import Run

LAB = "lab"
"""What events without a kernel are shown as."""

LOOK_SECONDS = 0.25
PLAIN_EVERY = 10
"""In a log, every so many cells of a stage get a line."""


@dataclass
class Row:
    """One kernel: where it is, and which of its modules are through what."""

    kernel: str
    planned: frozenset[str]
    stage: str = "waiting"
    module: str = ""
    began: float | None = None
    stage_began: float = 0.0
    last: float = 0.0
    through: set[str] = field(default_factory=set)
    """Modules that the current stage is done with."""
    finished: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    broken: bool = False
    """A stage failed as a whole; nothing more is to come, unless it is tried again."""

    def take(self, event: Event) -> bool:
        """Take an event in; True where it began another stage."""
        self.began = event.t if self.began is None else self.began
        self.last = event.t
        new_stage = event.stage != self.stage and event.state != "note"
        if new_stage:
            self.stage, self.stage_began, self.module, self.through = event.stage, event.t, "", set()
        if not event.module and event.state != "note":
            self.broken = event.state == "fail"
        elif event.state == "start":
            self.module = event.module
        elif event.state != "note":
            self._end(event)
        return new_stage

    def _end(self, event: Event) -> None:
        self.through.add(event.module)
        self.failed.discard(event.module)
        if event.state == "fail":
            self.failed.add(event.module)
        if event.state == "fail" or event.stage == LAST_STAGE:
            self.finished.add(event.module)

    @property
    def complete(self) -> bool:
        """Nothing more is to come; so for a kernel without a cell."""
        return self.broken or self.planned <= self.finished

    @property
    def expected(self) -> int:
        """How many modules the current stage has to do: those that did not fail before."""
        return len(self.planned - (self.failed - self.through))

    def left(self, now: float, cost: Mapping[str, float]) -> float | None:
        """Seconds until it is complete; None where nothing tells.

        `cost` is what each module took in an earlier run; without it the current stage's own pace is kept.
        """
        if self.complete:
            return 0.0
        if cost:
            usual = sum(cost.values()) / len(cost)
            return sum(cost.get(module, usual) for module in self.planned - self.finished)
        if not self.through:
            return None
        return (now - self.stage_began) / len(self.through) * max(0, self.expected - len(self.through))


class Pace:
    """How long things took in an earlier run."""

    def __init__(self, previous: Results | None, planned: Mapping[str, frozenset[str]]) -> None:
        cells = [cell for cell in previous.cells if cell.seconds] if previous else []
        self._anywhere = {cell.module: cell.seconds for cell in cells}
        self._on = {kernel: {cell.module: cell.seconds for cell in cells if cell.kernel == kernel} for kernel in planned}
        worked = sum(cell.seconds for cell in cells)
        self.wall = previous.seconds / worked if previous and worked else 1.0
        """Seconds that passed for each second of cells' work: kernels run side by side, boots cost, too."""
        usual = worked / len(cells) if cells else 0.0
        expected = (self.cost(kernel).get(module, usual) for kernel, modules in planned.items() for module in modules)
        self.total = self.wall * sum(expected) if cells else None
        """Seconds for the whole of this run; None where there was none before."""

    def cost(self, kernel: str) -> Mapping[str, float]:
        """Seconds by module: on that kernel, or where it is new on any other."""
        return self._on.get(kernel) or self._anywhere


class Progress:
    """Shows a run's events until it is left: `with Progress(run, console): ...`.

    On a terminal a live table, a row a kernel; elsewhere a plain line for each stage of a kernel, each
    failing cell, each note and every tenth cell. `previous` (Run.previous) tells how long things take.
    """

    def __init__(self, run: Run, console: Console, previous: Results | None = None) -> None:
        self._console = console
        self._follower = Follower(run.folder / "events.jsonl")
        self._started = time.time()
        self._lock = Lock()
        self._stop = Flag()
        self._thread = Thread(target=self._follow, name="progress", daemon=True)
        plan = run.planned
        planned = {k.id: frozenset(c.module for c in plan.cells if c.kernel == k.id and not c.skip) for k in plan.kernels}
        self._rows = {
            kernel: Row(kernel, modules, stage="waiting" if modules else "nothing to do") for kernel, modules in planned.items()
        }
        self._pace = Pace(previous, planned)
        self._live = Live(console=console, get_renderable=self.table, refresh_per_second=4, transient=True)

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        if self._console.is_terminal:
            self._live.stop()

    def _follow(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self.look()
        self.look()

    def look(self) -> None:
        """Take in what is new."""
        for event in self._follower.events():
            with self._lock:
                row = self._rows.setdefault(event.kernel, Row(event.kernel, frozenset()))
                new_stage = row.take(event)
                line = self._line(row, event, new_stage)
            if line and (event.state == "fail" or not self._console.is_terminal):
                self._say(event, line)

    def _say(self, event: Event, line: str) -> None:
        clock = time.strftime("%H:%M:%S", time.localtime(event.t))
        text = f"{clock} {event.kernel or LAB} {line}".encode(self._console.encoding, "backslashreplace")
        style = "red" if event.state == "fail" else ""
        self._console.print(Text(text.decode(self._console.encoding), style=style), soft_wrap=True)

    def _line(self, row: Row, event: Event, new_stage: bool) -> str:
        """What a log says of an event: most often nothing."""
        text = f": {event.text}" if event.text else ""
        if event.state == "fail":
            return f"{event.stage}: {event.module or 'the whole stage'} failed{text}"
        if event.state == "note":
            return f"{event.stage}{text}"
        number = len(row.through)
        if event.module and event.state == "done" and number % PLAIN_EVERY == 0:
            return f"{event.stage}: {number} of {row.expected} modules{self._left_words(row, event.t)}"
        if not event.module and event.state == "done":
            return f"{event.stage}: done in {duration(event.t - row.stage_began)}{text}"
        return f"{event.stage} begins{text}" if new_stage else ""

    def _left_words(self, row: Row, now: float) -> str:
        left = row.left(now, self._pace.cost(row.kernel))
        return f", {_about(left)} left" if left else ""

    def left(self, now: float) -> float | None:
        """Seconds until the whole run is done; None where nothing tells yet."""
        rows = [row for row in self._rows.values() if row.planned]
        elapsed = now - self._started
        if self._pace.total is not None:
            work = self._pace.wall * sum(row.left(now, self._pace.cost(row.kernel)) or 0 for row in rows)
            planned = self._pace.total - elapsed
            return min(work, planned) if planned > 0 else work
        finished = sum(len(row.planned if row.complete else row.finished) for row in rows)
        return elapsed / finished * (sum(len(row.planned) for row in rows) - finished) if finished else None

    def table(self) -> Table:
        """The live table as it is now."""
        now = time.time()
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        for heading in ("kernel", "stage", "module", "done", "failed", "time", "left"):
            justify: JustifyMethod = "right" if heading in ("done", "time", "left") else "left"
            table.add_column(heading, no_wrap=True, justify=justify)
        with self._lock:
            for row in self._rows.values():
                active = row.began is not None and not row.complete
                table.add_row(*self._cells(row, now), style="" if active else "dim")
            left = self.left(now)
        table.add_row("all", "", "", "", "", duration(now - self._started), _about(left), style="bold")
        return table

    def _cells(self, row: Row, now: float) -> tuple[str | Text, ...]:
        done = row.complete and bool(row.planned)
        stage = f"{row.stage} failed" if row.broken else "done" if done else row.stage
        spent = (row.last if done else now) - row.began if row.began is not None else 0
        return (
            row.kernel or LAB,
            stage,
            "" if done else row.module,
            f"{len(row.through)}/{row.expected}" if row.through or row.module else "",
            Text(str(len(row.failed)) if row.failed else "", style="red"),
            duration(spent) if spent else "",
            "" if row.complete else _about(row.left(now, self._pace.cost(row.kernel))),
        )


def _about(left: float | None) -> str:
    """A guess in whole seconds; nothing where there is none."""
    if left is None:
        return ""
    return f"~{duration(left)}" if left >= 10 else f"~{max(1, round(left))} s"
