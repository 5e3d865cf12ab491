"""vinput and vkbd: virtual keys reach a real reader, and no order of unexport, close and unload does harm."""

import json
from collections.abc import Iterator

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

CLASS = "/sys/class/vinput"
EVENT = f"$(ls -d {CLASS}/vinput0/input*/event*)"  # named as its device, /dev/input/eventN

# Reads the keyboard of /dev/vinput0 as any program would, writes the given lines to /dev/vinput0, and prints
# as many key events; repeats (value 2) are left out, as they depend on time.
KEYS = """
import glob, json, os, select, struct, sys
event = struct.Struct("@llHHi")
lines = json.load(sys.stdin)
node = glob.glob("/sys/class/vinput/vinput0/input*/event*")[0]
reader = os.open("/dev/input/" + os.path.basename(node), os.O_RDONLY)
writer = os.open("/dev/vinput0", os.O_WRONLY)
for line in lines:
    os.write(writer, line.encode())
keys = []
while len(keys) < len(lines) and select.select([reader], [], [], 10)[0]:
    data = os.read(reader, 64 * event.size)
    for _, _, kind, code, value in event.iter_unpack(data):
        if kind == 1 and value != 2:
            keys.append([code, value])
print(json.dumps(keys))
"""


@pytest.fixture
def vkbd(loaded: ModuleUnderTest, guest: Guest) -> Iterator[ModuleUnderTest]:
    """vkbd with one exported keyboard, vinput0, unexported at the end if the test has not."""
    guest.sh(f"echo vkbd > {CLASS}/export")
    yield loaded
    guest.sh(f"if [ -e {CLASS}/vinput0 ]; then echo 0 > {CLASS}/unexport; fi")


@pytest.mark.module("vkbd")
def test_keys_reach_a_reader(vkbd: ModuleUnderTest, guest: Guest) -> None:
    """Also sees that the first key code and the last are passed on, and a code without a sign is a press."""
    lines = ["+34\n", "-34\n", "+1", "-1", "30\n", "-30\n", "+767\n", "-767\n"]
    keys = json.loads(guest.python(KEYS, stdin=json.dumps(lines)).stdout)
    assert keys == [[34, 1], [34, 0], [1, 1], [1, 0], [30, 1], [30, 0], [767, 1], [767, 0]]


@pytest.mark.module("vkbd")
def test_export_makes_both_devices_and_unexport_removes_them(vkbd: ModuleUnderTest, guest: Guest) -> None:
    event = guest.sh(f"basename {EVENT}").stdout.strip()
    guest.sh(f"test -c /dev/vinput0 && test -c /dev/input/{event}")
    assert guest.sh(f"cat {CLASS}/vinput0/input*/name").stdout == "vkbd\n"
    guest.sh(f"echo 0 > {CLASS}/unexport; test ! -e /dev/vinput0 && test ! -e /dev/input/{event}")


@pytest.mark.module("vkbd")
def test_reading_gives_the_last_event_and_nothing_else(vkbd: ModuleUnderTest, guest: Guest) -> None:
    """A reader gets the text, whole or in pieces, and never what else lay in the kernel's buffer."""
    reads = guest.python(
        """
import os
os.write(os.open("/dev/vinput0", os.O_WRONLY), b"+34")
os.write(os.open("/dev/vinput0", os.O_WRONLY), b"-34")
device = os.open("/dev/vinput0", os.O_RDONLY)
print([os.read(device, size) for size in (1, 2, 4096, 4096)])
print([os.pread(device, 4096, where) for where in (0, 3, 4, 127, 2**31)])
"""
    ).stdout
    assert reads == "[b'-', b'34', b'\\n', b'']\n[b'-34\\n', b'\\n', b'', b'', b'']\n"


@pytest.mark.module("vkbd")
def test_what_is_no_key_is_refused(vkbd: ModuleUnderTest, guest: Guest) -> None:
    for text, error in (
        ("0", "Invalid"),
        ("768", "Invalid"),
        ("-768", "Invalid"),
        ("-2147483648", "Invalid"),
        ("99999999999", "out of range"),
        ("g", "Invalid"),
        ("+34 -34", "Invalid"),
        ("1" * 129, "too long"),
    ):
        result = guest.sh(f"LC_ALL=C printf %s '{text}' | dd of=/dev/vinput0 bs=4096 status=none", check=False)
        assert result.rc != 0 and error in result.stderr, (text, result)
    assert guest.sh("cat /dev/vinput0").stdout == "+0\n", "a refused text is no event"


@pytest.mark.module("vinput")
def test_unknown_kinds_and_ids_are_refused(loaded: ModuleUnderTest, guest: Guest) -> None:
    for file, text in (
        ("export", "nosuch"),
        ("export", ""),
        ("unexport", "0"),
        ("unexport", "-1"),
        ("unexport", "x"),
    ):
        result = guest.sh(f"echo '{text}' > {CLASS}/{file}", check=False)
        assert result.rc != 0, (file, text)
    assert guest.sh(f"ls {CLASS}").stdout.split() == ["export", "unexport"]


@pytest.mark.module("vkbd")
def test_ids_are_given_anew(vkbd: ModuleUnderTest, guest: Guest) -> None:
    guest.sh(f"echo vkbd > {CLASS}/export; test -c /dev/vinput1; echo 0 > {CLASS}/unexport; test ! -e /dev/vinput0")
    guest.sh(f"echo vkbd > {CLASS}/export; test -c /dev/vinput0; echo 1 > {CLASS}/unexport; test ! -e /dev/vinput1")


@pytest.mark.module("vkbd")
def test_modules_stay_while_they_are_needed(vkbd: ModuleUnderTest, guest: Guest) -> None:
    result = guest.sh("rmmod vkbd", check=False)
    assert result.rc != 0 and "in use" in result.stderr, "vkbd has an exported keyboard"
    guest.sh(f"echo 0 > {CLASS}/unexport")
    result = guest.sh("rmmod vinput", check=False)
    assert result.rc != 0 and "in use" in result.stderr, "vkbd needs vinput"
    # An export that failed holds nothing either: else vkbd could not go at the end of this test.
    guest.sh(f"echo nosuch > {CLASS}/export", check=False)


@pytest.mark.module("vkbd")
def test_open_files_outlive_unexport_and_the_driver(module: ModuleUnderTest, guest: Guest) -> None:
    """Both stay open while the keyboard, and then its driver's code, go away: they fail, and harm nothing."""
    module.load()
    guest.sh(f"echo vkbd > {CLASS}/export")
    event = guest.sh(f"basename {EVENT}").stdout.strip()
    holder = guest.spawn(
        f"exec 3<>/dev/vinput0 4</dev/input/{event}; echo open; read x;"
        "(echo +34 >&3) 2>&1; cat <&3 2>&1; cat <&4 2>&1; echo done; read x"
    )
    holder.expect("open")
    guest.sh(f"echo +34 > /dev/vinput0; echo 0 > {CLASS}/unexport")
    guest.sh("rmmod vkbd")
    result = guest.sh("rmmod vinput", check=False)
    assert result.rc != 0 and "in use" in result.stderr, "the open file is vinput's"
    holder.send("go\n")
    for _ in range(3):
        holder.expect("No such device")
    holder.expect("done")
    holder.close()
    holder.wait()
    guest.sh("rmmod vinput")


# Four threads make, use and remove keyboards in each other's way. Nearly every call may fail; none may harm.
STORM = """
import contextlib, os, threading
def write(path, text):
    with contextlib.suppress(OSError):
        file = os.open(path, os.O_WRONLY)
        try:
            os.write(file, text)
        finally:
            os.close(file)
def export():
    for _ in range(60):
        write("/sys/class/vinput/export", b"vkbd")
def unexport():
    for i in range(200):
        write("/sys/class/vinput/unexport", b"%d" % (i % 4))
def use():
    for i in range(400):
        write("/dev/vinput%d" % (i % 4), b"%+d" % (30 if i % 8 < 4 else -30))
threads = [threading.Thread(target=work) for work in (export, unexport, use, use)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for i in range(60):
    write("/sys/class/vinput/unexport", b"%d" % i)
print(sorted(os.listdir("/sys/class/vinput")))
"""


@pytest.mark.module("vkbd")
def test_export_unexport_and_use_at_once(vkbd: ModuleUnderTest, guest: Guest) -> None:
    assert guest.python(STORM, timeout=120).stdout == "['export', 'unexport']\n"


@pytest.mark.module("vkbd")
def test_one_keyboard_more_than_there_is_room_for_is_refused(vkbd: ModuleUnderTest, guest: Guest) -> None:
    """The 33rd: and it holds nothing, so that the driver can go once the others are unexported."""
    guest.sh(f"for n in $(seq 31); do echo vkbd > {CLASS}/export || exit 1; done", timeout=120)
    guest.python(
        "import errno, os\n"
        f"file = os.open('{CLASS}/export', os.O_WRONLY)\n"
        "try: os.write(file, b'vkbd')\n"
        "except OSError as problem: assert problem.errno == errno.ENOSPC, problem\n"
        "else: raise AssertionError('exported')"
    )
    assert guest.sh("awk '$1 == \"vkbd\" {print $3}' /proc/modules").stdout == "32\n"
    guest.sh(f"for n in $(seq 0 31); do echo $n > {CLASS}/unexport || exit 1; done", timeout=120)
    assert guest.sh("awk '$1 == \"vkbd\" {print $3}' /proc/modules").stdout == "0\n"
