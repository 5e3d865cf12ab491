"""kbleds: real LEDs blink while it is loaded; a machine without a keyboard gets an error, not an oops."""

import itertools
import json
import shlex
from collections.abc import Callable, Iterator

import pytest

from kmodlab.guest.shell import Guest, Session
from kmodlab.verify.module import ModuleUnderTest

pytestmark = pytest.mark.module("kbleds")

# A keyboard of our own (uinput) with these LEDs: prints "plugged", then each change of an LED as
# "led CODE VALUE", until its standard input ends.
KEYBOARD = """
import fcntl, os, select, struct, sys
EV_LED, SET_EVBIT, SET_LEDBIT, CREATE = 0x11, 0x40045564, 0x40045569, 0x5501
keyboard = os.open("/dev/uinput", os.O_RDWR)
fcntl.ioctl(keyboard, SET_EVBIT, EV_LED)
for led in {leds}:
    fcntl.ioctl(keyboard, SET_LEDBIT, led)
os.write(keyboard, struct.pack("80sHHHHi", b"kmodlab keyboard", 6, 1, 1, 1, 0) + bytes(4 * 64 * 4))
fcntl.ioctl(keyboard, CREATE)
print("plugged", flush=True)
event = struct.Struct("@llHHi")
while True:
    ready = select.select([keyboard, sys.stdin], [], [])[0]
    if sys.stdin in ready:
        break
    for _, _, kind, code, value in event.iter_unpack(os.read(keyboard, 64 * event.size)):
        if kind == EV_LED:
            print("led", code, value, flush=True)
"""
NUM, CAPS, SCROLL = 0, 1, 2

# Detaches each keyboard with LEDs from its driver; the paths that it prints are for ATTACH.
DETACH = """
for leds in /sys/class/input/input*/capabilities/led; do
    [ "$(cat $leds)" != 0 ] || continue
    device=$(readlink -f ${leds%/capabilities/led}/device) || continue
    if [ -e $device/drvctl ]; then printf none > $device/drvctl && echo $device
    else driver=$(readlink -f $device/driver); basename $device > $driver/unbind && echo $driver $device; fi
done
"""
ATTACH = """
while read -r driver device; do
    if [ "$device" ]; then basename $device > $driver/bind; else printf rescan > $driver/drvctl; fi
done
"""

# Prints the LEDs of the keyboard above as a list of 0 and 1 after setting one of them, if asked to.
LEDS = """
import fcntl, json, pathlib, struct, sys
for name in pathlib.Path("/sys/class/input").glob("event*/device/name"):
    if name.read_text() == "kmodlab keyboard\\n":
        break
device = open("/dev/input/" + name.parts[4], "r+b", buffering=0)
setting = json.load(sys.stdin)
if setting:
    device.write(struct.pack("@llHHi", 0, 0, 0x11, *setting))
state = bytearray(8)
fcntl.ioctl(device, 0x80084519, state)
print(json.dumps([state[0] >> led & 1 for led in range(3)]))
"""


def leds(guest: Guest, *setting: int) -> list[int]:
    shown: list[int] = json.loads(guest.python(LEDS, stdin=json.dumps(setting)).stdout)
    return shown


@pytest.fixture
def no_keyboard(guest: Guest) -> Iterator[None]:
    """A machine whose own keyboards, if it has any, are gone for the time of the test."""
    detached = guest.sh(DETACH).stdout
    yield
    guest.sh(ATTACH, stdin=detached)


@pytest.fixture
def plug(guest: Guest) -> Iterator[Callable[..., Session]]:
    """Plug in a keyboard with the given LEDs; what is left is unplugged at the end."""
    plugged = []

    def plug(*leds: int) -> Session:
        keyboard = guest.spawn(f"exec python3 -c {shlex.quote(KEYBOARD.format(leds=leds))}")
        plugged.append(keyboard)
        keyboard.expect("plugged")
        return keyboard

    yield plug
    for keyboard in plugged:
        keyboard.close()
        assert keyboard.wait() == 0


def test_machine_without_a_keyboard_is_refused(no_keyboard: None, module: ModuleUnderTest, guest: Guest) -> None:
    mark = guest.log.mark()
    result = module.load(check=False)
    assert result.rc != 0 and "No such device" in result.stderr
    guest.log.expect("kbleds: this machine has no keyboard with LEDs", since=mark)
    assert not module.is_loaded()


def test_leds_blink_and_only_those_there_are(no_keyboard: None, plug: Callable[..., Session], module: ModuleUnderTest) -> None:
    keyboard = plug(NUM, CAPS)
    module.load()
    changes = [keyboard.expect("led").split()[1:] for _ in range(12)]
    module.unload()
    for led in (NUM, CAPS):
        states = [state for code, state in changes if int(code) == led]
        assert len(states) >= 4 and all(a != b for a, b in itertools.pairwise(states)), changes
    assert {int(code) for code, _ in changes} == {NUM, CAPS}


def test_leds_are_as_before_when_it_is_unloaded(
    no_keyboard: None, plug: Callable[..., Session], module: ModuleUnderTest, guest: Guest
) -> None:
    keyboard = plug(NUM, CAPS, SCROLL)
    before = leds(guest, CAPS, 1)
    assert before[CAPS] == 1
    keyboard.expect("led 1 1")
    for _ in range(3):
        module.load()
        keyboard.expect("led 1 0")
        module.unload()
        assert leds(guest) == before


def test_keyboards_come_and_go_while_it_blinks(
    no_keyboard: None, plug: Callable[..., Session], module: ModuleUnderTest, guest: Guest
) -> None:
    first = plug(CAPS)
    module.load()
    for _ in range(5):
        second = plug(SCROLL)
        second.expect("led 2 1")
        second.close()
        second.wait()
    first.expect("led 1 1")
    first.close()
    first.wait()
    assert module.is_loaded()
    plug(CAPS).expect("led 1 1")  # it blinks again, with no keyboard in between
    module.unload()
