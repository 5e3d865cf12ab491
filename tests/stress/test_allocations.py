"""What no load shows that goes well: the paths out of one that does not."""

import pytest

from kmodlab.verify.failing import FailingAllocations

LIMIT = 3600
"""Seconds for all loads of a module; each has its own limit."""


@pytest.mark.timeout(LIMIT)
def test_failing_allocations(failing: FailingAllocations) -> None:
    failing.run()
