"""A letterbox, as its text says it: what everybody may see."""

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

pytestmark = pytest.mark.module("letterbox")


def test_a_letter_is_read_back(loaded: ModuleUnderTest, guest: Guest) -> None:
    assert guest.sh("cat /dev/letterbox").stdout == "", "there is a letter before anybody wrote one"
    guest.sh("printf 'dear kernel' >/dev/letterbox")
    assert guest.sh("cat /dev/letterbox").stdout == "dear kernel"
    assert guest.sh("cat /dev/letterbox").stdout == "dear kernel", "the letter can be read once only"


def test_a_new_letter_replaces_the_old_one(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.sh("printf 'a long first letter' >/dev/letterbox; printf short >/dev/letterbox")
    assert guest.sh("cat /dev/letterbox").stdout == "short"


def test_a_second_opener_is_refused(loaded: ModuleUnderTest, guest: Guest) -> None:
    holder = guest.spawn("exec 3</dev/letterbox; echo open; read x")
    holder.expect("open")
    second = guest.sh("cat /dev/letterbox", check=False)
    assert second.rc != 0 and "busy" in second.stderr, "a second opener is not told that the box is busy"
    holder.close()
    guest.sh("cat /dev/letterbox")


def test_a_letter_is_read_in_pieces(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.sh("printf 'dear kernel' >/dev/letterbox")
    answer = guest.python(
        "import os; f = os.open('/dev/letterbox', os.O_RDONLY)\n"
        "while piece := os.read(f, 4): print(piece.decode(), end='|')\n"
        "print(os.pread(f, 100, 5).decode(), os.pread(f, 3, 0).decode())"
    )
    assert answer.stdout == "dear| ker|nel|kernel dea\n"
