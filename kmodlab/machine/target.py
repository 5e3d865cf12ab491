"""What a kernel runs on: the one protocol of virtual machines and boards."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from kmodlab.guest import gpio
from kmodlab.guest.shell import Guest


class State(Protocol):
    """A machine that runs."""

    @property
    def boot(self) -> str:
        """Which boot it is, where it may boot again by itself."""
        ...

    @property
    def accel(self) -> str:
        """What carries out its instructions: kvm, tcg, hardware."""
        ...


class Target(Protocol):
    """A machine under test, whether it runs or not. LabError where it cannot do what it is told."""

    @property
    def console(self) -> Path:
        """The file that takes what its console says."""
        ...

    @property
    def state(self) -> State | None:
        """None when it does not run."""
        ...

    @property
    def emulated(self) -> gpio.Machine | None:
        """The wires of its chips, where QEMU holds them; None where they are real."""
        ...

    def start(self) -> State:
        """Bring it up. Does nothing to one that runs."""
        ...

    def fresh(self) -> State:
        """Bring it up for a run, whatever an earlier one has left of it."""
        ...

    def restore(self) -> State:
        """Bring it back as it is right after its boot."""
        ...

    def stop(self) -> None:
        """End what the lab began there."""
        ...

    def guest(self) -> Guest:
        """The system that runs on it."""
        ...
