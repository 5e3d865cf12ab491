"""devicemodel: probe, suspend, resume and remove are all really reached."""

import re

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

pytestmark = pytest.mark.module("devicemodel")

DRIVER = "/sys/bus/platform/drivers/devicemodel"
CONTROL = "/sys/devices/platform/devicemodel/power/control"
STATUS = "/sys/devices/platform/devicemodel/power/runtime_status"


def calls(guest: Guest, mark: int) -> list[str]:
    """The driver's calls since *mark*, in order."""
    texts = [record.text for record in guest.log.since(mark)]
    return [match[1] for text in texts if (match := re.search(r"devicemodel devicemodel: (\w+)", text))]


def test_idle_device_is_suspended_and_resumed(loaded: ModuleUnderTest, guest: Guest) -> None:
    """Runtime power management: one device sleeps, not the machine, so it works everywhere."""
    mark = guest.log.mark()
    guest.sh(f"echo auto > {CONTROL}")
    guest.log.expect("devicemodel: suspend", since=mark)
    assert guest.sh(f"cat {STATUS}").stdout == "suspended\n"
    guest.sh(f"echo on > {CONTROL}")
    assert calls(guest, mark) == ["suspend", "resume"]
    guest.log.expect(r"resume \(suspended 1 times so far\)", since=mark)
    assert guest.sh(f"cat {STATUS}").stdout == "active\n"


def test_machine_going_to_sleep_suspends_the_device(loaded: ModuleUnderTest, guest: Guest) -> None:
    """A rehearsal: the kernel suspends every device and resumes them, without stopping the machine."""
    if guest.sh("test -w /sys/power/pm_test && grep -qw freeze /sys/power/state", check=False).rc:
        pytest.skip("this kernel cannot rehearse a suspend (CONFIG_PM_DEBUG)")
    mark = guest.log.mark()
    guest.sh(
        "echo 0 > /sys/module/suspend/parameters/pm_test_delay; echo devices > /sys/power/pm_test;"
        "echo freeze > /sys/power/state; status=$?; echo none > /sys/power/pm_test; exit $status",
        timeout=60,
    )
    assert calls(guest, mark) == ["suspend", "resume"]


def test_driver_is_unbound_and_bound_again(loaded: ModuleUnderTest, guest: Guest) -> None:
    mark = guest.log.mark()
    guest.sh(f"echo devicemodel > {DRIVER}/unbind; test ! -e {DRIVER}/devicemodel")
    assert calls(guest, mark) == ["remove"]
    guest.sh(f"echo devicemodel > {DRIVER}/bind; test -e {DRIVER}/devicemodel")
    assert calls(guest, mark) == ["remove", "probe"]
    # Each probe switches power management on, so each remove has to switch it off.
    assert not [record.text for record in guest.log.since(mark) if "nbalanced" in record.text]


def test_unload_while_suspended_wakes_the_device_first(module: ModuleUnderTest, guest: Guest) -> None:
    module.load()
    mark = guest.log.mark()
    guest.sh(f"echo auto > {CONTROL}")
    guest.log.expect("devicemodel: suspend", since=mark)
    module.unload()
    seen = calls(guest, mark)  # the driver core wakes the device, and lets it sleep again, before it removes it
    assert seen.index("remove") == len(seen) - 1, seen
    assert "resume" in seen
    guest.sh("test ! -e /sys/devices/platform/devicemodel")
