"""What runs on a target to list its GPIO lines and to drive them: the character device, and Python's own library only.

    python3 gpio_agent.py list                 every chip, its lines, and who uses them
    python3 gpio_agent.py hold CHIP LINE       hold a line, as any program may, until standard input ends
    python3 gpio_agent.py drive JSON           hold lines and do as standard input says, an answer a line; see drive()

It uses version 2 of the interface (Linux 5.10; Documentation/userspace-api/gpio in Linux has the structures), whatever version of
libgpiod and its tools a distribution has, or none.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import struct
import sys
import time
from collections.abc import Callable

GET_CHIPINFO = 0x8044B401
GET_LINEINFO = 0xC100B405
GET_LINE = 0xC250B407
GET_VALUES = 0xC010B40E
SET_VALUES = 0xC010B40F

CHIPINFO = struct.Struct("32s32sI")
LINEINFO = struct.Struct("32s32sIIQ176x")
REQUEST = struct.Struct("I252x32sQ264xI4x20xi")
"""One line of 64, who asks, flags, no attributes, how many lines; last the descriptor that the kernel answers with."""
VALUES = struct.Struct("QQ")
EVENT = 48
"""Bytes of one edge event."""

FLAGS = {
    "used": 1 << 0,
    "active-low": 1 << 1,
    "input": 1 << 2,
    "output": 1 << 3,
    "rising": 1 << 4,
    "falling": 1 << 5,
    "open-drain": 1 << 6,
    "open-source": 1 << 7,
    "pull-up": 1 << 8,
    "pull-down": 1 << 9,
    "bias-disabled": 1 << 10,
}
WIDTH = 0.002
"""Seconds that a driven level is held. A wire cannot tell when its edge was taken; chips keep only one untaken edge a line."""
SETTLE = 2.0
"""Seconds within which a wire must carry a level to its other end; the wires of an emulated board are programs."""


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode(errors="replace")


class Chip:
    """One /dev/gpiochipN."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.device = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        name, label, self.lines = CHIPINFO.unpack(fcntl.ioctl(self.device, GET_CHIPINFO, bytes(CHIPINFO.size)))
        self.name, self.label = _text(name), _text(label)

    def line(self, offset: int) -> tuple[str, str, int]:
        """A line's own name, who uses it, and its flags."""
        request = LINEINFO.pack(b"", b"", offset, 0, 0)
        name, consumer, _, _, flags = LINEINFO.unpack(fcntl.ioctl(self.device, GET_LINEINFO, request))
        return _text(name), _text(consumer), flags

    def request(self, offset: int, flags: int) -> int:
        """Hold a line; closing the returned descriptor lets it go. An output begins low."""
        request = REQUEST.pack(offset, b"kmodlab", flags, 1, 0)
        held: int = REQUEST.unpack(fcntl.ioctl(self.device, GET_LINE, request))[-1]
        return held


def chips() -> list[Chip]:
    """All that the kernel offers, by number."""
    names = (entry.name for entry in os.scandir("/dev") if entry.name.startswith("gpiochip"))
    return [Chip(f"/dev/{name}") for name in sorted(names, key=lambda name: (len(name), name))]


def chip_with(label: str) -> Chip:
    """The chip that a label names."""
    found = chips()
    for chip in found:
        if chip.label == label:
            return chip
    sys.exit(f'there is no GPIO chip "{label}"; there are: {", ".join(chip.label for chip in found) or "none"}')


def listing() -> None:
    """Print every chip and its lines."""
    for chip in chips():
        print(f"{chip.name} [{chip.label}] {chip.lines} lines")
        for offset in range(chip.lines):
            name, consumer, flags = chip.line(offset)
            words = " ".join(word for word, bit in FLAGS.items() if flags & bit and word != "used")
            user = f'"{consumer}"' if consumer else ("kernel" if flags & FLAGS["used"] else "unused")
            print(f"    line {offset:3}: {name or 'unnamed':24} {user:24} {words}")


def hold(label: str, offset: int) -> None:
    """Hold a line as it is until standard input ends."""
    held = chip_with(label).request(offset, 0)
    print("held", flush=True)
    sys.stdin.read()
    os.close(held)


def get(held: int) -> int:
    """The level of a held line."""
    bits, _ = VALUES.unpack(fcntl.ioctl(held, GET_VALUES, VALUES.pack(0, 1)))
    return int(bits) & 1


def put(held: int, level: int) -> None:
    """Drive a held line, for the time that an edge needs to be taken."""
    fcntl.ioctl(held, SET_VALUES, VALUES.pack(level, 1))
    time.sleep(WIDTH)


def wait(held: int, level: int, timeout: float) -> int:
    """The level of a held line as soon as it is `level`, or after `timeout` seconds. The line must tell its edges."""
    end = time.monotonic() + timeout
    while get(held) != level and time.monotonic() < end:
        if select.select([held], [], [], max(0.0, end - time.monotonic()))[0]:
            os.read(held, 16 * EVENT)
    return get(held)


def hold_line(chip: Chip, offset: int, flags: int, what: str) -> int:
    """Hold a line, or end with the reason why it cannot be had."""
    try:
        return chip.request(offset, flags)
    except OSError as problem:
        user = chip.line(offset)[1] if offset < chip.lines else f"it has {chip.lines} lines"
        sys.exit(f'line {offset} of "{chip.label}", {what}, cannot be had: {problem.strerror}{f" ({user})" if user else ""}')


def check_wire(far: int, near_chip: Chip, near: int, role: str, wire: str) -> None:
    """End where what drives one end is not seen at the other: no wire, or a wrong one."""
    seen = hold_line(near_chip, near, FLAGS["input"] | FLAGS["rising"] | FLAGS["falling"], role)
    for level in (1, 0):
        put(far, level)
        if wait(seen, level, SETTLE) != level:
            sys.exit(f"no wire: {wire} is driven to {level}, and line {near} ({role}) does not follow")
    os.close(seen)


def drive(wiring: dict[str, object]) -> None:
    """Hold the far ends of the wires, check each, and do as standard input says: an order a line, `ok LEVEL` for each.

    set LINE LEVEL      drive the wire of a near line
    pulse LINE N        high and low, N times
    bounce LINE         the same, answered at once, until the next order comes
    get LINE            the level of a near line's wire
    wait LINE LEVEL SECONDS
    """
    near_chip, far_chip = chip_with(str(wiring["chip"])), chip_with(str(wiring["wires_chip"]))
    near, far = dict(wiring["lines"]), dict(wiring["wires"])  # type: ignore[call-overload]
    both = FLAGS["rising"] | FLAGS["falling"]
    held: dict[str, int] = {}
    for role in ("button_up", "button_down", "led"):
        wire = f'line {far[role]} of "{far_chip.label}"'
        if role == "led":  # the kernel drives it, so try it from its side first
            lamp = hold_line(near_chip, near[role], FLAGS["output"], role)
            check_wire(lamp, far_chip, far[role], "its wire's other end", f"line {near[role]}, the LED,")
            os.close(lamp)
            held[str(near[role])] = hold_line(far_chip, far[role], FLAGS["input"] | both, f"the wire of {role}")
        else:
            output = hold_line(far_chip, far[role], FLAGS["output"], f"the wire of {role}")
            check_wire(output, near_chip, near[role], role, wire)
            held[str(near[role])] = output
    print("ok 0", flush=True)
    obey(held)


def obey(held: dict[str, int]) -> None:
    """Carry out orders until standard input ends. select() sees a pipe that Python has not read ahead of: so read it raw."""

    def pulse(line: int, n: str) -> int:
        for _ in range(int(n)):
            put(line, 1)
            put(line, 0)
        return 0

    def bounce(line: int) -> int:
        while not select.select([0], [], [], 0)[0]:
            pulse(line, "1")
        return 0

    def set_level(line: int, level: str) -> int:
        put(line, int(level))
        return int(level)

    orders: dict[str, Callable[..., int]] = {
        "set": set_level,
        "pulse": pulse,
        "get": get,
        "wait": lambda line, level, seconds: wait(line, int(level), float(seconds)),
    }
    pending = b""
    while True:
        more = os.read(0, 4096)
        if not more:
            return
        pending += more
        while b"\n" in pending:
            order, _, pending = pending.partition(b"\n")
            verb, line, *rest = order.decode().split()
            if verb == "bounce":
                print("ok 0", flush=True)
                bounce(held[line])
            else:
                print("ok", orders[verb](held[line], *rest), flush=True)


def main(words: list[str]) -> None:
    """One of the three uses at the top of this file."""
    if words[:1] == ["hold"]:
        hold(words[1], int(words[2]))
    elif words[:1] == ["drive"]:
        drive(json.loads(words[1]))
    else:
        listing()


if __name__ == "__main__":
    main(sys.argv[1:])
