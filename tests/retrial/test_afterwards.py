"""What comes when a module has gone: a timer or work that it left behind. For the last module, and for one that is suspected."""

from __future__ import annotations

import pytest

from kmodlab.verify.afterwards import Afterwards

LIMIT = 600
"""Seconds; the machine is watched for a time of its own."""


@pytest.mark.timeout(LIMIT)
def test_nothing_comes_when_it_has_gone(afterwards: Afterwards) -> None:
    afterwards.watch()
