"""Testinfra's `host` over the lab's fast channel: whatever it asks is one job of the agent, no login and no new connection."""

from __future__ import annotations

from typing import Any, ClassVar

import testinfra.backend
from testinfra.backend.base import BaseBackend, CommandResult

from kmodlab.guest.shell import Guest

LIMIT = 60.0
"""Seconds that a command of `host` may take: Testinfra itself has no limit."""

FAR = "target"
"""What the target is called inside the sandbox, whichever it is."""


class GuestBackend(BaseBackend):  # type: ignore[misc]  # Testinfra has no types
    """The backend of `--hosts=kmodlab://NAME`. What a command prints comes as text: bytes that are none are replaced."""

    NAME = "kmodlab"
    guests: ClassVar[dict[str, Guest]] = {}
    """The targets of this process, by name."""

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        """Run it as root, or as Testinfra's sudo says. AssertionError where it does not end in time."""
        line = self.get_command(command, *args)
        answer = self.guests[self.hostname].sh(line, check=False, timeout=LIMIT)
        return self.result(answer.rc, line.encode(), answer.stdout, answer.stderr)


def plain(name: str) -> str:
    """A test's name without the host that Testinfra puts into it."""
    for host in (f"{GuestBackend.NAME}://{each}" for each in (*GuestBackend.guests, FAR)):
        name = name.replace(f"[{host}]", "").replace(f"{host}-", "").replace(f"-{host}]", "]")
    return name


def carry(guest: Guest) -> str:
    """Have Testinfra reach a target so; what `--hosts` is to be."""
    testinfra.backend.BACKENDS[GuestBackend.NAME] = f"{__name__}.GuestBackend"
    GuestBackend.guests[guest.name] = guest
    return f"{GuestBackend.NAME}://{guest.name}"
