"""The pytest plugin that runs a project's own tests inside the sandbox, one after the other, as the worker outside says.

What a test gets here are the ordinary objects (`Guest`, `ModuleUnderTest`, Testinfra's `Host`), by the same fixtures as elsewhere
(`fixtures`): only what they talk through is asked for outside (`own`).
"""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from _pytest.runner import runtestprotocol

from kmodlab.guest.shell import Guest, Process
from kmodlab.plan.catalog import Module
from kmodlab.plan.wiring import Wiring
from kmodlab.verify import backend, fixtures, words
from kmodlab.verify.module import ModuleUnderTest

TOLD = 30_000
"""Characters of a failure that are told outside."""


class Outside:
    """The worker, which is asked over a socket and answers each question."""

    def __init__(self, number: int) -> None:
        self._socket = socket.socket(fileno=number)
        self.guest: Guest | None = None
        self.order: dict[str, Any] = {}

    def ask(self, kind: str, **words: Any) -> tuple[dict[str, Any], list[int]]:
        """Ask, and what the answer is, with the files that come along. AssertionError for what is refused."""
        self._socket.send(json.dumps({"kind": kind, **words}).encode())
        return self.hear()

    def tell(self, kind: str, **words: Any) -> None:
        """Say something that is not answered, but by the next order."""
        self._socket.send(json.dumps({"kind": kind, **words}).encode())

    def hear(self) -> tuple[dict[str, Any], list[int]]:
        """The next message; SystemExit where nobody is outside any more."""
        message, files, _, _ = socket.recv_fds(self._socket, 1 << 18, 2)
        if not message:
            sys.exit("nobody is outside any more")
        answer = json.loads(message)
        if error := answer.get("error"):
            raise AssertionError(error)
        return answer, files


class Channel:
    """A process outside that talks to the target."""

    def __init__(self, outside: Outside, script: str, *, errors: bool) -> None:
        self._outside = outside
        answer, (stdin, stdout) = outside.ask("channel", text=script, value=int(errors))
        self._number = answer["number"]
        self.stdin: IO[bytes] = os.fdopen(stdin, "wb")
        self.stdout: IO[bytes] = io.BufferedReader(io.FileIO(stdout))

    def kill(self) -> None:
        """End it."""
        self._outside.ask("kill", number=self._number)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status."""
        answer, _ = self._outside.ask("wait", number=self._number, seconds=600.0 if timeout is None else float(timeout))
        status = answer["status"]
        if status is None:
            raise subprocess.TimeoutExpired("the session", timeout or 600.0)
        return int(status)


class FarGuest(Guest):
    """The target, whose channels are opened outside."""

    outside: Outside

    def channel(self, script: str, *, errors: bool = False) -> Process:
        """As Guest's."""
        return Channel(self.outside, script, errors=errors)


class FarChip:
    """A GPIO chip that is driven outside: `guest.gpio.Chip` says what each of these does."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        answer, _ = outside.ask("gpio", name="open")
        self.chip: str = answer["chip"]
        self.lines: dict[str, int] = answer["lines"]

    def _do(self, name: str, line: int = 0, value: int = 0, seconds: float = 0.0) -> Any:
        return self._outside.ask("gpio", name=name, number=line, value=value, seconds=seconds)[0]["result"]

    def press(self, line: int) -> None:
        self._do("press", line)

    def release(self, line: int) -> None:
        self._do("release", line)

    def pulse(self, line: int, n: int) -> None:
        self._do("pulse", line, n)

    @contextmanager
    def bounce(self, line: int) -> Iterator[None]:
        self._outside.ask("gpio", name="bounce", number=line)
        try:
            yield
        finally:
            self._do("bounced")

    def read(self, line: int) -> int:
        return int(self._do("read", line))

    def wait(self, line: int, value: int, timeout: float = 10) -> None:
        level = self._do("level_after", line, value, float(timeout))
        assert level == value, f"line {line} of {self.chip} is {level} after {timeout} s, not {value}"


class Inside:
    """How tests in the sandbox reach the target: through the worker, which watches it as well."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    def guest(self, host: object) -> Guest:
        assert self._outside.guest
        return self._outside.guest

    def module(self, item: pytest.Item, guest: Guest) -> ModuleUnderTest:
        order = self._outside.order
        needs = [Module.model_validate_json(json.dumps(need)) for need in order["needs"]]
        wiring = Wiring.model_validate(order["wiring"]) if order["wiring"] else None
        entry = Module.model_validate_json(json.dumps(order["entry"]))
        return ModuleUnderTest(entry, guest, needs, order["in_tree"], order["soft"], wiring)

    @contextmanager
    def gpio(self, module: ModuleUnderTest) -> Iterator[FarChip]:
        yield FarChip(self._outside)

    @contextmanager
    def watched(self, module: ModuleUnderTest) -> Iterator[None]:
        yield

    @property
    def discards(self) -> bool:
        return bool(self._outside.order["discards"])

    def close(self) -> None:
        """The channels end with their worker."""


OUTSIDE = pytest.StashKey[Outside]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("kmodlab").addoption("--kmodlab-socket", type=int, help="where the worker is asked")


def pytest_configure(config: pytest.Config) -> None:
    outside = config.stash[OUTSIDE] = Outside(config.getoption("--kmodlab-socket"))
    config.stash[fixtures.WAY] = Inside(outside)
    backend.carry(FarGuest(backend.FAR, Path("/dev/null"), ""))


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Keep why a file could not be read."""
    if report.failed:
        lines = report.longreprtext.strip().splitlines() or [""]
        why = next((line for line in reversed(lines) if line.startswith("E ")), lines[-1])
        UNREAD.append(f"{report.nodeid}: {why.removeprefix('E').strip()}")


UNREAD: list[str] = []


def pytest_collection_finish(session: pytest.Session) -> None:
    outside = session.config.stash[OUTSIDE]
    for why in UNREAD:
        outside.ask("unread", text=why[:TOLD])
    for item in session.items:
        outside.ask("test", name=item.nodeid, text=fixtures.module_name(item))
    outside.tell("collected")
    # A file that cannot be read is told already; it does not keep the others from being run.
    session.testsfailed = 0


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Run what the worker says until it has gone."""
    outside = session.config.stash[OUTSIDE]
    items = {item.nodeid: item for item in session.items}
    while True:
        order, _ = outside.hear()
        if "connect" in order and outside.guest:
            # It was brought back: its log begins anew, with numbers that the old one had already.
            outside.guest.close()
            outside.guest = None
        _meet(outside, order["guest"])
        if "connect" in order:
            assert outside.guest
            outside.guest.log.mark()
            outside.guest.sh(":")
            outside.tell("passed")
            continue
        outside.order = order
        kind, text = _run(items[order["run"]])
        outside.tell(kind, text=text[:TOLD])


def _meet(outside: Outside, told: dict[str, Any]) -> None:
    """The target, where it is not known yet."""
    if outside.guest is None:
        outside.guest = FarGuest(told["name"], Path("/dev/null"), told["arch"], patience=told["patience"])
        outside.guest.outside = outside
        backend.GuestBackend.guests[backend.FAR] = outside.guest


def _run(item: pytest.Item) -> tuple[str, str]:
    reports = runtestprotocol(item, nextitem=None, log=False)
    failed = next((report for report in reports if report.failed), None)
    if failed:
        first, _, rest = FAILURES.pop(item.nodeid, failed.longreprtext).partition("\n")
        return "failed", f"{first}\n{rest}\n{failed.longreprtext}"
    skipped = next((report for report in reports if report.skipped), None)
    if skipped and hasattr(skipped, "wasxfail"):
        return "skipped", f"it fails, as its mark xfail expects: {skipped.wasxfail.removeprefix('reason: ') or 'no reason given'}"
    if skipped:
        return "skipped", str(skipped.longrepr[2] if isinstance(skipped.longrepr, tuple) else skipped.longrepr)
    return "passed", ""


FAILURES: dict[str, str] = {}
"""By test, why it failed, in words."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if report.failed and call.excinfo:
        FAILURES.setdefault(item.nodeid, words.failure(backend.plain(item.name), call.excinfo))
    return report  # type: ignore[return-value]
