"""What a failed behaviour test says to somebody who has not read it: what was tried, what was expected, and what came."""

from __future__ import annotations

import pytest

from kmodlab.report.remarks import in_words


def failure(test: str, problem: pytest.ExceptionInfo[BaseException]) -> str:
    """One line on a failed test; its own message, where its author has given the assertion one, is the best."""
    first = next(iter(str(problem.value).splitlines()), "").rstrip(": ")
    tried = in_words(test)
    if not isinstance(problem.value, AssertionError):
        return f"{tried}: {type(problem.value).__name__}: {first}".rstrip(": ")
    if not first.startswith("assert "):
        return f"{tried}: {first or _expected(problem)}"
    return f"{tried}: expected {_expected(problem)}, but it was {first.removeprefix('assert ')}"


def _expected(problem: pytest.ExceptionInfo[BaseException]) -> str:
    """The assertion as it stands in the test."""
    statement = " ".join(str(problem.traceback[-1].statement).split())
    return statement.removeprefix("assert ")
