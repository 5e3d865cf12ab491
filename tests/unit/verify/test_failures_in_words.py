"""What a failed test says: what was tried, what was expected, what came."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from kmodlab.verify.words import failure


def _compares() -> None:
    answer = 3
    assert answer == 4


def _says() -> None:
    answer = 3
    assert answer == 4, "the second opener was let in"


def _breaks() -> None:
    {"a": 1}["no such key"]


def _is_silent() -> None:
    raise AssertionError


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (_compares, r"^a second opener is busy \[chardev\]: expected answer == 4, but it was 3 == 4$"),
        (_says, r"^a second opener is busy \[chardev\]: the second opener was let in$"),
        (_breaks, r"^a second opener is busy \[chardev\]: KeyError: 'no such key'$"),
        (_is_silent, r"^a second opener is busy \[chardev\]: raise AssertionError$"),
    ],
)
def test_a_failure_is_told_in_words(test: Callable[[], None], said: str) -> None:
    with pytest.raises((AssertionError, KeyError)) as caught:
        test()
    assert re.search(said, failure("test_a_second_opener_is_busy[chardev]", caught))
