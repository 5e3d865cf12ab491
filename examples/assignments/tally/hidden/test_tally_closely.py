"""A tally, looked at closely."""

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

pytestmark = pytest.mark.module("tally")

REFUSED = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
f = os.open("/proc/tally", os.O_RDWR)
os.write(f, b"7")
def refused(data, number):
    try:
        os.write(f, data)
    except OSError as problem:
        assert problem.errno == number, f"{data[:40]} is {problem.strerror}"
    else:
        raise AssertionError(f"{data[:40]} is taken")
for data in (b"x", b"", b"0x10", b"1 ", b"resets", b"0" * 32, b"0" * 31 + b"8" * 100000):
    refused(data, errno.EINVAL)
os.write(f, b"0" * 30 + b"1")
for address in (1, -4096):
    assert libc.write(f, ctypes.c_void_p(address), 5) == -1, f"a buffer at {address:#x} is taken"
    assert ctypes.get_errno() == errno.EFAULT, f"a buffer at {address:#x} is no EFAULT"
told = open("/proc/tally").read()
assert told == "count 2\\nsum 8\\n", told
"""
LARGE = """
import errno, os
f = os.open("/proc/tally", os.O_RDWR)
def write(number, refused):
    try:
        os.write(f, str(number).encode())
    except OSError as problem:
        assert refused and problem.errno == errno.ERANGE, f"{number} is {problem.strerror}"
    else:
        assert not refused, f"{number} is taken"
write(2**63, True)
write(2**63 - 1, False)
write(1, True)
write(-(2**63 - 1), False)
write(-(2**63), False)
write(-1, True)
told = open("/proc/tally").read()
assert told == f"count 3\\nsum {-2**63}\\n", told
"""
WRITERS = """
import os
def write():
    f = os.open("/proc/tally", os.O_WRONLY)
    for _ in range(4000):
        os.write(f, b"3")
children = []
for _ in range(4):
    child = os.fork()
    if not child:
        write()
        os._exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
told = open("/proc/tally").read()
assert told == "count 16000\\nsum 48000\\n", told
"""


def test_what_is_refused_changes_nothing(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(REFUSED)


def test_a_sum_that_does_not_fit_is_refused(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(LARGE)


def test_two_writers_lose_nothing(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(WRITERS, timeout=60)
