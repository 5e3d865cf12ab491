"""Runs on the target (Python 3.9 and later), where it works through the controller's jobs one after the other.

A job is a line of JSON, {"shell": SCRIPT or "python": CODE, "stdin": TEXT, "limit": SECONDS}; its answer is the line
[STATUS, STDOUT, STDERR]. Status 124 says that the limit was over, as timeout(1) does. Every job is a process group of its own;
Python code runs in a fork of this process, which saves the quarter of a second that an emulated machine needs to start another.
"""

import json
import os
import select
import signal
import sys

OVER = 124
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


requests = os.fdopen(os.dup(0), encoding="utf-8")
answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
job: dict[str, str] = {}
for request in requests:
    job = json.loads(request)
    # Files, not pipes: what a job leaves running in the background holds up nobody.
    streams = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
    os.pwrite(streams[0], job["stdin"].encode(), 0)
    child = os.fork()
    if not child:
        os.setpgrp()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        break
    status = status_of(child, float(job["limit"]))
    output = [os.pread(stream, os.fstat(stream).st_size, 0).decode(errors="replace") for stream in streams[1:]]
    for stream in streams:
        os.close(stream)
    answers.write(json.dumps([status, *output]) + "\n")
    answers.flush()
else:
    sys.exit()

# Only a child comes here.
if "shell" in job:
    os.execv("/bin/sh", ["sh", "-c", job["shell"]])  # noqa: S606 - what a test asks for
sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in enumerate("rww"))
exec(compile(job["python"], "<test>", "exec"), {"__name__": "__main__"})  # noqa: S102 - what a test asks for
