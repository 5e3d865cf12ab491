"""What signals do to a run, and to its cleaning up."""

import os
import signal

import pytest

from kmodlab.ground import ending


@pytest.mark.parametrize("number", ending.ENDING)
def test_cleaning_up_is_not_interrupted_and_what_was_before_holds_again(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    done = []

    def work() -> None:
        os.kill(os.getpid(), number)
        done.append(True)

    ending.uninterrupted(work)
    assert done and signal.getsignal(number) == before
