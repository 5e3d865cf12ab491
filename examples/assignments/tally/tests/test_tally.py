"""A tally, as its text says it: what everybody may see."""

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

pytestmark = pytest.mark.module("tally")


def test_numbers_are_counted_and_added_up(loaded: ModuleUnderTest, guest: Guest) -> None:
    assert guest.sh("cat /proc/tally").stdout == "count 0\nsum 0\n"
    guest.sh("for number in 20 10 -3 0; do echo $number >/proc/tally || exit; done")
    assert guest.sh("cat /proc/tally").stdout == "count 4\nsum 27\n"


def test_reset_forgets_all_numbers(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.sh("echo 5 >/proc/tally; echo reset >/proc/tally")
    assert guest.sh("cat /proc/tally").stdout == "count 0\nsum 0\n"
    guest.sh("echo 6 >/proc/tally")
    assert guest.sh("cat /proc/tally").stdout == "count 1\nsum 6\n"


@pytest.mark.parametrize("word", ["five", "1 2"])
def test_what_is_no_number_is_refused(loaded: ModuleUnderTest, guest: Guest, word: str) -> None:
    answer = guest.sh(f"echo '{word}' | tee /proc/tally", check=False)
    assert answer.rc != 0 and "Invalid argument" in answer.stderr, f"{word} is taken"
