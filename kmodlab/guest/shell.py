"""A target under test, as a test uses it: a shell over one shared SSH connection, and its kernel log."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import IO, Literal, Protocol, TypeAlias

from pydantic import TypeAdapter, ValidationError

from kmodlab.ground import process
from kmodlab.judge.kernel_log import KERNEL, KernelLog, LogEnded, LogMissError, Record

LAB = "/run/kmodlab"
"""The lab's folder on a target; gone with its next boot."""
MODULES = f"{LAB}/modules"
PROGRAMS = f"{LAB}/programs"
LAB_MODULES = f"{LAB}/lab-modules"
MARK = "kmodlab-mark"
MARKED = re.compile(rf"{MARK} \d+$")
FLOOD = 2000
"""Records that come while one is awaited: more are a flood, in which the awaited one drowns."""
FLOODED = "the kernel log is flooded"
SYNC_LIMIT = 15.0
"""Seconds until a mark written to /dev/kmsg must come back; more means that the target no longer works."""
LAST_WORD = 20.0
"""Seconds in which a target that nothing else was asked must have answered."""
LOOK_LIMIT = 20.0
"""Seconds that a look at a target may take."""
AGENTS = Path(__file__).parent / "agents"
"""What runs on a target, as files to send there."""
AGENT = (AGENTS / "guest.py").read_text()
OVER = 124
"""The status by which the agent says that a limit was over."""
MOST_LINES = 10_000
"""Of a session, so many lines wait to be read; then it waits."""
GRACE = 8.0
"""Seconds that a command has beyond its own limit to come back over a slow connection."""


LONGEST = 64 << 20
"""Bytes of an answer: what the agent gives of two streams, escaped as JSON escapes."""
_Answer: TypeAlias = tuple[int, int, str, str, dict[str, str | None] | None]
_ANSWER: TypeAdapter[_Answer] = TypeAdapter(_Answer)


class GuestLostError(Exception):
    """The target does not answer any more, or not in time: whatever was asked of it is not known to have ended."""


@dataclass(frozen=True)
class Result:
    """What a command on the target did."""

    rc: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Look:
    """What the kernel of a target says at one moment."""

    places: Mapping[str, str]
    """By file of the kernel's: its text; by folder, with a slash at its end: the names in it, one a line."""

    @property
    def tainted(self) -> int:
        """/proc/sys/kernel/tainted."""
        return number(self.places.get("/proc/sys/kernel/tainted", ""))


@dataclass(frozen=True)
class Memory:
    """Where a module lay."""

    module: str
    """As the kernel calls it."""
    parts: tuple[tuple[int, int], ...]
    """Its code and variables, from an address to another."""
    anywhere: bool
    """Whether to look for pointers there in all of the kernel's variables, when it has gone, not only in lists known for them."""


def number(text: str) -> int:
    """A number that a target tells; GuestLostError where it is none."""
    found = re.fullmatch(r"\s*(\d{1,18})\s*", text)
    if not found:
        raise GuestLostError(f"the guest's answer cannot be read: {text.strip()[:40]!r} is no number")
    return int(found[1])


class Process(Protocol):
    """As much of a process of ours that talks to the target as is used here: subprocess.Popen, as a rule."""

    @property
    def stdin(self) -> IO[bytes] | None: ...

    @property
    def stdout(self) -> IO[bytes] | None: ...

    def kill(self) -> None: ...

    def wait(self, timeout: float | None = None) -> int: ...


class Session:
    """A shell command that runs on the target while the test does other things."""

    def __init__(self, process: Process, script: str, patience: float = 1.0) -> None:
        self._process = process
        self._patience = patience
        self._script = script
        self._lines: Queue[str | None] = Queue(maxsize=MOST_LINES)
        self._seen: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in iter(lambda: self._process.stdout.readline(1 << 16), b""):  # type: ignore[union-attr]
            self._lines.put(line.decode(errors="replace").rstrip("\r\n"))
        self._lines.put(None)

    def expect(self, pattern: str, timeout: float = 10) -> str:
        """The next line that `pattern` is found in; AssertionError when it does not come."""
        deadline = time.monotonic() + timeout * self._patience
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                line = None
            if line is None:
                raise AssertionError(f"{self._script!r} did not print {pattern!r} within {timeout} s; it printed {self._seen}")
            self._seen.append(line)
            if re.search(pattern, line):
                return line

    def send(self, text: str) -> None:
        """Write to its standard input."""
        assert self._process.stdin
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def close(self) -> None:
        """End its standard input and wait until it ended by itself."""
        assert self._process.stdin
        self._process.stdin.close()
        self.wait()

    def wait(self, timeout: float = 10) -> int:
        """Its exit status; AssertionError when it does not end."""
        try:
            return self._process.wait(timeout * self._patience)
        except subprocess.TimeoutExpired as problem:
            raise AssertionError(f"{self._script!r} did not end within {timeout} s; it printed {self._seen}") from problem

    def kill(self) -> None:
        """End our side; the target's side gets a hang-up."""
        self._process.kill()
        self._process.wait()


class Shell:
    """Runs scripts one after the other through one remote process: a session of its own costs each an emulated login.

    What comes back is a stranger's: the machine's kernel may be broken, or wicked. What is not an answer costs the connection.
    """

    def __init__(self, connect: Callable[[str], Process]) -> None:
        self._connect = connect
        self._process: Process | None = None
        self._answers: Queue[bytes] = Queue()
        self._ids = itertools.count(1)
        self._told: dict[str, str] = {}
        self.newest: Look | None = None
        """The look at everything that was the last to be asked for anything."""

    def run(self, language: Literal["shell", "python"], script: str, stdin: str, limit: float) -> Result:
        """Run a script; GuestLostError when no answer comes within `limit` and a grace, or none that can be read."""
        job: dict[str, str | float] = {language: script, "stdin": stdin, "limit": limit}
        _, status, output, errors, _ = self._ask(job, limit, script.strip().partition("\n")[0])
        return Result(status, output, errors)

    def look(
        self,
        limit: float,
        *,
        everywhere: bool,
        checks: bool = False,
        script: str = "",
        timeout: float = 0,
        gone: Memory | None = None,
    ) -> tuple[Result, Look]:
        """What the target is like after a shell script, if there is one, that may take `timeout`; errors as with `run`."""
        job: dict[str, str | float] = {"look": ("checks" if checks else "all") if everywhere else "kernel"}
        if gone:
            job["gone"] = json.dumps([gone.module, gone.parts, gone.anywhere])
        if script:
            job |= {"shell": script, "stdin": "", "limit": timeout}
        _, status, output, errors, news = self._ask(job, timeout + limit, script.strip().partition("\n")[0] or "a look at it")
        for place, text in (news or {}).items():
            if text is None:
                self._told.pop(place, None)
            else:
                self._told[place] = text
        seen = Look(dict(self._told))
        self.newest = seen if everywhere else None
        return Result(status, output, errors), seen

    def _ask(self, job: dict[str, str | float], limit: float, what: str) -> _Answer:
        self.newest = None
        job["id"] = next(self._ids)
        process = self.start()
        try:
            assert process.stdin
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
            answer = self._answers.get(timeout=limit + GRACE)
            if not answer:
                raise GuestLostError(f"the connection was lost during: {what}")
            told = _ANSWER.validate_json(answer, strict=True)
            if told[0] != job["id"]:
                raise GuestLostError(f"the guest's answer cannot be read: it is not one to: {what}")
        except Empty as problem:
            self.close()
            raise GuestLostError(f"no answer within {limit:g} s to: {what}") from problem
        except OSError as problem:
            self.close()
            raise GuestLostError(f"the connection was lost during: {what}") from problem
        except ValidationError as problem:
            self.close()
            raise GuestLostError(f"the guest's answer cannot be read: to: {what}") from problem
        except BaseException:  # a time limit of pytest's, too: what comes now would be taken for the answer to something else
            self.close()
            raise
        return told

    def start(self) -> Process:
        """The remote process, which is started where there is none; nothing waits for it."""
        if self._process is None:
            self._told = {}
            # A guest that talks without being asked is not listened to.
            self._process, self._answers = self._connect(f"exec python3 -u -c {shlex.quote(AGENT)}"), Queue(maxsize=2)
            threading.Thread(target=self._read, args=(self._process, self._answers), daemon=True).start()
        return self._process

    @staticmethod
    def _read(process: Process, answers: Queue[bytes]) -> None:
        assert process.stdout
        try:
            for line in iter(lambda: process.stdout.readline(LONGEST), b""):  # type: ignore[union-attr]
                answers.put(line)
        except ValueError:  # closed
            pass
        answers.put(b"")

    def close(self) -> None:
        """End the remote process; the next script starts another."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


class GuestLog:
    """The target's kernel log, followed from now on. Nothing in it is ever cleared, and nothing is missed."""

    def __init__(self, connect: Callable[[str], Process], patience: float = 1.0) -> None:
        self._connect = connect
        self._patience = patience
        self._marks = itertools.count(time.monotonic_ns())
        self._kernel_log = KernelLog()
        self.latest = -1
        """The newest mark."""
        self._process: Process | None = None

    def start(self) -> Process:
        """The remote shell that streams the log and writes our marks into it, started (again) where there is none."""
        if self._process is None or self._kernel_log.ended:
            self.close()
            # cat ends when the kernel overwrote what it was to read next; the next one goes on with what is left.
            script = f'while :; do cat /dev/kmsg; done & while read -r n; do echo "{MARK} $n" >/dev/kmsg; done; kill $!'
            self._process = self._connect(script)
            assert self._process.stdout
            self._kernel_log.follow(self._process.stdout)
        return self._process

    def mark(self) -> int:
        """A point in the log, after everything that was logged before this call."""
        process = self.start()
        token, before = next(self._marks), self._kernel_log.taken
        try:
            assert process.stdin
            process.stdin.write(f"{token}\n".encode())
            process.stdin.flush()
            self.latest = self._kernel_log.wait_for(rf"^{MARK} {token}$", -1, SYNC_LIMIT * self._patience, ours=True).seq
            return self.latest
        except (OSError, LogMissError) as problem:
            if (came := self._kernel_log.taken - before) > FLOOD:
                raise GuestLostError(f"{FLOODED}: {came} records came, and not the lab's own") from problem
            raise GuestLostError(f"the kernel log cannot be followed: {str(problem).splitlines()[0]}") from problem

    def since(self, mark: int) -> list[Record]:
        """Every record after `mark` and before this call, without the lab's own marks."""
        return self.window(mark)[0]

    def window(self, mark: int) -> tuple[list[Record], int]:
        """The same, and the mark at which the next window begins: nothing is between the two."""
        end = self.mark()
        return [record for record in self.known(mark) if record.seq < end], end

    def known(self, mark: int) -> list[Record]:
        """What has arrived since `mark`, without asking a target that may be dead."""
        return [record for record in self._kernel_log.since(mark) if record.facility == KERNEL or not MARKED.match(record.text)]

    def gaps(self, mark: int) -> list[str]:
        """Why the log since `mark` cannot be trusted to be whole; empty where it can."""
        return [gap.reason for gap in self._kernel_log.gaps if gap.after >= mark]

    def expect(self, pattern: str, since: int, timeout: float = 10) -> Record:
        """Wait for a line; AssertionError when it does not come."""
        self.start()
        try:
            return self._kernel_log.wait_for(pattern, since, timeout * self._patience)
        except LogEnded as problem:
            raise GuestLostError(str(problem).splitlines()[0]) from problem
        except LogMissError as problem:
            raise AssertionError(str(problem)) from problem

    def close(self) -> None:
        """Stop following."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


@dataclass
class Guest:
    """A target that SSH reaches as `name` with the options of `ssh_config`."""

    name: str
    ssh_config: Path
    arch: str
    become: bool = False
    """SSH's user is not root, and becomes root by sudo, without a password."""
    patience: float = 1.0
    """By how much every limit that is given to it, or to its log and sessions, is longer: 1 is a distribution's kernel."""
    checks: bool = False
    """Its kernel keeps marks in its slab caches: each look at everything has it check them."""
    log: GuestLog = field(init=False)
    _shell: Shell = field(init=False)
    _release: str = ""

    def __post_init__(self) -> None:
        self.log, self._shell = GuestLog(self.channel, self.patience), Shell(self.channel)

    def channel(self, script: str, *, errors: bool = False) -> Process:
        """Start a POSIX shell script there as root, over a channel of its own; its errors come with its output, or not at all."""
        stderr = subprocess.STDOUT if errors else subprocess.DEVNULL
        return subprocess.Popen(self.command(script), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def connect(self) -> None:
        """Start our connections to it ahead of their first use, which would wait for them."""
        self._shell.start()
        self.log.start()

    def close(self) -> None:
        """End our connections to it."""
        self.log.close()
        self._shell.close()

    def command(self, script: str) -> list[str]:
        """The command that runs a POSIX shell script there as root over a channel of its own."""
        return ["ssh", "-F", str(self.ssh_config), self.name, "--", self.command_line(script)]

    def command_line(self, script: str) -> str:
        """The same script as SSH is to pass it on."""
        return f"sudo -n -- sh -c {shlex.quote(script)}" if self.become else script

    def sh(self, script: str, *, check: bool = True, timeout: float = 20, stdin: str = "") -> Result:
        """Run a POSIX shell script as root.

        AssertionError, with all it printed, where it ends with another status than 0 (unless `check` is False) or
        not within `timeout` seconds; GuestLostError where the target does not answer.
        """
        return self._run("shell", script, stdin, check, timeout)

    def python(self, code: str, *, check: bool = True, timeout: float = 30, stdin: str = "") -> Result:
        """Run Python as root in a process of its own; as sh()."""
        return self._run("python", code, stdin, check, timeout)

    def _run(self, language: Literal["shell", "python"], script: str, stdin: str, check: bool, timeout: float) -> Result:
        timeout *= self.patience
        answer = self._shell.run(language, script, stdin, timeout)
        if answer.rc == OVER:
            raise AssertionError(f"did not end within {timeout:g} s: {_told(script, answer)}")
        if check and answer.rc:
            last = (answer.stderr.strip().splitlines() or [""])[-1]
            raise AssertionError(f"status {answer.rc}{f' ({last})' if last else ''} of: {_told(script, answer)}")
        return answer

    def look(
        self, script: str = "", *, everywhere: bool = True, timeout: float = 0, gone: Memory | None = None
    ) -> tuple[Result, Look]:
        """Run a POSIX shell script as root, if there is one, and tell what the target is like then; or only of its modules. Where
        the kernel still points to the memory of a module that has gone since, that, and nothing else, is new.

        AssertionError where the script does not end within `timeout` seconds; GuestLostError where the target does not answer.
        """
        timeout *= self.patience
        answer, seen = self._shell.look(
            LOOK_LIMIT * self.patience, everywhere=everywhere, checks=self.checks, script=script, timeout=timeout, gone=gone
        )
        if answer.rc == OVER:
            raise AssertionError(f"did not end within {timeout:g} s: {_told(script, answer)}")
        return answer, seen

    def look_again(self) -> Look:
        """The newest look at everything, where nothing was run since; else another one."""
        return self._shell.newest or self.look()[1]

    def taint(self) -> int:
        """/proc/sys/kernel/tainted, without the agent: where nothing else is asked, it need not start. GuestLostError."""
        try:
            answer = process.run(self.command("exec cat /proc/sys/kernel/tainted"), seconds=LAST_WORD * self.patience)
        except subprocess.TimeoutExpired as problem:
            raise GuestLostError(f"no answer within {problem.timeout:g} s to: what taints the kernel?") from problem
        if answer.status:
            raise GuestLostError("the connection was lost during: what taints the kernel?")
        return number(answer.text)

    def spawn(self, script: str) -> Session:
        """Start a shell script and go on; it is hung up when the session is killed."""
        return Session(self.channel(script, errors=True), script, self.patience)

    @property
    def release(self) -> str:
        """uname -r."""
        if not self._release:
            self._release = self.sh("uname -r").stdout.strip()
        return self._release

    @property
    def version(self) -> tuple[int, int]:
        """The kernel line as numbers, (6, 12)."""
        found = re.match(r"(\d{1,9})\.(\d{1,9})", self.release)
        if not found:
            raise GuestLostError(f"the guest's answer cannot be read: {self.release[:40]!r} is no kernel release")
        return int(found[1]), int(found[2])


def _told(script: str, answer: Result) -> str:
    return f"{script}\nstdout: {answer.stdout}\nstderr: {answer.stderr}"
