"""A bank, as its text says it: what everybody may see."""

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

pytestmark = pytest.mark.module("bank")

MOVERS = """
import os, random
def move(seed):
    chance = random.Random(seed)
    f = os.open("/proc/bank", os.O_WRONLY)
    for _ in range(1500):
        a, b = chance.sample(range(8), 2)
        try:
            os.write(f, b"%d %d %d" % (a, b, chance.randrange(300)))
        except OSError as problem:
            assert problem.errno == 122, problem
children = []
for seed in range(4):
    child = os.fork()
    if not child:
        move(seed)
        os._exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
total = sum(int(line.split()[1]) for line in open("/proc/bank"))
assert total == 8000, f"there are {total} in the bank, and 8000 were there"
"""


def test_money_is_moved(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.sh("echo 0 3 250 >/proc/bank; echo 3 7 1250 >/proc/bank; echo 1 2 0 >/proc/bank")
    assert guest.sh("cat /proc/bank").stdout == "0 750\n1 1000\n2 1000\n3 0\n4 1000\n5 1000\n6 1000\n7 2250\n"


@pytest.mark.parametrize("amount", [1001, 4000000000])
def test_what_is_not_there_is_not_moved(loaded: ModuleUnderTest, guest: Guest, amount: int) -> None:
    answer = guest.sh(f"echo 4 5 {amount} | tee /proc/bank", check=False)
    assert answer.rc != 0 and "quota" in answer.stderr, f"{amount} of 1000 are moved"
    assert guest.sh("cat /proc/bank").stdout == "".join(f"{account} 1000\n" for account in range(8))
    guest.sh("echo 4 5 1000 >/proc/bank")


def test_no_money_is_lost(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(MOVERS, timeout=60)
