"""example_tasklet: the tasklet runs once, whenever it comes, and never after the module is gone."""

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

pytestmark = pytest.mark.module("example_tasklet")

INIT, CONTINUES = "tasklet example init", "Example tasklet init continues..."
STARTS, ENDS = "Example tasklet starts", "Example tasklet ends"
EXIT = "tasklet example exit"


def test_order_varies_only_as_it_may(module: ModuleUnderTest, guest: Guest) -> None:
    """The tasklet comes after init has begun; whether before or after init continues is up to the kernel."""
    mark = guest.log.mark()
    module.load()
    module.unload()  # at once: it has to wait for the tasklet
    texts = [record.text for record in guest.log.since(mark)]
    lines = [text for text in texts if text in {INIT, CONTINUES, STARTS, ENDS, EXIT}]
    assert sorted(lines) == sorted([INIT, CONTINUES, STARTS, ENDS, EXIT]), "each line once"
    assert lines[0] == INIT
    assert lines.index(STARTS) < lines.index(ENDS)
    assert lines[-1] == EXIT, "the tasklet was still running when the module said that it had gone"


def test_delay_that_a_watchdog_would_notice_is_refused(module: ModuleUnderTest) -> None:
    for parameter in ("init_ms=1001", "tasklet_ms=4294967295"):
        assert module.load(parameter, check=False).rc != 0


# rmmod in a loop on another processor: it gets in as soon as the module is live, while the tasklet waits or runs.
UNLOADED_AT_ONCE = """
import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
NUMBER = {"x86_64": 176, "aarch64": 106, "armv7l": 129}[os.uname().machine]
for _ in range(12):
    child = os.fork()
    if not child:
        os.sched_setaffinity(0, {0})
        os.execvp("insmod", ["insmod", sys.argv[1], "init_ms=0", "tasklet_ms=60"])
    os.sched_setaffinity(0, {os.cpu_count() - 1})
    loaded = False
    while libc.syscall(NUMBER, b"example_tasklet", os.O_NONBLOCK):
        if not loaded:
            loaded = os.waitpid(child, os.WNOHANG)[0] == child
    if not loaded:
        os.waitpid(child, 0)
"""


def test_unload_waits_for_the_tasklet(module: ModuleUnderTest, guest: Guest) -> None:
    mark = guest.log.mark()
    guest.python(f"import sys; sys.argv[1:] = [{module.ko!r}]\n{UNLOADED_AT_ONCE}", timeout=60)
    texts = [record.text for record in guest.log.since(mark)]
    lines = [text for text in texts if text in {STARTS, ENDS, EXIT}]
    assert lines == [STARTS, ENDS, EXIT] * 12
