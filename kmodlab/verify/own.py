"""A project's own tests. They are the project's code: its pytest runs in the sandbox, and asks out here for what it may have.

It may have channels to the target (the pipes of an ssh that runs out here) and the far ends of the target's GPIO lines. One
pytest lives as long as the worker; which test it runs, and when, the worker says. Both sides talk over one
socket, a message each way.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from kmodlab.ground import sandbox
from kmodlab.ground.cache import PACKAGE
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import printable
from kmodlab.ground.sandbox import Answer, Limits
from kmodlab.guest.gpio import Chip
from kmodlab.guest.shell import Guest
from kmodlab.run.column import Column
from kmodlab.verify.backend import FAR, GuestBackend
from kmodlab.verify.module import ModuleUnderTest

LARGEST = 160_000
"""Bytes of a message: what a socket takes at once."""
MOST_CHANNELS = 32
"""Open at one time."""
COLLECT_LIMIT = 120.0
"""Seconds within which pytest must have read a project's tests."""
MOST_TESTS = 5000
MOST_TOLD = 5
"""Of the reasons why tests cannot be run, so many are told."""
LIFE = 12 * 3600.0
"""Seconds that a project's pytest may live."""
SILENT = "pytest said nothing for"
"""What is told of a test that has passed its limit."""
UNREAD = "the project's tests cannot be run: "
UNRUN = ("PytestUnknownMarkWarning", "PytestCollectionWarning", "PytestReturnNotNoneWarning")
"""What pytest says of tests that it does not run, or that cannot fail, and then passes over."""


class Said(BaseModel):
    """A message from inside; what is not of this shape ends the conversation."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["test", "unread", "collected", "channel", "wait", "kill", "gpio", "passed", "failed", "skipped"]
    name: str = ""
    """A test's; or what is asked of the GPIO chip."""
    text: str = ""
    """A script; why something failed; a module's name."""
    number: int = 0
    """A channel's; a GPIO line's."""
    value: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class OwnTest:
    """One test of a project."""

    project: Project
    name: str
    """pytest's id of it, from the folder of the tests."""
    module: str
    """Whose cell it belongs to."""
    broken: str = ""
    """Why it cannot be run, where it cannot."""


class Project:
    """The own tests of one folder, and the pytest that runs them."""

    def __init__(
        self, tests: Path, called: Callable[[str], str], modules: list[str], *, limit: float | None = None, discards: bool = False
    ) -> None:
        """`called` says which cell a module of the project has, `modules` are all cells that its tests may belong to; `limit` is
        in seconds for each test, where nobody else looks at the clock. It `discards` a target after each test: nothing is
        unloaded there.
        """
        self._tests = tests
        self._called = called
        self._modules = modules
        self._limit = limit
        self._discards = discards
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._answer: Answer | LabError | None = None
        self._channels: dict[int, subprocess.Popen[bytes]] = {}
        self._numbers = count(1)

    def collect(self) -> list[OwnTest]:
        """Its tests. What keeps it from running them is a broken test of each of its modules."""
        found: list[OwnTest] = []
        unread: list[str] = []
        self._start()
        try:
            while (said := self._hear(COLLECT_LIMIT)).kind != "collected":
                if said.kind == "unread":
                    unread.append(said.text)
                elif said.kind == "test" and len(found) < MOST_TESTS:
                    module = self._called(said.text)
                    if module in self._modules:
                        found.append(OwnTest(self, said.name, module))
                    else:
                        unread.append(f"{said.name} is for {said.text or 'no module'}: mark it with @pytest.mark.module(NAME)")
                self._say()
        except _EndedError as problem:
            unread.append(str(problem))
        if not found and not unread:
            unread.append("there is none in its files test_*.py: a test is a function test_...()")
        found += [OwnTest(self, "tests", module, UNREAD + "; ".join(unread[:MOST_TOLD])) for module in self._modules if unread]
        return found

    def run(self, test: OwnTest, module: ModuleUnderTest, open_chip: Callable[[], Chip] | None) -> Said:
        """Run one test; what it says in the end. LabError where its pytest cannot be started."""
        if self._socket is None:
            self.collect()
        with ExitStack() as chips:
            chip: Chip | None = None
            bounces = ExitStack()
            chips.callback(bounces.close)
            try:
                self._say(run=test.name, discards=self._discards, **_order(module))
                until = None if self._limit is None else time.monotonic() + self._limit
                while (said := self._hear(until and max(0.1, until - time.monotonic()))).kind not in (
                    "passed",
                    "failed",
                    "skipped",
                ):
                    if said.kind == "gpio" and said.name == "open":
                        if open_chip is None:
                            self._say(
                                error="the target has no GPIO lines that a test could drive; `hardware: [gpio]` asks for one"
                            )
                            continue
                        chip = chips.enter_context(_leaving(open_chip(), module))
                        self._say(chip=chip.chip, lines=chip.lines)
                    elif said.kind == "gpio":
                        self._gpio(chip, bounces, said)
                    else:
                        self._channel(module.guest, said)
            except _EndedError as problem:
                self.close()
                return Said(kind="failed", text=str(problem))
            except BaseException:
                # A time limit of pytest's, too: what it says now would be taken for an answer to something else.
                self.close()
                raise
        return said

    def connect(self, guest: Guest) -> None:
        """Have it connect to the target, before anybody looks at who is there."""
        if self._socket is None:
            return
        try:
            self._say(connect=True, **_guest(guest))
            while (said := self._hear(60 * guest.patience)).kind != "passed":
                self._channel(guest, said)
        except _EndedError:
            self.close()

    def close(self) -> None:
        """End its pytest, and all that it has open."""
        if self._socket:
            self._socket.close()
            self._socket = None
        for process in self._channels.values():
            process.kill()
            process.wait()
        self._channels.clear()

    def _start(self) -> None:
        self.close()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._answer = None
        self._thread = threading.Thread(target=self._live, args=(theirs,), daemon=True)
        self._thread.start()

    def _live(self, theirs: socket.socket) -> None:
        packages = Path(pytest.__file__).parents[1]
        python = [Path(sys.prefix), Path(sys.base_prefix), packages, PACKAGE]
        seen = {path: path for path in python if not path.is_relative_to("/usr")}
        command = [
            *(sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:labgrid"),
            # By their own names, and not as the entry point: a checkout may be newer than what is installed of it.
            *("-p", "no:kmodlab", "-p", "kmodlab.verify.fixtures", "-p", "kmodlab.verify.inside"),
            *("-c", "/dev/null", f"--rootdir={sandbox.WORK}", "--import-mode=importlib"),
            *("-o", f"pythonpath={sandbox.WORK}"),  # what tests share is beside them
            *(word for name in UNRUN for word in ("-W", f"error::pytest.{name}")),
            *("-q", f"--kmodlab-socket={theirs.fileno()}", f"--hosts={GuestBackend.NAME}://{FAR}", str(sandbox.WORK)),
        ]
        environment = ["env", f"PYTHONPATH={PACKAGE.parent}:{packages}"]
        try:
            self._answer = sandbox.run(
                None,
                [*environment, *command],
                limits=Limits(seconds=LIFE),
                read_only={**seen, self._tests: sandbox.WORK},
                inherited=[theirs.fileno()],
            )
        except LabError as problem:
            self._answer = problem
        finally:
            theirs.close()

    def _say(self, **words: Any) -> None:
        assert self._socket
        self._socket.settimeout(COLLECT_LIMIT)
        try:
            self._socket.send(json.dumps(words).encode())
        except OSError as problem:
            raise self._ended() from problem

    def _hear(self, limit: float | None) -> Said:
        assert self._socket
        self._socket.settimeout(limit)
        try:
            message = self._socket.recv(LARGEST)
        except TimeoutError as problem:
            raise _EndedError(f"{SILENT} {limit:.0f} s") from problem
        except OSError as problem:
            raise self._ended() from problem
        if not message:
            raise self._ended()
        try:
            said = Said.model_validate_json(message)
        except ValidationError as problem:
            raise _EndedError("what it says cannot be read") from problem
        return said.model_copy(update={"text": printable(said.text), "name": printable(said.name)})

    def _ended(self) -> _EndedError:
        """Why its pytest has gone. LabError where there is no sandbox for it."""
        if self._thread:
            self._thread.join(10)
        if isinstance(self._answer, LabError):
            raise self._answer
        return _EndedError(f"its pytest has ended: {self._answer.last_word if self._answer else 'no word'}")

    def _channel(self, guest: Guest, said: Said) -> None:
        assert self._socket
        if said.kind == "channel":
            for number in [number for number, process in self._channels.items() if process.poll() is not None]:
                if len(self._channels) >= MOST_CHANNELS:
                    del self._channels[number]
            if len(self._channels) >= MOST_CHANNELS:
                self._say(error=f"more than {MOST_CHANNELS} sessions at one time")
                return
            process = guest.channel(said.text, errors=bool(said.value))
            assert isinstance(process, subprocess.Popen) and process.stdin and process.stdout
            number = next(self._numbers)
            self._channels[number] = process
            pipes = [process.stdin.fileno(), process.stdout.fileno()]
            socket.send_fds(self._socket, [json.dumps({"number": number}).encode()], pipes)
            process.stdin.close()
            process.stdout.close()
            return
        found = self._channels.get(said.number)
        status: int | None = None
        if found and said.kind == "kill":
            found.kill()
        with suppress(subprocess.TimeoutExpired):
            status = found.wait(max(0.0, min(said.seconds, 600.0))) if found else -1
        self._say(status=status)

    def _gpio(self, chip: Chip | None, bounces: ExitStack, said: Said) -> None:
        if chip is None:
            self._say(error="the GPIO chip is not open")
            return
        line, value = said.number, said.value
        asked: dict[str, Callable[[], Any]] = {
            "press": lambda: chip.press(line),
            "release": lambda: chip.release(line),
            "pulse": lambda: chip.pulse(line, value),
            "read": lambda: chip.read(line),
            "level_after": lambda: chip.level_after(line, value, min(said.seconds, 60.0)),
            "bounce": lambda: bounces.enter_context(chip.bounce(line)),
            "bounced": bounces.close,
        }
        if said.name not in asked:
            self._say(error=f"a GPIO chip knows no '{said.name}'")
            return
        try:
            self._say(result=asked[said.name]())
        except AssertionError as problem:
            self._say(error=str(problem))


def projects(column: Column) -> list[Project]:
    """The folders of a run that have tests of their own."""
    tree, sources = column.order.tree, column.order.sources

    def project(folder: str, tests: Path) -> Project:
        modules = [name for name, source in sources.items() if source.folder.is_relative_to(tree.folder / folder)]
        prefixed = f"{folder}."

        def called(name: str) -> str:
            return f"{prefixed}{name}" if f"{prefixed}{name}" in modules else name

        return Project(tests, called, modules)

    return [project(folder, tests) for folder, tests in tree.tests.items()]


class _EndedError(Exception):
    """A project's pytest does not go on: why."""


@contextmanager
def _leaving(chip: Chip, module: ModuleUnderTest) -> Iterator[Chip]:
    """A chip, entered, which cannot go while the module holds its lines."""
    with chip:
        yield chip
        if module.is_loaded():
            module.unload()


def _guest(guest: Guest) -> dict[str, Any]:
    return {"guest": {"name": guest.name, "arch": guest.arch, "patience": guest.patience}}


def _order(module: ModuleUnderTest) -> dict[str, Any]:
    """What a test is told of its module and its target."""
    return {
        **_guest(module.guest),
        "entry": module.entry.model_dump(mode="json", by_alias=True),
        "needs": [need.model_dump(mode="json", by_alias=True) for need in module.needs],
        "in_tree": module.in_tree,
        "soft": module.soft,
        "wiring": module.gpio.model_dump(mode="json") if module.gpio else None,
    }
