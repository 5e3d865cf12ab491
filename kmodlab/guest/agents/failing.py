"""Runs on a target, where nothing of kmodlab is: loads a module so that one allocation of its load fails.

Each line of standard input is a number n. The n-th allocation under the module's functions fails; then the module is unloaded,
where it was loaded all the same. A line of JSON answers each: {"failed": whether there was an n-th allocation, "load": error
number of the load, 0 where it succeeded, "unload": the same of the unload}.

/proc/self/fail-nth and failslab are described in the kernel's Documentation/fault-injection/fault-injection.rst.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from pathlib import Path

# finit_module and delete_module have no function in the C library.
NUMBERS = {"x86_64": (313, 176)}
FAILSLAB = Path("/sys/kernel/debug/failslab")
NTH = Path("/proc/self/fail-nth")
TRIES = 30  # a program that somebody else runs (udev) may look at what has just come, for a moment
libc = ctypes.CDLL(None, use_errno=True)


def call(what: int, *arguments: int | bytes) -> int:
    """Make a system call: its error number, 0 where it succeeded."""
    return 0 if libc.syscall(ctypes.c_long(NUMBERS[os.uname().machine][what]), *arguments) == 0 else ctypes.get_errno()


def settle() -> None:
    """Modules lie behind the kernel's own text: only what has one of theirs among its callers counts."""
    text = next(line for line in Path("/proc/kallsyms").read_text().splitlines() if line.endswith(" _etext"))
    settings = {"require-start": f"0x{text.split()[0]}", "require-end": "0xffffffffffffffff"}
    settings |= {"ignore-gfp-wait": "N", "cache-filter": "N", "probability": "0", "times": "-1", "verbose": "2"}
    for name, value in settings.items():
        (FAILSLAB / name).write_text(value)


def attempt(path: str, name: str, parameters: str, nth: int) -> dict[str, int | bool]:
    """One load, and one unload."""
    file = os.open(path, os.O_RDONLY)
    try:
        NTH.write_text(str(nth))
        load = call(0, file, parameters.encode(), 0)
        failed = int(NTH.read_text()) == 0
        NTH.write_text("0")
    finally:
        os.close(file)
    unload = 0
    if not load:
        for _ in range(TRIES):
            unload = call(1, name.encode(), os.O_NONBLOCK)
            if not unload:
                break
            time.sleep(0.1)
    return {"failed": failed, "load": load, "unload": unload}


def main(path: str, name: str, parameters: str) -> None:
    """Answer until the input ends."""
    settle()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(attempt(path, name, parameters, int(line))), flush=True)


main(*sys.argv[1:])
