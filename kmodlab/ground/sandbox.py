"""Other people's code runs here and nowhere else: reading Makefiles, building, user programs, lint, kernels' builds, signing.

Inside, there is a root of our choosing, read-only, and at most one folder that can be written to. No network, no environment, no
privileges, no other file and no other process of this machine; and no more of it than `Limits` says. Whoever runs the lab, nobody
in a sandbox is root: where root does, an unprivileged user that owns nothing is put in its place first. Where a machine cannot
give all of this, nothing is run: LabError.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from kmodlab.ground import seccomp
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import printable
from kmodlab.ground.nobody import NOBODY, become_nobody, program
from kmodlab.ground.process import LONG

WORK = Path("/mnt")
"""Where the one writable folder is inside a sandbox: a folder that every root has."""
INSIDE = "1000"
"""The user's and group's number as the sandbox sees it."""
STAGE = Path("/mnt")
"""Where root, before it becomes nobody, puts what nobody may see: on a tmpfs, in a mount namespace of its own."""
USR_ONLY = (
    *("--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/sbin", "/sbin"),
    *("--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--dir", str(WORK)),
)
"""A root of this machine's programs and nothing else of it."""
DYING = ("--die-with-parent", "--new-session")
ISOLATED = (
    *(*DYING, "--unshare-all", "--unshare-user", "--disable-userns", "--uid", INSIDE, "--gid", INSIDE, "--cap-drop", "ALL"),
    *("--clearenv", "--setenv", "HOME", "/tmp", "--setenv", "LC_ALL", "C.UTF-8"),  # noqa: S108
    *("--setenv", "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
)
"""Namespaces of its own, of which it can make no more, no capability in any, and an environment that is not ours."""
IN_MEMORY = ("/dev/shm", "/tmp")  # noqa: S108 - the sandbox's own
MENDS = {
    "uid map|user namespace|new namespace": "allow user namespaces (sysctl user.max_user_namespaces, "
    "kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)",
    "mount proc": "a container hides parts of /proc: start it with all of it (docker: --security-opt systempaths=unconfined)",
    "chown": "root of a container must know user 61184 (/etc/subuid); or run kmodlab as an ordinary user",
    "": "SECURITY.md says what a sandbox needs",
}
"""What bubblewrap may say where it cannot make a sandbox, and what mends that; the first that is found."""
KILLED = "killed: "
"""What the log of a command begins with that passed a limit."""
MIB = 1 << 20
LOOK_SECONDS = 0.25
"""How often it is looked whether a sandbox keeps to its limits. One that ends earlier costs no look."""
BURIAL_SECONDS = 10.0
"""For the kernel to take down what was killed."""
LINE = 4096
"""Characters of a line of output that are kept: a search for a pattern in a line of megabytes takes for ever."""


@dataclass(frozen=True)
class Limits:
    """What a sandbox may use, all of its processes together."""

    seconds: float
    memory: int = min(psutil.virtual_memory().total // 2, (4096 + 512 * (os.cpu_count() or 1)) * MIB)
    """Bytes."""
    reserves: bool = False
    """Its processes may reserve more addresses than they may have memory, and share much of that: each of what they really use
    counts once, files in memory too."""
    look: float = LOOK_SECONDS
    """Seconds between two looks at whether it keeps to them."""
    processes: int = 512 + 16 * (os.cpu_count() or 1)
    file: int = 1024 * MIB
    """Bytes of one file."""
    disk: int = 4096 * MIB
    """Bytes in its writable folder."""
    files: int = 200_000
    """In its writable folder."""
    temporary: int = 512 * MIB
    """Bytes in its /tmp, which is memory, and in its /dev/shm."""
    output: int = 16 * MIB
    """Bytes that it may print."""


@dataclass(frozen=True)
class Answer:
    """What became of a command in a sandbox."""

    status: int
    """Its exit status; never 0 where a limit was passed."""
    output: str
    """What it printed, both streams as they came, printable. Its lines are cut at LINE characters."""
    overrun: str = ""
    """The limit that was passed, in words, and for which all of it was killed; empty where it ended by itself."""

    @property
    def log(self) -> str:
        """All that is known of it, as people read it."""
        return f"{KILLED}{self.overrun}\n{self.output}" if self.overrun else self.output

    @property
    def last_word(self) -> str:
        """One line that says why it failed, where nothing else is known of the command."""
        return self.overrun or (self.output.strip().splitlines() or [f"status {self.status}, and no word"])[-1]


def run(
    root: Path | None,
    command: Sequence[str],
    *,
    limits: Limits,
    work: Path | None = None,
    read_only: Mapping[Path, Path] | None = None,
    secrets: Mapping[Path, bytes] | None = None,
    stdin: str = "",
    inherited: Sequence[int] = (),
) -> Answer:
    """Run a command with `root` as a read-only `/` (None: this machine's /usr only) and `work` writable at /mnt.

    `read_only` maps more paths of this machine to where they are seen inside; `secrets` has the content of files that are there
    as long as the sandbox is, and on no disk; `inherited` are open files, which the command gets under the same numbers. Where
    root runs the lab, `work` is nobody's from now on; and what is read of it is a stranger's, whoever does
    (`files.read_regular`). LabError where this machine cannot make a sandbox.
    """
    read_only = read_only or {}
    if work and os.geteuid() == 0 and work.lstat().st_uid != NOBODY:
        _give_to_nobody(work)
    with _given(stdin, secrets or {}) as given:
        outer, seen = _staged([*([root] if root else []), *read_only, *([work] if work else [])], given)
        arguments = [
            *ISOLATED,
            *(("--ro-bind", seen[root], "/") if root else USR_ONLY),
            *("--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"),
            *(word for folder in IN_MEMORY for word in ("--size", str(limits.temporary), "--tmpfs", folder)),
            *_words("--ro-bind", ((seen[outside], str(inside)) for outside, inside in read_only.items())),
            *(("--bind", seen[work], str(WORK)) if work else ()),
            *_words(
                "--ro-bind-data", ((str(file), str(inside)) for file, inside in zip(given.secrets, secrets or {}, strict=True))
            ),
            *("--remount-ro", "/", "--chdir", str(WORK if work else "/")),
            *("--seccomp", str(given.filter), "--json-status-fd", str(given.status)),
        ]
        # By a file: what is on bubblewrap's command line can be read inside.
        os.pwrite(given.arguments, "".join(f"{word}\0" for word in arguments).encode(errors="surrogateescape"), 0)
        inner = [program("bwrap", "bubblewrap"), "--args", str(given.arguments), "--", *_limited(limits), *command]
        answer = _watched([*outer, *inner], given, limits, work, inherited)
        told = re.search(rb'"exit-code": (\d+)', os.pread(given.status, 1 << 16, 0))
    if answer.overrun or told:
        return Answer(int(told[1]) if told and not answer.overrun else 1, answer.output, answer.overrun)
    said = (line for line in reversed(answer.output.splitlines()) if line.startswith(("bwrap: ", "setpriv: ")))
    raise _no_sandbox(next(said, "no word"))


def _no_sandbox(said: str) -> LabError:
    mend = next(mend for pattern, mend in MENDS.items() if re.search(pattern, said))
    return LabError(f"this machine gives other people's code no sandbox ({said}), so none is run: {mend}")


def _give_to_nobody(work: Path) -> None:
    answer = subprocess.run(
        ["chown", "-R", "-h", f"{NOBODY}:{NOBODY}", "--", str(work)], capture_output=True, text=True, check=False, timeout=LONG
    )
    if answer.returncode:
        raise _no_sandbox(answer.stderr.strip())


@dataclass(frozen=True)
class _Given:
    """Files in memory that a sandbox's makers inherit."""

    stdin: int
    arguments: int
    filter: int
    status: int
    """What bubblewrap says of the sandbox."""
    first: int
    """What the first bubblewrap says, which for root is another one: its child is the ancestor of everything."""
    secrets: tuple[int, ...]


@contextmanager
def _given(stdin: str, secrets: Mapping[Path, bytes]) -> Iterator[_Given]:
    files = []
    try:
        for content in (stdin.encode(), b"", seccomp.program(), b"", b"", *secrets.values()):
            files.append(os.memfd_create("kmodlab"))
            os.pwrite(files[-1], content, 0)
        given, arguments, program, status, other, *rest = files
        yield _Given(given, arguments, program, status, other if os.geteuid() == 0 else status, tuple(rest))
    finally:
        for file in files:
            os.close(file)


def _words(option: str, pairs: Iterator[tuple[str, str]]) -> list[str]:
    return [word for pair in pairs for word in (option, *pair)]


def _staged(paths: Sequence[Path], given: _Given) -> tuple[list[str], dict[Path, str]]:
    """What is to run before the sandbox itself, and by which name that sees each path.

    Root's sandbox is nobody's, who cannot reach a path below a folder that is closed to others. So root puts each where nobody
    reaches it, in a mount namespace that ends with the sandbox, and only then becomes nobody.
    """
    if os.geteuid() != 0:
        return [], {path: str(path) for path in paths}
    seen = {path: f"{STAGE}/{number}" for number, path in enumerate(paths)}
    shown = _words("--bind", ((str(path), name) for path, name in seen.items()))
    stage = [
        program("bwrap", "bubblewrap"),
        *DYING,
        "--json-status-fd",
        str(given.first),
        "--unshare-pid",
        "--dev-bind",
        "/",
        "/",
    ]
    return [*stage, "--tmpfs", str(STAGE), *shown, *become_nobody()], seen


def _limited(limits: Limits) -> list[str]:
    """What the kernel itself forbids: to each process, but the number of processes to all of the user namespace together.

    That is twice what the lab allows: a process that cannot start another often tries again for ever, where it would be killed.
    """
    return [
        *("prlimit", f"--nproc={2 * limits.processes}", f"--fsize={limits.file}", "--core=0"),
        *(() if limits.reserves else (f"--as={limits.memory}",)),
        *(f"--cpu={_processor_seconds(limits)}", "--nofile=4096", "--msgqueue=0", "--memlock=65536", "--"),
    ]


def _processor_seconds(limits: Limits) -> int:
    """What one process can use in its time where it has a thread on every processor; and a little, so that the clock is the
    first.
    """
    return round(limits.seconds * (os.cpu_count() or 1)) + 10


def _watched(command: list[str], given: _Given, limits: Limits, work: Path | None, inherited: Sequence[int]) -> Answer:
    """Run a command until it ends, or passes a limit; its status is not known here."""
    reader, writer = os.pipe()
    try:
        if os.geteuid() == 0:
            _give_pipe(writer)
        pass_fds = (given.arguments, given.filter, given.status, given.first, *given.secrets, *inherited)
        with subprocess.Popen(
            command, stdin=given.stdin, stdout=writer, stderr=writer, env={}, cwd="/", pass_fds=pass_fds
        ) as process:
            os.close(writer)
            try:
                return _Watch(process.pid, reader, limits, work).until_it_ends()
            finally:
                process.kill()
                _bury(given.first)
    finally:
        os.close(reader)


def _give_pipe(writer: int) -> None:
    """So that nobody may open it by its name, /dev/stderr."""
    try:
        os.fchown(writer, NOBODY, NOBODY)
    except OSError as problem:
        raise _no_sandbox(f"chown to {NOBODY}: {problem.strerror}") from problem


def _bury(status: int) -> None:
    """Wait for the end of a sandbox's first process, which the kernel lets go only when all others have gone."""
    told = re.search(rb'"child-pid": (\d+)', os.pread(status, 1 << 16, 0))
    with suppress(ProcessLookupError):
        if told:
            _ended(os.pidfd_open(int(told[1])), BURIAL_SECONDS)


def _ended(pidfd: int, seconds: float) -> None:
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.poll(seconds * 1000)
    finally:
        os.close(pidfd)


class _Watch:
    """Reads what a sandbox prints, and looks from time to time at what it uses."""

    def __init__(self, pid: int, reader: int, limits: Limits, work: Path | None) -> None:
        self._pid = pid
        self._reader = reader
        self._limits = limits
        self._work = work
        self._printed = bytearray()
        self._free = os.statvfs(work) if work else None

    def until_it_ends(self) -> Answer:
        """Wait until it has ended and nobody holds its output any more, or until a limit is passed."""
        poll = select.poll()
        pidfd = os.pidfd_open(self._pid)
        waiting = {self._reader, pidfd}
        for file in waiting:
            poll.register(file, select.POLLIN)
        now = time.monotonic()
        deadline, look = now + self._limits.seconds, now + self._limits.look
        overrun = ""
        while waiting and not overrun:
            for file, _ in poll.poll(max(0.0, min(deadline, look) - time.monotonic()) * 1000):
                if file == pidfd or not self._read():
                    poll.unregister(file)
                    waiting.remove(file)
            if len(self._printed) > self._limits.output:
                overrun = f"it printed more than {_mib(self._limits.output)}"
            elif (now := time.monotonic()) > deadline:
                overrun = f"it did not end within {self._limits.seconds:.0f} s"
            elif now > look:
                overrun = self._overrun()
                look = time.monotonic() + self._limits.look
        os.close(pidfd)
        return Answer(0, _lines(printable(self._printed.decode(errors="replace"))), overrun)

    def _read(self) -> bool:
        """Take in what was printed; False where no more can come."""
        chunk = os.read(self._reader, 1 << 16)
        self._printed += chunk
        return bool(chunk)

    def _overrun(self) -> str:
        """The limit that is passed now, in words; empty where none is."""
        limits, used = self._limits, 0
        try:
            family = psutil.Process(self._pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return ""
        for each in family:
            with suppress(psutil.NoSuchProcess):
                used += _shared_out(each.pid) if limits.reserves else _own(each)
        if used > limits.memory:
            return f"it took more than {_mib(limits.memory)} of memory"
        if len(family) > limits.processes:
            return f"it started more than {limits.processes} processes"
        return self._filled()

    def _filled(self) -> str:
        """Whether its folder is too full. It is measured only where the disk has lost so much: for whatever reason."""
        if not self._work or not self._free:
            return ""
        free, before, limits = os.statvfs(self._work), self._free, self._limits
        if (before.f_bfree - free.f_bfree) * free.f_frsize > limits.disk and _used(self._work, "-B1") > limits.disk:
            return f"it wrote more than {_mib(limits.disk)} to the disk"
        if before.f_ffree - free.f_ffree > limits.files and _used(self._work, "--inodes") > limits.files:
            return f"it made more than {limits.files} files"
        return ""


def _own(process: psutil.Process) -> int:
    """Bytes of memory that a process shares with no file."""
    memory = process.memory_info()
    return int(memory.rss - memory.shared)


def _shared_out(pid: int) -> int:
    """A process's part of what it and others use together (proc(5), Pss); nothing where it has just ended."""
    with suppress(OSError):
        if found := re.search(r"^Pss: +(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE):
            return int(found[1]) << 10
    return 0


def _used(folder: Path, unit: str) -> int:
    """How much is in a folder whose files come and go; 0 where that cannot be told in a second."""
    with suppress(subprocess.TimeoutExpired, ValueError, IndexError):
        command = ["du", "-s", "-x", unit, "--", str(folder)]
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
        return int(answer.stdout.split()[0])
    return 0


def _mib(size: int) -> str:
    return f"{size // MIB} MiB"


def _lines(text: str) -> str:
    if max(map(len, text.splitlines()), default=0) <= LINE:
        return text
    return "".join(line if len(line) <= LINE else f"{line[:LINE]}…\n" for line in text.splitlines(keepends=True))
