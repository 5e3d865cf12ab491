"""A project's own tests, each of which runs in the sandbox: one here for one there."""

from __future__ import annotations

from kmodlab.verify.plugin import RunOwn


def test_own(run_own: RunOwn) -> None:
    run_own()
