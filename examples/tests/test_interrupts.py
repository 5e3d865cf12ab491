"""intrpt, bottomhalf and bh_threaded: each edge of a button is one interrupt, the LED follows, nothing is left behind."""

from __future__ import annotations

import re
import time

import pytest

from kmodlab.guest import gpio as lines
from kmodlab.guest.gpio import Chip
from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

UP, DOWN = "button-up", "button-down"
COUNT_LIMIT = 10
"""Seconds within which the last of many edges must have been counted."""


NAMES = ("intrpt", "bottomhalf", "bh_threaded")
each = pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.module(name)) for name in NAMES])
"""Runs a test for each of the modules, as part of that module's cell."""


def parameters(gpio: Chip, **other: object) -> str:
    values = {"chip": gpio.chip, **gpio.lines, **other}
    return " ".join(f"{name}={value}" for name, value in values.items())


@pytest.fixture
def buttons(module: ModuleUnderTest, gpio: Chip) -> Chip:
    """The chip, with the module loaded on its lines."""
    module.load(parameters(gpio))
    return gpio


def interrupts(guest: Guest, name: str) -> int:
    """How many of a button's interrupts were counted on all CPUs; KeyError when nobody handles it."""
    heading, *rows = guest.sh("cat /proc/interrupts").stdout.splitlines()
    cpus = len(heading.split())
    counts = {row.split()[-1]: sum(map(int, row.split()[1 : cpus + 1])) for row in rows if name in row}
    return counts[name]


def counted_more(guest: Guest, name: str, than: int) -> None:
    """Wait until more are counted than so many."""
    deadline = time.monotonic() + COUNT_LIMIT
    while interrupts(guest, name) <= than:
        assert time.monotonic() < deadline, f"no interrupt of {name} within {COUNT_LIMIT} s"


def counted(guest: Guest, name: str, total: int) -> None:
    """Wait until at least so many are counted, and insist that there are no more."""
    deadline = time.monotonic() + COUNT_LIMIT
    while interrupts(guest, name) < total and time.monotonic() < deadline:
        pass  # each look is a command on the target
    assert interrupts(guest, name) == total


@each
def test_press_and_release_are_one_interrupt_each(name: str, buttons: Chip, guest: Guest) -> None:
    up, down = buttons.lines["button_up"], buttons.lines["button_down"]
    ups, downs = interrupts(guest, f"{name}-{UP}"), interrupts(guest, f"{name}-{DOWN}")
    for number, action in enumerate((buttons.press, buttons.release, buttons.press, buttons.release), start=1):
        action(up)
        counted(guest, f"{name}-{UP}", ups + number)
    buttons.pulse(down, 5)
    counted(guest, f"{name}-{DOWN}", downs + 10)
    counted(guest, f"{name}-{UP}", ups + 4)  # a button's edge is not counted for the other


@each
def test_thousand_edges_are_thousand_interrupts(name: str, buttons: Chip, guest: Guest) -> None:
    before = interrupts(guest, f"{name}-{UP}")
    buttons.pulse(buttons.lines["button_up"], 500)
    counted(guest, f"{name}-{UP}", before + 1000)


@each
def test_led_is_lit_while_a_button_is_held(name: str, buttons: Chip, guest: Guest) -> None:
    up, down, led = (buttons.lines[role] for role in ("button_up", "button_down", "led"))
    assert buttons.read(led) == 0
    buttons.press(up)
    buttons.wait(led, 1)
    buttons.press(down)
    seen = interrupts(guest, f"{name}-{UP}")
    buttons.release(up)
    counted(guest, f"{name}-{UP}", seen + 1)
    assert buttons.read(led) == 1, "the other button is still held"
    buttons.release(down)
    buttons.wait(led, 0)


@each
def test_button_held_at_load_lights_the_led_and_unload_darkens_it(name: str, module: ModuleUnderTest, gpio: Chip) -> None:
    up, led = gpio.lines["button_up"], gpio.lines["led"]
    gpio.press(up)
    module.load(parameters(gpio))
    gpio.wait(led, 1)
    module.unload()
    gpio.wait(led, 0)
    gpio.release(up)


def refused(module: ModuleUnderTest, guest: Guest, params: str, message: str) -> None:
    """The load fails, the log says why in one line, and no part of the module stays."""
    mark = guest.log.mark()
    assert module.load(params, check=False).rc != 0, f"loaded with {params}"
    texts = [record.text for record in guest.log.since(mark)]
    assert any(re.search(rf"{module.kname}: {message}", text) for text in texts), texts
    places = f"/sys/module/{module.kname} /sys/devices/platform/{module.kname}"
    left = guest.sh(f"grep {module.kname} /proc/interrupts; ls -d {places} 2>/dev/null", check=False)
    assert left.stdout == ""


@each
def test_what_cannot_be_had_is_refused(name: str, module: ModuleUnderTest, gpio: Chip, guest: Guest) -> None:
    offsets = gpio.lines
    refused(module, guest, "", "needs chip=")
    refused(module, guest, parameters(gpio, chip="nosuchchip"), 'there is no GPIO chip "nosuchchip"')
    refused(module, guest, parameters(gpio, led=200), "cannot have line 200 ")
    # A line's number has 16 bits in the kernel: 65536 must not come out as 0, nor 65535 as "find by name".
    refused(module, guest, parameters(gpio, led=65536), "needs chip=")
    refused(module, guest, parameters(gpio, led=65535), "needs chip=")
    refused(module, guest, parameters(gpio, led=offsets["button_up"]), f"cannot have line {offsets['button_up']} ")
    module.load(parameters(gpio))  # nothing of all that is left: the lines are free
    module.unload()


@each
def test_line_held_by_a_program_is_refused(name: str, module: ModuleUnderTest, gpio: Chip, guest: Guest) -> None:
    line = gpio.lines["button_down"]
    holder = lines.agent(guest, "hold", gpio.chip, str(line))
    holder.expect("held")
    refused(module, guest, parameters(gpio), f"cannot have line {line} ")
    holder.close()
    assert holder.wait() == 0
    module.load(parameters(gpio))
    module.unload()


@each
def test_second_load_after_unload_starts_afresh(name: str, module: ModuleUnderTest, gpio: Chip, guest: Guest) -> None:
    up = gpio.lines["button_up"]
    for _ in range(3):
        module.load(parameters(gpio))
        before = interrupts(guest, f"{name}-{UP}")  # the kernel goes on counting where the last handler left off
        gpio.pulse(up, 2)
        counted(guest, f"{name}-{UP}", before + 4)
        module.unload()
        gpio.pulse(up, 2)  # nobody listens: no handler may run


@each
def test_bouncing_button_disturbs_neither_load_nor_unload(name: str, module: ModuleUnderTest, gpio: Chip, guest: Guest) -> None:
    """Edges come before, during and after both, as from a worn contact; what the kernel says to it is judged after the test."""
    up = gpio.lines["button_up"]
    with gpio.bounce(up):
        for _ in range(5):
            module.load(parameters(gpio))
            first = interrupts(guest, f"{name}-{UP}")
            counted_more(guest, f"{name}-{UP}", first)
            module.unload()
            with pytest.raises(KeyError):
                interrupts(guest, f"{name}-{UP}")
    module.load(parameters(gpio))
    before = interrupts(guest, f"{name}-{UP}")
    gpio.pulse(up, 10)
    counted(guest, f"{name}-{UP}", before + 20)


# Two writers, each on a processor of its own, press and release their buttons at once, so that two handlers run at once.
TWO_FINGERS = """
import os, sys
files = sys.argv[1:]
for cpu, file in enumerate(files):
    if os.fork() == 0:
        os.sched_setaffinity(0, {cpu % os.cpu_count()})
        wire = os.open(file, os.O_WRONLY)
        for _ in range(1000):
            os.pwrite(wire, b"1", 0)
            os.pwrite(wire, b"0", 0)
        os._exit(0)
for _ in files:
    assert os.wait()[1] == 0
"""


@each
def test_led_is_dark_after_two_buttons_at_once(name: str, buttons: Chip, guest: Guest) -> None:
    """Each handler reads both buttons and sets the LED: one that comes between would leave an older reading there."""
    if not isinstance(buttons, lines.SimulatedChip):
        pytest.skip("only the lab's own chip runs the handler on the processor of whoever presses")
    up, down, led = (buttons.lines[role] for role in ("button_up", "button_down", "led"))
    files = [buttons.drive_file(up), buttons.drive_file(down)]
    for _ in range(3):
        guest.python(f"import sys; sys.argv[1:] = {files!r}\n{TWO_FINGERS}", timeout=60)
        buttons.wait(led, 0)


STARTS = r"bottom half starts, interrupts: (\d+)"
ENDS = "bottom half ends"


@pytest.mark.module("bottomhalf")
def test_bottom_half_sees_every_interrupt(buttons: Chip, guest: Guest) -> None:
    up, led = buttons.lines["button_up"], buttons.lines["led"]
    since = guest.log.mark()
    for _ in range(5):
        # The LED says that the top half has run: a real-time kernel's is a thread, which answers several edges at once.
        buttons.press(up)
        buttons.wait(led, 1)
        buttons.release(up)
        buttons.wait(led, 0)
    seen = 0
    while seen < 10:
        record = guest.log.expect(STARTS, since=since)
        started = re.search(STARTS, record.text)
        assert started
        seen += int(started[1])
        since = record.seq
        guest.log.expect(ENDS, since=since)
    assert seen == 10


@pytest.mark.module("bottomhalf")
def test_unload_cancels_pending_work(module: ModuleUnderTest, gpio: Chip, guest: Guest) -> None:
    """Edges just before the unload, and while a run is under way: that one ends, and what they asked for is dropped."""
    up = gpio.lines["button_up"]
    for _ in range(3):
        module.load(parameters(gpio))
        mark = guest.log.mark()
        gpio.press(up)
        guest.log.expect(STARTS, since=mark)
        gpio.release(up)  # the first run takes half a second, so this asks for another one
        module.unload()
        texts = [record.text for record in guest.log.since(mark) if record.text.startswith("bottomhalf: ")]
        last = texts.index("bottomhalf: the lines are free")
        assert last == len(texts) - 1, texts
        starts = sum(1 for text in texts if re.search(STARTS, text))
        assert starts == sum(1 for text in texts if ENDS in text) == 1, texts


@pytest.mark.module("bh_threaded")
def test_each_button_has_a_thread(module: ModuleUnderTest, gpio: Chip, guest: Guest) -> None:
    """And unloading ends both."""
    threads = "grep -lE '^irq/[0-9]+-bh_thr' /proc/[0-9]*/comm 2>/dev/null | wc -l"
    module.load(parameters(gpio))
    assert guest.sh(threads).stdout.strip() == "2"
    module.unload()
    assert guest.sh(threads).stdout.strip() == "0"
