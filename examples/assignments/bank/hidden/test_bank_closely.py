"""A bank, looked at closely."""

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

pytestmark = pytest.mark.module("bank")

READERS = """
import os
child = os.fork()
if not child:
    f = os.open("/proc/bank", os.O_WRONLY)
    for number in range(3000):
        os.write(f, b"0 7 500" if number % 2 else b"7 0 500")
    os._exit(0)
seen = set()
while not os.waitpid(child, os.WNOHANG)[0]:
    seen.add(sum(int(line.split()[1]) for line in open("/proc/bank")))
assert seen == {8000}, f"there were {sorted(seen)} in the bank"
"""
WAITERS = """
import os
children = []
for number in range(6):
    child = os.fork()
    if not child:
        f = os.open("/proc/bank", os.O_WRONLY)
        for _ in range(300):
            os.write(f, b"%d %d 1" % (number, number + 1))
        os._exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize("order", ["8 0 1", "0 8 1", "4294967295 0 1", "2 2 1"])
def test_an_account_that_is_not_there(loaded: ModuleUnderTest, guest: Guest, order: str) -> None:
    answer = guest.sh(f"echo {order} | tee /proc/bank", check=False)
    assert answer.rc != 0 and "Invalid argument" in answer.stderr, f"{order} is done"
    assert guest.sh("cat /proc/bank").stdout == "".join(f"{account} 1000\n" for account in range(8))


def test_what_is_told_was_so_at_one_moment(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(READERS, timeout=60)


def test_of_many_at_once_all_get_through(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(WAITERS, timeout=60)
