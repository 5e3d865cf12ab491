"""Runs on the target (Python 3.9 and later), where it works through the controller's jobs one after the other.

A job is a line of JSON, {"id": NUMBER, "shell": SCRIPT or "python": CODE, "stdin": TEXT, "limit": SECONDS}; its answer is the
line [NUMBER, STATUS, STDOUT, STDERR], where of each output no more than MOST bytes are. Status 124 says that the limit was over,
as timeout(1) does. Every job is a process group of its own; Python code runs in a fork of this process, which saves the quarter
of a second that an emulated machine needs to start another.

The job {"id": NUMBER, "look": "kernel"} has no process: this one answers [NUMBER, TAINTED, MODULES, INTERRUPTS, null], what the
kernel's files say.
{"look": "all"} also lists, as the fourth, whatever a module could leave behind in /proc, /sys and /dev; null where that is as at
the last look. Each program that is not started saves an emulated machine 5 to 10 ms.
"""

import json
import os
import select
import signal
import sys
from collections.abc import Iterator

TABLES = ("/proc/devices", "/proc/filesystems", "/proc/ioports", "/proc/iomem", "/proc/tty/drivers", "/proc/net/ptype")
"""What is registered without a file of its own: a character device's number, say."""
SETTINGS = (
    "printk",
    "panic",
    "panic_on_oops",
    "panic_on_warn",
    "hung_task_timeout_secs",
    "softlockup_panic",
    "sysrq",
    "modprobe",
)
"""Of /proc/sys/kernel, those that decide what the lab sees of every module after."""
OVER = 124
MOST = 4 << 20
LAST_WORDS = 2.0
"""Seconds between asking a job to end and killing it, and for the kernel to bury it."""


def ends(pidfd: int, seconds: float) -> bool:
    """Wait for a child's end; False when it does not come."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))


def status_of(child: int, limit: float) -> int:
    """A child's exit status. What its kernel does not let go stays behind, a zombie to be."""
    pidfd = os.pidfd_open(child)
    try:
        if ends(pidfd, limit):
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(child, number)
            if ends(pidfd, LAST_WORDS):
                os.waitpid(child, 0)
                break
        return OVER
    finally:
        os.close(pidfd)


def within(folder: str) -> list[str]:
    """A folder's entries; none where there is no such folder (any more)."""
    try:
        return [f"{folder}/{name}" for name in os.listdir(folder)]
    except OSError:
        return []


def entries() -> Iterator[str]:
    """Whatever a module could leave behind."""
    yield from (path for path in within("/proc") if not path[len("/proc/")].isdigit())
    yield from within("/sys/kernel")
    for tables in within("/proc/sys"):
        yield from within(tables)
    for table in (*TABLES, *(f"/proc/sys/kernel/{name}" for name in SETTINGS)):
        yield from (f"{table}: {' '.join(line.split())}" for line in lines_of(table))
    for kind in within("/sys/class"):
        yield kind
        yield from within(kind)
    for bus in within("/sys/bus"):
        yield bus
        yield from within(f"{bus}/drivers")
        yield from within(f"{bus}/devices")
    with os.scandir("/dev") as devices:
        for device in devices:
            yield device.path
            if device.is_dir(follow_symlinks=False) and device.name != "pts":  # terminals come and go with SSH's sessions
                yield from within(device.path)


def lines_of(path: str) -> list[str]:
    """A table of the kernel's; nothing where this kernel has none."""
    try:
        return contents(path).splitlines()
    except OSError:
        return []


def contents(path: str) -> str:
    """What a file of the kernel's says."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def start_shell(script: str, streams: list[int]) -> int:
    """Start a job's shell. Spawning copies none of this process's page tables, as forking does."""
    actions = [(os.POSIX_SPAWN_DUP2, stream, number) for number, stream in enumerate(streams)]
    # Python ignores SIGPIPE; what it starts must not.
    return os.posix_spawn(
        "/bin/sh", ["sh", "-c", script], os.environ, file_actions=actions, setpgroup=0, setsigdef=[signal.SIGPIPE]
    )


requests = os.fdopen(os.dup(0), encoding="utf-8")
answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
job: dict[str, str] = {}
listed: list[str] = []
for request in requests:
    job = json.loads(request)
    if "look" in job:
        found = sorted(entries()) if job["look"] == "all" else listed
        news = None if found == listed else found
        listed = found
        told = [contents("/proc/sys/kernel/tainted"), contents("/proc/modules"), contents("/proc/interrupts"), news]
        answers.write(json.dumps([job["id"], *told]) + "\n")
        answers.flush()
        continue
    # Files, not pipes: what a job leaves running in the background holds up nobody.
    streams = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
    os.pwrite(streams[0], job["stdin"].encode(), 0)
    child = start_shell(job["shell"], streams) if "shell" in job else os.fork()
    if not child:
        os.setpgrp()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        break
    status = status_of(child, float(job["limit"]))
    output = [os.pread(stream, min(os.fstat(stream).st_size, MOST), 0).decode(errors="replace") for stream in streams[1:]]
    for stream in streams:
        os.close(stream)
    answers.write(json.dumps([job["id"], status, *output]) + "\n")
    answers.flush()
else:
    sys.exit()

# Only a fork comes here.
sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in enumerate("rww"))
exec(compile(job["python"], "<test>", "exec"), {"__name__": "__main__"})  # noqa: S102 - what a test asks for
# An emulated machine needs 40 ms to take an interpreter down in order.
sys.stdout.flush()
sys.stderr.flush()
os._exit(0)
