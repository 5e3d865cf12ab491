"""The lock examples: each lock taken and released, in this order, and no step lost between tasks that run at once."""

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

LOCKS = {
    "example_mutex": [
        "init",
        "the mutex is locked",
        "it cannot be locked twice",
        "the mutex is unlocked",
        "two tasks counted to 1000 of 1000",
        "exit",
    ],
    "example_spinlock": [
        "init",
        "static spinlock locked",
        "static spinlock unlocked",
        "dynamic spinlock locked",
        "dynamic spinlock unlocked",
        "two tasks counted to 1000000 of 1000000",
        "exit",
    ],
    "example_rwlock": [
        "init",
        "read locked",
        "read unlocked",
        "write locked",
        "write unlocked",
        "readers saw 0 of 200000 pairs torn",
        "exit",
    ],
    "example_atomic": [
        "init",
        "50 + 7 - 10 + 1 = 48",
        "one less is 47",
        "before adding 3 it was 47",
        "compare and exchange saw 50",
        "and left 1",
        "is it 0 after one less? yes",
        "no bit: 00000000",
        "bits 3 and 5 set: 00101000",
        "bit 5 cleared: 00001000",
        "bit 3 changed: 00000000",
        "was bit 3 set? no",
        "was bit 3 set? yes",
        "bit 3 set: 00001000",
        "all bits: 11111111",
        "two tasks counted to 2000000 of 2000000",
        "exit",
    ],
}


BUSY = """for n in 1 2; do while :; do :; done & pids="$pids $!"; done
trap 'kill $pids' EXIT"""
"""Two busy loops make the tasks lose their processors at moments of the scheduler's choice."""


@pytest.mark.parametrize(("beside", "loads"), [(BUSY, 3), ("", 9)], ids=["busy", "idle"])
@pytest.mark.parametrize("told", [pytest.param(told, id=name, marks=pytest.mark.module(name)) for name, told in LOCKS.items()])
def test_tells_the_same_each_time(module: ModuleUnderTest, guest: Guest, told: list[str], beside: str, loads: int) -> None:
    """On an idle machine both tasks run at once all the time; on a busy one they are interrupted."""
    mark = guest.log.mark()
    each = " ".join("x" * loads)
    guest.sh(f"{beside}\nfor n in {each}; do insmod {module.ko} && rmmod {module.kname} || exit 1; done", timeout=60)
    prefix = f"{module.kname}: "
    texts = [record.text for record in guest.log.since(mark)]
    assert [text.removeprefix(prefix) for text in texts if text.startswith(prefix)] == told * loads
