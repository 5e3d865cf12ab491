"""A letterbox, looked at closely."""

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

pytestmark = pytest.mark.module("letterbox")

RACE = """
import errno, os, threading
opened, busy, other = [], [], []
start, done = threading.Barrier(8), threading.Barrier(8)

def attempt():
    for _ in range(ROUNDS):
        start.wait()
        try:
            mine = os.open("/dev/letterbox", os.O_RDONLY)
            opened.append(mine)
        except OSError as problem:
            mine = None
            (busy if problem.errno == errno.EBUSY else other).append(problem)
        done.wait()
        if mine is not None:
            os.close(mine)

ROUNDS = 300
threads = [threading.Thread(target=attempt) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not other, other
assert len(opened) == ROUNDS, f"in {ROUNDS} rounds {len(opened)} openers succeeded"
"""

BAD_ADDRESSES = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
f = os.open("/dev/letterbox", os.O_RDWR)
os.write(f, b"dear kernel")
for call in (libc.write, libc.read):
    for address in (1, -4096):
        assert call(f, ctypes.c_void_p(address), 5) == -1, f"{call.__name__} at {address:#x} succeeds"
        assert ctypes.get_errno() == errno.EFAULT, f"{call.__name__} at {address:#x} is no EFAULT"
assert os.pread(f, 100, 0) == b"dear kernel", "the letter is another after a failed write"
"""

WRITE = """
import os, sys
f = os.open("/dev/letterbox", os.O_RDWR)
os.write(f, b"old")
try:
    print(os.write(f, b"x" * {size}))
except OSError as problem:
    print(problem.errno)
print(len(os.pread(f, 1000, 0)))
"""

MANY = """
import os
f = os.open("/dev/letterbox", os.O_RDWR)
for number in range(20000):
    os.write(f, b"%256d" % number)
assert int(os.pread(f, 1000, 0)) == number, "the letter is not the last one"
"""


def test_of_many_openers_at_once_one_succeeds(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(RACE, timeout=60)


def test_a_killed_opener_frees_the_box(loaded: ModuleUnderTest, guest: Guest) -> None:
    holder = guest.spawn("exec 3</dev/letterbox; echo $$; read x")
    pid = holder.expect(r"\d+")
    assert guest.sh("cat /dev/letterbox", check=False).rc != 0, "the box is free while it is open"
    guest.sh(f"kill -KILL {pid}; while [ -d /proc/{pid} ]; do :; done; cat /dev/letterbox")
    holder.wait()


@pytest.mark.parametrize(("size", "told", "left"), [(256, 256, 256), (257, 90, 3)], ids=str)
def test_length(loaded: ModuleUnderTest, guest: Guest, size: int, told: int, left: int) -> None:
    answer = guest.python(WRITE.format(size=size)).stdout.split()
    assert answer == [str(told), str(left)], f"of {size} bytes"


def test_a_buffer_that_is_nobodys(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(BAD_ADDRESSES)


def test_letters_are_not_lost_in_memory(loaded: ModuleUnderTest, guest: Guest) -> None:
    slab = "awk '$1 ~ /^SUnreclaim/ {print $2}' /proc/meminfo"
    before = int(guest.sh(slab).stdout)
    guest.python(MANY)
    grown = int(guest.sh(slab).stdout) - before
    assert grown < 2500, f"20000 letters of 256 bytes later the kernel holds {grown} KiB more"
