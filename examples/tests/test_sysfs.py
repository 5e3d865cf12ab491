"""hello-sysfs: a number that can be read and set, and nothing but a number."""

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

pytestmark = pytest.mark.module("hello-sysfs")

PATH = "/sys/kernel/mymodule/myvariable"


def test_session_of_the_book(loaded: ModuleUnderTest, guest: Guest) -> None:
    assert guest.sh("lsmod | grep -c '^hello_sysfs '").stdout == "1\n"
    assert guest.sh(f"cat {PATH}; echo 32 > {PATH}; cat {PATH}").stdout == "0\n32\n"


@pytest.mark.parametrize("number", ["-1", "2147483647", "-2147483648", "+7", "007"])
def test_numbers_are_taken(loaded: ModuleUnderTest, guest: Guest, number: str) -> None:
    assert guest.sh(f"echo {number} > {PATH}; cat {PATH}").stdout == f"{int(number)}\n"
    assert guest.sh(f"printf %s {number} > {PATH}; cat {PATH}").stdout == f"{int(number)}\n"


def test_what_is_no_number_is_refused_and_changes_nothing(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.sh(f"echo 5 > {PATH}")
    script = ""
    for word in ("word", "3x", "x3", "2147483648", "-2147483649", "1 2", "0x10", "1.5", " ", "%s"):
        script += f"printf '%s\\n' '{word}' > {PATH} && echo 'accepted: {word}'\n"
    result = guest.sh(f"{script} head -c 5000 /dev/zero | tr '\\0' 1 > {PATH} && echo accepted; cat {PATH}")
    assert result.stdout == "5\n", result.stdout


def test_value_starts_again_with_the_module(module: ModuleUnderTest, guest: Guest) -> None:
    for _ in range(2):
        module.load()
        assert guest.sh(f"cat {PATH}; echo 9 > {PATH}").stdout == "0\n"
        module.unload()


def test_short_reads_and_seeks(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(f"""
import os
f = os.open("{PATH}", os.O_RDWR)
os.write(f, b"12345")
assert os.pread(f, 2, 0) == b"12" and os.pread(f, 100, 3) == b"45\\n" and os.pread(f, 10, 6) == b""
""")


def test_unload_with_the_file_open_is_safe(loaded: ModuleUnderTest, guest: Guest) -> None:
    holder = guest.spawn(f"exec 3<>{PATH}; echo open; read x; cat <&3; echo cat says $?")
    holder.expect("open")
    loaded.unload()
    guest.sh("test ! -e /sys/kernel/mymodule")
    holder.send("go\n")
    holder.expect("cat says [1-9]")
    holder.wait()


def test_readers_and_writers_at_once_see_whole_numbers(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(f"""
import threading
seen = set()
def write(number):
    for _ in range(100):
        with open("{PATH}", "w") as f: f.write(number)
def read():
    for _ in range(200):
        with open("{PATH}") as f: seen.add(f.read())
threads = [threading.Thread(target=write, args=(number,)) for number in ("111111", "222222")]
threads += [threading.Thread(target=read) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert seen <= {{"0\\n", "111111\\n", "222222\\n"}}, seen
""")
