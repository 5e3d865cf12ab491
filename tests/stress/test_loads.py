"""What one load does not show: a little that is lost each time, and a load on one processor just when another unloads."""

import pytest

from kmodlab.verify.stress import Stress

LIMIT = 4 * 3600
"""Seconds for all loads of a module; each batch of them has its own limit."""


@pytest.mark.timeout(LIMIT)
def test_many_loads(stress: Stress) -> None:
    stress.run()
