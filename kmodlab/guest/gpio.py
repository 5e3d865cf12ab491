"""GPIO chips whose wires a test can drive and watch from the far end.

Every provider has the interface of `Chip`: a line is its offset on the chip, and each change of level that a test makes is a real
edge, which interrupts the target's kernel if somebody there asked for it. Which one a host has is data (kmodlab.wiring).

>>> with open_chip(wiring, guest, vm) as gpio:
...     gpio.press(gpio.lines["button_up"])
...     gpio.wait(gpio.lines["led"], 1)
"""

from __future__ import annotations

import json
import re
import shlex
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

from kmodlab.ground.errors import LabError
from kmodlab.guest.chip_setup import GPIO_SIM, setup, teardown
from kmodlab.guest.qtest import Qtest
from kmodlab.guest.shell import AGENTS, Guest, GuestLostError, Session, number
from kmodlab.plan.wiring import Wiring

AGENT = AGENTS / "gpio.py"
"""The program that drives lines from the target itself."""
TAKEN_LIMIT = 10.0
"""Seconds within which a kernel must take an edge; more than an emulated one with much else to do needs."""
LOOK_AGAIN = 0.2
"""Seconds after which an output is looked at although QEMU has told of no change: it does not tell of every one."""
BOUNCE = 0.001
"""Seconds between the edges of a bad contact: as close as real ones, and so that the kernel can do other things, too."""
ORDER_LIMIT = 20.0
"""Seconds within which the agent must answer, beyond what the order itself takes."""


class Machine(Protocol):
    """As much of an emulated machine as its chips need."""

    @property
    def wires(self) -> Path: ...

    def qmp(self, *calls: tuple[str, dict[str, Any]]) -> list[Any]: ...


class Chip(ABC):
    """One chip and the far ends of its wires: there on entry, gone on exit."""

    def __init__(self, wiring: Wiring, guest: Guest) -> None:
        self.wiring = wiring
        self.guest = guest
        self.chip = wiring.chip
        """Its label."""
        self.lines = wiring.lines
        """Offsets by role: button_up, button_down, led."""

    def __enter__(self) -> Self:
        answer = self.guest.sh(setup(self.wiring) or ":", check=False)
        if answer.rc:
            said = (answer.stderr.strip().splitlines() or ["no word"])[-1]
            raise LabError(f"{self.guest.name}: the GPIO chip of its wiring cannot be had: {said}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if script := teardown(self.wiring):
            self.guest.sh(script)

    @abstractmethod
    def press(self, line: int) -> None:
        """Drive the line high. The kernel has taken the edge when this returns, if anybody asked for it."""

    @abstractmethod
    def release(self, line: int) -> None:
        """Drive the line low, likewise."""

    @abstractmethod
    def pulse(self, line: int, n: int) -> None:
        """Press and release *n* times: 2 *n* edges, if the line was low."""

    @abstractmethod
    def bounce(self, line: int) -> AbstractContextManager[None]:
        """Press and release without end, and without caring whether an edge is taken; a context manager."""

    @abstractmethod
    def read(self, line: int) -> int:
        """The level of an output, 0 or 1."""

    @abstractmethod
    def level_after(self, line: int, value: int, timeout: float) -> int:
        """The level of an output as soon as it is *value*, or after *timeout* seconds."""

    def wait(self, line: int, value: int, timeout: float = 10) -> None:
        """Wait until an output's level is *value*; AssertionError after *timeout* seconds."""
        level = self.level_after(line, value, timeout)
        if level != value:
            raise AssertionError(f"line {line} of {self.chip} is {level} after {timeout} s, not {value}")


# sysfs wakes a poller only if it has read the file before, and the value may be there already: read, then poll. Not every chip's
# file wakes at all, so look again at intervals (seconds; None: it does).
WAIT = """
import json, select, sys, time
path, value, timeout, interval = json.load(sys.stdin)
end = time.monotonic() + timeout
with open(path) as wire:
    poll = select.poll()
    poll.register(wire, select.POLLPRI | select.POLLERR)
    while True:
        wire.seek(0)
        level = int(wire.read())
        if level == value or time.monotonic() >= end:
            break
        if interval is None:
            poll.poll(max(0, end - time.monotonic()) * 1000)
        else:
            time.sleep(interval)
print(level)
"""


class FileChip(Chip):
    """A chip that exists in the kernel only, and whose far ends are files there: no edge is lost, as none is sent before the
    one before it has been handled."""

    words: ClassVar[tuple[str, str]] = ("0", "1")
    """What drives a line low and high."""
    interval: ClassVar[float | None] = None

    @abstractmethod
    def drive_file(self, line: int) -> str:
        """Where a level is written."""

    @abstractmethod
    def level_file(self, line: int) -> str:
        """Where it is read."""

    def press(self, line: int) -> None:
        self._drive(line, 1)

    def release(self, line: int) -> None:
        self._drive(line, 0)

    def _drive(self, line: int, level: int) -> None:
        self.guest.sh(f"echo {self.words[level]} >{self.drive_file(line)}")

    def pulse(self, line: int, n: int) -> None:
        self.guest.sh(f"for i in $(seq {n}); do {self._pulse()}; done >{self.drive_file(line)}")

    def _pulse(self) -> str:
        low, high = self.words
        return f"echo {high}; echo {low}"

    @contextmanager
    def bounce(self, line: int) -> Iterator[None]:
        loop = f"while :; do {self._pulse()}; done >{self.drive_file(line)}"
        session = self.guest.spawn(
            f"{loop} & echo bounces; read -r end; kill $!; wait $!; {self._pulse()} >{self.drive_file(line)}"
        )
        try:
            session.expect("bounces")
            yield
        finally:
            session.close()

    def read(self, line: int) -> int:
        return number(self.guest.sh(f"cat {self.level_file(line)}").stdout)

    def level_after(self, line: int, value: int, timeout: float) -> int:
        request = json.dumps([self.level_file(line), value, timeout, self.interval])
        return number(self.guest.python(WAIT, stdin=request, timeout=timeout + 20).stdout)


class SimulatedChip(FileChip):
    """The lab's own chip (roles/gpio_simulator), for kernels that have no other."""

    def drive_file(self, line: int) -> str:
        return f"/sys/devices/kmodlab_gpio/line{line}"

    level_file = drive_file


class GpioSim(FileChip):
    """The kernel's own simulated chip (gpio-sim, Linux 5.17), made through configfs."""

    words = ("pull-down", "pull-up")
    interval = 0.02

    def __enter__(self) -> Self:
        super().__enter__()
        names = self.guest.sh(f"cat {GPIO_SIM}/dev_name {GPIO_SIM}/bank/chip_name").stdout.split()
        self._folder = f"/sys/devices/platform/{'/'.join(names)}"
        return self

    def drive_file(self, line: int) -> str:
        return f"{self._folder}/sim_gpio{line}/pull"

    def level_file(self, line: int) -> str:
        return f"{self._folder}/sim_gpio{line}/value"


@dataclass(frozen=True)
class Registers:
    """Where a chip of QEMU's shows what it does: offsets of 32-bit registers, bit N for line N."""

    levels: int
    direction: int
    """A bit is set for an output."""
    enabled: int
    """A bit is set where somebody listens to the line."""
    pending: int
    """A bit is set from an edge that is to interrupt until the kernel acknowledges it."""
    masked: float = 0.0
    """Seconds for which a line that somebody listens to may be disabled, while its interrupt is handled."""


REGISTERS = {
    "pl061": Registers(levels=0x3FC, direction=0x400, enabled=0x410, pending=0x414),
    "imx.gpio": Registers(levels=0x0, direction=0x4, enabled=0x14, pending=0x18, masked=0.1),
}
"""By QEMU's type of the device, which is also what it calls their memory: PL061 (ARM DDI 0190), GPIO of the i.MX 6."""


class EmulatedDevice:
    """A chip of QEMU's: found by the address in its label, its inputs driven, its outputs watched."""

    def __init__(self, machine: Machine, label: str) -> None:
        self._label = label
        self._base = base_address(label)
        self._path, self._registers = find_device(machine, self._base)
        self.qtest = Qtest(machine.wires / "qtest")
        try:
            self.qtest.watch_outputs(self._path)
        except LabError:
            self.qtest.close()
            raise

    def _register(self, offset: int) -> int:
        return self.qtest.register(self._base + offset)

    def drive(self, line: int, level: int) -> None:
        """Drive an input."""
        self.qtest.drive(self._path, line, level)

    def output(self, line: int) -> int:
        """The level of a line that the kernel drives; 0 for one that it does not."""
        driven = self._register(self._registers.levels) & self._register(self._registers.direction)
        return driven >> line & 1

    def output_after(self, line: int, level: int, timeout: float) -> int:
        """The same as soon as it is `level`, or after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            seen = self.qtest.changes
            found, left = self.output(line), deadline - time.monotonic()
            if found == level or left <= 0:
                return found
            self.qtest.await_change(seen, min(left, LOOK_AGAIN))

    def await_taken(self, line: int) -> None:
        """Wait until no interrupt of the line is pending, if anybody listens: a chip keeps one edge a line, so no other may
        come before.
        """
        heard = time.monotonic()
        deadline = heard + TAKEN_LIMIT
        while self._register(self._registers.pending) >> line & 1:
            now = time.monotonic()
            if self._register(self._registers.enabled) >> line & 1:
                heard = now
            elif now - heard >= self._registers.masked:
                return
            if now > deadline:
                raise AssertionError(f"the kernel has not taken an edge of line {line} of {self._label} in {TAKEN_LIMIT:.0f} s")


class QemuChip(Chip):
    """A chip of an emulated board, driven by QEMU: nothing on the target pretends."""

    def __init__(self, wiring: Wiring, guest: Guest, machine: Machine) -> None:
        super().__init__(wiring, guest)
        self._machine = machine

    def __enter__(self) -> Self:
        super().__enter__()
        self._device = EmulatedDevice(self._machine, self.chip)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._device.qtest.close()
        super().__exit__(kind, error, trace)

    def press(self, line: int) -> None:
        self._device.drive(line, 1)
        self._device.await_taken(line)

    def release(self, line: int) -> None:
        self._device.drive(line, 0)
        self._device.await_taken(line)

    def pulse(self, line: int, n: int) -> None:
        for _ in range(n):
            self.press(line)
            self.release(line)

    @contextmanager
    def bounce(self, line: int) -> Iterator[None]:
        stop = threading.Event()

        def bounces() -> None:
            level = 0
            while not stop.wait(BOUNCE) or level:
                level ^= 1
                self._device.drive(line, level)

        thread = threading.Thread(target=bounces, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def read(self, line: int) -> int:
        return self._device.output(line)

    def level_after(self, line: int, value: int, timeout: float) -> int:
        return self._device.output_after(line, value, timeout)


def base_address(label: str) -> int:
    """The address in the label of a chip that the device tree names: 0x9030000 for "9030000.pl061"."""
    found = re.fullmatch(r"([0-9a-f]+)\..+", label)
    if not found:
        raise LabError(f'GPIO chip "{label}": chips of QEMU are named ADDRESS.NAME, as in 9030000.pl061', hint="mend the wiring")
    return int(found[1], 16)


def find_device(machine: Machine, address: int) -> tuple[str, Registers]:
    """The path in QEMU's object tree, and the registers, of the chip at an address."""

    def children(path: str) -> list[tuple[str, str]]:
        (found,) = machine.qmp(("qom-list", {"path": path}))
        kinds = re.compile(r"child<(.*)>")
        return [(f"{path}/{each['name']}", kind[1]) for each in found if (kind := kinds.fullmatch(each["type"]))]

    for place, _ in children("/machine"):
        for path, kind in children(place):
            if kind in REGISTERS:
                (base,) = machine.qmp(("qom-get", {"path": f"{path}/{kind}[0]", "property": "addr"}))
                if base == address:
                    return path, REGISTERS[kind]
    raise LabError(
        f"QEMU's machine has no GPIO chip at {address:#x} (it knows {', '.join(REGISTERS)})", hint="mend the wiring's chip"
    )


class Jumper(Chip):
    """Lines of a board that wires loop to other lines of it, driven and watched on the board itself through the character device.

    A wire cannot tell when its edge was taken. So edges are some time apart, and who counts them waits for the last.
    """

    def __enter__(self) -> Self:
        super().__enter__()
        wires, chip = self.wiring.wires, self.wiring.wires_chip or self.chip
        if wires is None:
            raise LabError(
                f"{self.guest.name}: its wiring names no wires",
                hint=f"say which line each of {', '.join(self.lines)} is looped to",
            )
        order = {"chip": self.chip, "lines": self.lines, "wires_chip": chip, "wires": wires.model_dump()}
        self._agent = agent(self.guest, "drive", json.dumps(order))
        try:
            self._answer(0)
        except LabError:
            self._agent.kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._agent.close()
        super().__exit__(kind, error, trace)

    def press(self, line: int) -> None:
        self._order(f"set {line} 1")

    def release(self, line: int) -> None:
        self._order(f"set {line} 0")

    def pulse(self, line: int, n: int) -> None:
        self._order(f"pulse {line} {n}", seconds=n * 0.1)

    @contextmanager
    def bounce(self, line: int) -> Iterator[None]:
        self._order(f"bounce {line}")
        try:
            yield
        finally:
            self.release(line)

    def read(self, line: int) -> int:
        return self._order(f"get {line}")

    def level_after(self, line: int, value: int, timeout: float) -> int:
        return self._order(f"wait {line} {value} {timeout}", seconds=timeout)

    def _order(self, order: str, seconds: float = 0) -> int:
        try:
            self._agent.send(f"{order}\n")
        except OSError as problem:
            raise GuestLostError("what drives the jumper wires has ended") from problem
        return self._answer(seconds)

    def _answer(self, seconds: float) -> int:
        try:
            line = self._agent.expect("", timeout=seconds + ORDER_LIMIT)
        except AssertionError as problem:
            raise GuestLostError("what drives the jumper wires does not answer any more") from problem
        word, _, value = line.partition(" ")
        if word != "ok":
            raise LabError(f"{self.guest.name}: its jumper wires cannot be used: {line}")
        return int(value)


class EmulatedJumper(Jumper):
    """The same on an emulated board: each wire is laid from an output of QEMU's chip to an input of it."""

    def __init__(self, wiring: Wiring, guest: Guest, machine: Machine) -> None:
        super().__init__(wiring, guest)
        self._machine = machine

    def __enter__(self) -> Self:
        if self.wiring.wires and self.wiring.wires_chip in (None, self.chip):
            near, far = self.lines, self.wiring.wires.model_dump()
            ends = {far["button_up"]: near["button_up"], far["button_down"]: near["button_down"], near["led"]: far["led"]}
            self._device = EmulatedDevice(self._machine, self.chip)
            self._levels: Queue[tuple[int, int] | None] = Queue()
            self._wires = threading.Thread(target=self._carry, args=(ends,), daemon=True)
            self._device.qtest.on_output = lambda line, level: self._levels.put((line, level))
            self._wires.start()
            try:
                return super().__enter__()
            except BaseException:
                self._cut()
                raise
        raise LabError(f"{self.guest.name}: the wires of an emulated board are laid on one chip: name them, and no wires_chip")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            self._cut()

    def _carry(self, ends: dict[int, int]) -> None:
        # A wire that breaks is noticed by who waits at its end.
        with suppress(LabError, AssertionError):
            while change := self._levels.get():
                line, level = change
                if line in ends:
                    self._device.drive(ends[line], level)
                    self._device.await_taken(ends[line])

    def _cut(self) -> None:
        self._levels.put(None)
        self._wires.join(TAKEN_LIMIT)
        self._device.qtest.close()


def agent(guest: Guest, *words: str) -> Session:
    """Start the agent on a target; see gpio_agent.py for the words."""
    return guest.spawn(f"exec python3 -u -c {shlex.quote(AGENT.read_text())} {shlex.join(words)}")


def listing(guest: Guest) -> str:
    """What a target offers: its chips, their lines, and who uses them."""
    return guest.python(AGENT.read_text()).stdout or "no GPIO chips\n"


FILE_CHIPS: dict[str, type[FileChip]] = {"simulated": SimulatedChip, "gpio-sim": GpioSim}


def open_chip(wiring: Wiring, guest: Guest, machine: Machine | None) -> Chip:
    """The chip of a wiring, to be entered; `machine` is the target where that is emulated, None for a board."""
    if wiring.provider in FILE_CHIPS:
        return FILE_CHIPS[wiring.provider](wiring, guest)
    if wiring.provider == "jumper":
        return EmulatedJumper(wiring, guest, machine) if machine else Jumper(wiring, guest)
    if machine is None:
        raise LabError(f"{guest.name}: GPIO provider qemu is for emulated machines", hint="a board takes jumper wires")
    return QemuChip(wiring, guest, machine)
