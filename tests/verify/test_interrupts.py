"""intrpt and bottomhalf: each edge of a button is one interrupt, the LED follows, nothing is left behind."""

from __future__ import annotations

import re
import shlex

import pytest

from kmodlab.gpio import SimulatedChip

UP, DOWN = "button-up", "button-down"

# Holds one line of the chip with that label, as any program may (GPIO_V2_GET_LINE_IOCTL, Linux 5.10), until
# its standard input ends. The request: 64 offsets, a name, the configuration; how many lines: at byte 560.
HOLDER = """
import fcntl, glob, struct, sys
chip, line = {chip!r}, {line}
for path in glob.glob("/dev/gpiochip*"):
    device = open(path, "rb", buffering=0)
    info = bytearray(68)
    fcntl.ioctl(device, 0x8044B401, info)
    if info[32:64].rstrip(bytes(1)).decode() == chip:
        break
else:
    sys.exit("no such chip")
request = bytearray(592)
struct.pack_into("I", request, 0, line)
struct.pack_into("I", request, 560, 1)
fcntl.ioctl(device, 0xC250B407, request)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def gpio(guest, module):
    """The chip. It cannot go while the module holds its lines, so the module goes first, however the test ended."""
    with SimulatedChip(guest) as chip:
        yield chip
        if module.is_loaded():
            module.unload()


def parameters(gpio, **other):
    values = {"chip": gpio.chip, **gpio.lines, **other}
    return " ".join(f"{name}={value}" for name, value in values.items())


@pytest.fixture
def buttons(module, gpio):
    """The chip, with the module loaded on its lines."""
    module.load(parameters(gpio))
    return gpio


def interrupts(guest, name):
    """How many of a button's interrupts were counted on all CPUs; KeyError when nobody handles it."""
    heading, *rows = guest.sh("cat /proc/interrupts").stdout.splitlines()
    cpus = len(heading.split())
    counts = {row.split()[-1]: sum(map(int, row.split()[1 : cpus + 1])) for row in rows if name in row}
    return counts[name]


def both(function):
    """Run a test for each of the two modules, as part of that module's cell."""
    marks = [pytest.param(name, marks=pytest.mark.module(name)) for name in ("intrpt", "bottomhalf")]
    return pytest.mark.parametrize("name", marks)(function)


@both
def test_press_and_release_are_one_interrupt_each(name, buttons, guest):
    up, down = buttons.lines["button_up"], buttons.lines["button_down"]
    for action, total in ((buttons.press, 1), (buttons.release, 2), (buttons.press, 3), (buttons.release, 4)):
        action(up)
        assert interrupts(guest, f"{name}-{UP}") == total
    buttons.pulse(down, 5)
    assert interrupts(guest, f"{name}-{DOWN}") == 10
    assert interrupts(guest, f"{name}-{UP}") == 4, "a button's edge was counted for the other"


@both
def test_led_is_lit_while_a_button_is_held(name, buttons):
    up, down, led = (buttons.lines[role] for role in ("button_up", "button_down", "led"))
    assert buttons.read(led) == 0
    buttons.press(up)
    buttons.wait(led, 1)
    buttons.press(down)
    buttons.release(up)
    assert buttons.read(led) == 1, "the other button is still held"
    buttons.release(down)
    buttons.wait(led, 0)


@both
def test_button_held_at_load_lights_the_led_and_unload_darkens_it(name, module, gpio):
    up, led = gpio.lines["button_up"], gpio.lines["led"]
    gpio.press(up)
    module.load(parameters(gpio))
    assert gpio.read(led) == 1
    module.unload()
    assert gpio.read(led) == 0
    gpio.release(up)


def refused(module, guest, params, message):
    """The load fails, the log says why in one line, and no part of the module stays."""
    mark = guest.log.mark()
    assert module.load(params, check=False).rc != 0, f"loaded with {params}"
    texts = [record.text for record in guest.log.since(mark)]
    assert any(re.search(rf"{module.kname}: {message}", text) for text in texts), texts
    places = f"/sys/module/{module.kname} /sys/devices/platform/{module.kname}"
    left = guest.sh(f"grep {module.kname} /proc/interrupts; ls -d {places} 2>/dev/null", check=False)
    assert left.stdout == ""


@both
def test_what_cannot_be_had_is_refused(name, module, gpio, guest):
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


@both
def test_line_held_by_a_program_is_refused(name, module, gpio, guest):
    line = gpio.lines["button_down"]
    program = HOLDER.format(chip=gpio.chip, line=line)
    holder = guest.spawn(f"exec python3 -c {shlex.quote(program)}")
    holder.expect("held")
    refused(module, guest, parameters(gpio), f"cannot have line {line} ")
    holder.close()
    assert holder.wait() == 0
    module.load(parameters(gpio))
    module.unload()


@both
def test_second_load_after_unload_starts_afresh(name, module, gpio, guest):
    up = gpio.lines["button_up"]
    counts = []
    for _ in range(3):
        module.load(parameters(gpio))
        gpio.pulse(up, 2)
        counts.append(interrupts(guest, f"{name}-{UP}"))
        module.unload()
        gpio.pulse(up, 2)  # nobody listens: no handler may run
    assert counts == [4, 8, 12], "the kernel goes on counting where the last handler left off"


STARTS = r"bottom half starts, interrupts: (\d+)"
ENDS = "bottom half ends"


@pytest.mark.module("bottomhalf")
def test_bottom_half_sees_every_interrupt(buttons, guest):
    mark = guest.log.mark()
    buttons.pulse(buttons.lines["button_up"], 10)
    seen = 0
    since = mark
    while seen < 20:
        record = guest.log.expect(STARTS, since=since)
        seen += int(re.search(STARTS, record.text).group(1))
        since = record.seq
        guest.log.expect(ENDS, since=since)
    assert seen == 20


@pytest.mark.module("bottomhalf")
def test_unload_cancels_pending_work(module, gpio, guest):
    """Edges just before the unload: a run that has begun ends first, and none begins after."""
    for _ in range(3):
        module.load(parameters(gpio))
        mark = guest.log.mark()
        gpio.pulse(gpio.lines["button_up"], 5)
        module.unload()
        texts = [record.text for record in guest.log.since(mark) if record.text.startswith("bottomhalf: ")]
        last = texts.index("bottomhalf: the lines are free")
        assert last == len(texts) - 1, texts
        starts = sum(1 for text in texts if re.search(STARTS, text))
        assert starts == sum(1 for text in texts if ENDS in text), texts
