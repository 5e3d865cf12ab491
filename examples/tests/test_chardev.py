"""chardev: one opener at a time, a count that grows, no writing, no unloading while it is open."""

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

pytestmark = pytest.mark.module("chardev")

SEEKS_AND_SHORT_READS = """
import os
f = os.open("/dev/chardev", os.O_RDONLY)
whole = b""
while piece := os.read(f, 7):
    assert len(piece) <= 7
    whole += piece
assert os.read(f, 100) == b"", "something after the end"
assert os.lseek(f, 2, os.SEEK_SET) == 2
assert os.read(f, 7) == b"already"
assert os.lseek(f, -1, os.SEEK_END) == len(whole) - 1
assert os.read(f, 100) == b"\\n"
assert os.pread(f, 4, 10) == b"told"
assert os.read(f, 0) == b""
for offset, whence in ((-1, os.SEEK_SET), (len(whole) + 1, os.SEEK_SET), (1, os.SEEK_END), (1 << 62, 0)):
    try:
        os.lseek(f, offset, whence)
    except OSError:
        continue
    raise AssertionError(f"a seek to {offset} was accepted")
print(whole.decode(), end="")
"""

BAD_ADDRESS = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
f = os.open("/dev/chardev", os.O_RDONLY)
for address in (1, -4096):
    assert libc.read(f, ctypes.c_void_p(address), 10) == -1, hex(address)
    assert ctypes.get_errno() == errno.EFAULT
assert os.read(f, 1) == b"I", "the failed reads moved the position"
"""

RACE = """
import errno, os, threading
opened, busy, other = [], [], []
start, done = threading.Barrier(8), threading.Barrier(8)

def attempt():
    start.wait()
    try:
        opened.append(os.open("/dev/chardev", os.O_RDONLY))
    except OSError as problem:
        (busy if problem.errno == errno.EBUSY else other).append(problem)
    done.wait()

for _ in range(50):
    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert (len(opened), len(busy), other) == (1, 7, []), (opened, busy, other)
    os.close(opened.pop())
    busy.clear()
"""


def test_each_open_counts(loaded: ModuleUnderTest, guest: Guest) -> None:
    told = guest.sh("cat /dev/chardev; cat /dev/chardev; cat /dev/chardev").stdout
    assert told == "".join(f"I already told you {n} times Hello world!\n" for n in range(3))


def test_count_starts_again_with_the_module(module: ModuleUnderTest, guest: Guest) -> None:
    for _ in range(2):
        module.load()
        assert "told you 0 times" in guest.sh("cat /dev/chardev").stdout
        module.unload()


def test_major_number_is_dynamic_and_the_device_has_it(loaded: ModuleUnderTest, guest: Guest) -> None:
    (major,) = guest.sh("awk '$2 == \"chardev\" {print $1}' /proc/devices").stdout.split()
    assert guest.sh("stat -c '%F %t' /dev/chardev").stdout == f"character special file {int(major):x}\n"


def test_second_opener_is_refused(loaded: ModuleUnderTest, guest: Guest) -> None:
    holder = guest.spawn("exec 3</dev/chardev; echo open; read x")
    holder.expect("open")
    result = guest.sh("cat /dev/chardev", check=False)
    assert result.rc != 0 and "busy" in result.stderr
    holder.close()
    holder.wait()
    assert "told you 1 times" in guest.sh("cat /dev/chardev").stdout, "a refused open must not count"


def test_only_one_of_many_openers_at_once_succeeds(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(RACE)


def test_two_openers_at_the_same_moment_never_both_succeed(loaded: ModuleUnderTest, guest: Guest) -> None:
    """Two processors, and a loop that waits for the other: a check and a change apart from each other would be seen."""
    assert guest.sh(f"{loaded.programs}/open_race /dev/chardev 20000", timeout=120).stdout == "both got it in 0 of 20000 rounds\n"


def test_killed_opener_frees_the_device(loaded: ModuleUnderTest, guest: Guest) -> None:
    holder = guest.spawn("exec 3</dev/chardev; echo $$; read x")
    pid = holder.expect(r"\d+")
    guest.sh(f"kill -KILL {pid}; while [ -d /proc/{pid} ]; do :; done; cat /dev/chardev")
    holder.wait()


def test_write_is_refused_and_logged(loaded: ModuleUnderTest, guest: Guest) -> None:
    mark = guest.log.mark()
    assert guest.sh("echo hi > /dev/chardev", check=False).rc != 0
    guest.log.expect("chardev: sorry, writing is not supported", since=mark)
    guest.python(
        "import os; f = os.open('/dev/chardev', os.O_WRONLY)\n"
        "for data in (b'', b'x' * 100000):\n"
        "    try: os.write(f, data)\n"
        "    except OSError as problem: assert problem.errno == 22\n"
        "    else: raise AssertionError(len(data))"
    )


def test_unload_is_refused_while_open(loaded: ModuleUnderTest, guest: Guest) -> None:
    holder = guest.spawn("exec 3</dev/chardev; echo open; read x; cat <&3")
    holder.expect("open")
    result = loaded.unload(check=False)
    assert result.rc != 0 and "in use" in result.stderr
    assert loaded.is_loaded()
    holder.send("go\n")
    holder.expect("I already told you 0 times Hello world!")
    holder.wait()


def test_short_reads_and_seeks(loaded: ModuleUnderTest, guest: Guest) -> None:
    assert guest.python(SEEKS_AND_SHORT_READS).stdout == "I already told you 0 times Hello world!\n"


def test_bad_address_is_an_error_not_a_crash(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(BAD_ADDRESS)


def test_unknown_ioctl_is_refused(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(
        "import fcntl, os\n"
        "f = os.open('/dev/chardev', os.O_RDONLY)\n"
        "try: fcntl.ioctl(f, 0x5401)\n"
        "except OSError as problem: assert problem.errno == 25, problem\n"
        "else: raise AssertionError('accepted')"
    )
