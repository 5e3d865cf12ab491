"""Runs on a target, where nothing of kmodlab is: a batch of loads and unloads, then a look at the kernel's memory.

Standard input: {"path", "name", "parameters", "loads", "cpus"}. Standard output: what is used, by name, after the batch.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

# finit_module and delete_module have no function in the C library.
NUMBERS = {"x86_64": (313, 176), "aarch64": (273, 106), "armv7l": (379, 129)}
# Said to who is not the first: it is loaded, is just going, is not there.
NOT_MINE = (errno.EEXIST, errno.EBUSY, errno.ENOENT, errno.EAGAIN)
PATIENCE = 20  # seconds until a module that says that it is in use must let go
FRUITLESS = (
    1000  # refusals, and that for so many seconds, without one unload: it is the module that says no, not the other processor
)
libc = ctypes.CDLL(None, use_errno=True)


def call(what: int, *arguments: int | bytes) -> int:
    """Make a system call: its error number, 0 where it succeeded."""
    return 0 if libc.syscall(ctypes.c_long(NUMBERS[os.uname().machine][what]), *arguments) == 0 else ctypes.get_errno()


class Batch:
    """Loads to do, and what went wrong."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.left = job["loads"]
        self.lock = threading.Lock()
        self.problems: list[str] = []
        self.refused = 0
        """How often since a load was the last to be undone."""
        self.undone = time.monotonic()

    def loop(self, cpu: int) -> None:
        """Load and unload on one processor until the batch is done."""
        os.sched_setaffinity(0, {cpu})
        file = os.open(self.job["path"], os.O_RDONLY)
        name, parameters = self.job["name"].encode(), self.job["parameters"].encode()
        while self.left > 0 and not self.problems:
            self.expect("insmod", call(0, file, parameters, 0))
            self.unload(name)
        os.close(file)

    def unload(self, name: bytes) -> None:
        """Unload it, or find that another processor has; whoever does it counts it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            error = call(1, name, os.O_NONBLOCK)
            if not error:
                with self.lock:
                    self.left -= 1
                    self.refused, self.undone = 0, time.monotonic()
            if error != errno.EAGAIN:
                self.expect("rmmod", error)
                return
            if time.monotonic() > deadline:
                self.problems.append(f"it was in use for {PATIENCE} s")
                return

    def expect(self, what: str, error: int) -> None:
        """Keep an error that is not the other processor's doing."""
        self.refused += bool(error)
        stuck = self.refused > FRUITLESS and time.monotonic() - self.undone > PATIENCE
        if error and (stuck or error not in NOT_MINE or self.job["cpus"] == 1):
            self.problems.append(f"{what}: {os.strerror(error)}")

    def run(self) -> None:
        """Do them on as many processors as asked for; ends the program where one failed."""
        cpus = sorted(os.sched_getaffinity(0))[: self.job["cpus"]]
        threads = [threading.Thread(target=self.loop, args=(cpu,)) for cpu in cpus]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        call(1, self.job["name"].encode(), os.O_NONBLOCK)  # the last to load may not have been the last to unload
        if self.problems:
            sys.exit(self.problems[0])


def give_back() -> None:
    """Have the kernel give back what it only keeps at hand, so that what is left is used."""
    Path("/proc/sys/vm/drop_caches").write_text("3")
    with contextlib.suppress(OSError):  # a kernel without compaction
        Path("/proc/sys/vm/compact_memory").write_text("1")
    for cache in Path("/sys/kernel/slab").glob("*"):
        if not cache.is_symlink():
            with contextlib.suppress(OSError):  # it has gone meanwhile
                (cache / "shrink").write_text("1")


def used() -> dict[str, int]:
    """Objects by slab cache, and areas of vmalloc by caller."""
    found: dict[str, int] = {}
    for line in Path("/proc/slabinfo").read_text().splitlines()[2:]:
        name, objects = line.split()[:2]
        found[f"slab {name}"] = int(objects)
    for line in Path("/proc/vmallocinfo").read_text().splitlines():
        words = line.split()
        if "unpurged" not in words:
            # An address is a caller that is gone: the module, each time it was loaded.
            caller = "of an unloaded module" if len(words) < 3 or words[2].startswith("0x") else f"by {words[2]}"
            name = f"vmalloc {caller}"
            found[name] = found.get(name, 0) + 1
    return found


Batch(json.load(sys.stdin)).run()
give_back()
json.dump(used(), sys.stdout)
