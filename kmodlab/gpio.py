"""GPIO chips whose wires a test can drive and watch from the far end.

Every provider has the interface of `SimulatedChip`: a line is its offset on the chip, and each change of
level that a test makes is a real edge, which interrupts the guest's kernel if somebody there asked for it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType

FILES = "/sys/devices/kmodlab_gpio"

# sysfs wakes a poller only if it has read the file before, and the value may be there already: read, then
# poll.
WAIT = """
import json, select, sys, time
path, value, timeout = json.load(sys.stdin)
end = time.monotonic() + timeout
with open(path) as wire:
    poll = select.poll()
    poll.register(wire, select.POLLPRI | select.POLLERR)
    while True:
        wire.seek(0)
        level = int(wire.read())
        if level == value or time.monotonic() >= end:
            break
        poll.poll(max(0, end - time.monotonic()) * 1000)
print(level)
"""


class Result(Protocol):
    """What a command on the guest printed."""

    @property
    def stdout(self) -> str: ...


class Guest(Protocol):
    """As much of a target as a chip needs: a shell and Python on it, and where the lab's own modules are."""

    @property
    def lab_modules(self) -> str: ...

    def sh(self, script: str, *, check: bool = True, timeout: float = 20, stdin: str = "") -> Result: ...

    def python(self, code: str, *, check: bool = True, timeout: float = 30, stdin: str = "") -> Result: ...


class SimulatedChip:
    """The lab's own chip (roles/gpio_simulator), for kernels that have no other.

    Loaded on entry, unloaded on exit.

    >>> with SimulatedChip(guest) as gpio:
    ...     gpio.press(gpio.lines["button_up"])
    """

    chip = "kmodlab-gpio"
    lines = {"button_up": 0, "button_down": 1, "led": 2}  # noqa: RUF012

    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    def __enter__(self) -> Self:
        self.guest.sh(f"insmod {self.guest.lab_modules}/kmodlab_gpio.ko label={self.chip}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.guest.sh("rmmod kmodlab_gpio")

    def press(self, line: int) -> None:
        """Drive the line high. Who waits for the edge has been interrupted when this returns."""
        self.guest.sh(f"echo 1 > {FILES}/line{line}")

    def release(self, line: int) -> None:
        """Drive the line low, likewise."""
        self.guest.sh(f"echo 0 > {FILES}/line{line}")

    def pulse(self, line: int, n: int) -> None:
        """Press and release *n* times: 2 *n* edges, if the line was low."""
        self.guest.sh(f"for i in $(seq {n}); do echo 1; echo 0; done > {FILES}/line{line}")

    def read(self, line: int) -> int:
        """The level, 0 or 1: the driver's if it made the line an output, else what was driven here."""
        return int(self.guest.sh(f"cat {FILES}/line{line}").stdout)

    def wait(self, line: int, value: int, timeout: float = 10) -> None:
        """Wait until the level is *value*; raise AssertionError after *timeout* seconds."""
        request = json.dumps([f"{FILES}/line{line}", value, timeout])
        level = int(self.guest.python(WAIT, stdin=request, timeout=timeout + 20).stdout)
        assert level == value, f"line {line} of {self.chip} is {level} after {timeout} s, not {value}"  # noqa: S101
