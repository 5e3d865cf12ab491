"""A wiring is data: what it makes of a module's parameters, what it has a target do, and what it refuses."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from kmodlab.ground.errors import LabError
from kmodlab.guest.chip_setup import setup, teardown
from kmodlab.guest.gpio import Jumper, base_address, find_device, open_chip
from kmodlab.guest.shell import Guest, Result
from kmodlab.plan.kernels import load_inventory
from kmodlab.plan.wiring import Wiring

PLAIN = {"provider": "simulated", "chip": "kmodlab-gpio", "button_up": 0, "button_down": 1, "led": 2}


def wiring(**other: object) -> Wiring:
    return Wiring.model_validate({**PLAIN, **other})


def test_a_modules_parameters_name_the_hosts_own_lines() -> None:
    text = "chip=$gpio_chip button_up=$gpio_button_up button_down=$gpio_button_down led=$gpio_led price=$5"
    assert wiring(chip="pinctrl-rp1", led=22).fill(text) == "chip=pinctrl-rp1 button_up=0 button_down=1 led=22 price=$5"


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"provider": "magic"}, "provider"),
        ({"chip": "a; reboot"}, "chip"),
        ({"led": -1}, "led"),
        ({"driver": "a b"}, "driver"),
        ({"wires": {"led": 3}}, "wires.button_up"),
        ({"leds": 3}, "leds"),
    ],
)
def test_what_cannot_be_wired_is_refused(wrong: dict[str, object], what: str) -> None:
    with pytest.raises(ValidationError) as caught:
        wiring(**wrong)
    assert ".".join(map(str, caught.value.errors()[0]["loc"])) == what


@pytest.mark.parametrize("provider", ["simulated", "gpio-sim", "qemu", "jumper"])
def test_what_a_target_is_to_run_is_shell(provider: str) -> None:
    made = wiring(provider=provider, driver="gpio-mxc")
    for script in (setup(made), teardown(made)):
        subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    assert setup(made).startswith("modprobe gpio-mxc || exit 92")


def test_every_emulated_board_is_wired_clear_of_its_power_key() -> None:
    for kernel in load_inventory().values():
        if kernel.vm_gpio and kernel.vm_gpio.chip == "9030000.pl061":
            wires = kernel.vm_gpio.wires.model_dump().values() if kernel.vm_gpio.wires else ()
            assert 3 not in (*kernel.vm_gpio.lines.values(), *wires), kernel.id
        assert ("gpio" in kernel.offers) == (kernel.vm_gpio is not None)


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    """A target that nobody may ask anything: what is wrong is said before."""
    config = tmp_path / "ssh_config"
    config.write_text("Host *\n  ProxyCommand false\n")
    return Guest("board", config, "arm64")


def test_a_board_is_not_driven_by_qemu(guest: Guest) -> None:
    with pytest.raises(LabError, match="board: GPIO provider qemu is for emulated machines; a board takes jumper wires"):
        open_chip(wiring(provider="qemu"), guest, None)


TREE = {
    "/machine": [("unattached", "child<container>"), ("type", "string"), ("soc", "child<fsl,imx6>")],
    "/machine/unattached": [("device[0]", "child<cortex-a57-arm-cpu>"), ("device[7]", "child<pl061>"), ("bus", "link<bus>")],
    "/machine/soc": [("gpio1", "child<imx.gpio>"), ("gpio2", "child<imx.gpio>")],
}
ADDRESSES = {
    "/machine/unattached/device[7]/pl061[0]": 0x9030000,
    "/machine/soc/gpio1/imx.gpio[0]": 0x209C000,
    "/machine/soc/gpio2/imx.gpio[0]": 0x20A0000,
}


class Machine:
    """QEMU's object tree, as qom-list and qom-get tell it."""

    wires = Path("/none")

    def qmp(self, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        def one(name: str, arguments: dict[str, Any]) -> Any:
            if name == "qom-list":
                return [{"name": name, "type": kind} for name, kind in TREE[arguments["path"]]]
            assert (name, arguments["property"]) == ("qom-get", "addr")
            return ADDRESSES[arguments["path"]]

        return [one(*call) for call in calls]


@pytest.mark.parametrize(
    ("label", "path"),
    [("9030000.pl061", "/machine/unattached/device[7]"), ("20a0000.gpio", "/machine/soc/gpio2")],
)
def test_a_chip_of_qemus_is_found_by_its_address(label: str, path: str) -> None:
    assert find_device(Machine(), base_address(label))[0] == path


def test_a_chip_that_qemu_has_not_is_said() -> None:
    with pytest.raises(LabError, match=r"no GPIO chip at 0x1234 .*mend the wiring's chip"):
        find_device(Machine(), base_address("1234.pl061"))
    with pytest.raises(LabError, match=r'"pinctrl-rp1": chips of QEMU are named ADDRESS\.NAME'):
        base_address("pinctrl-rp1")


class Silent(Guest):
    """A target that does whatever it is told."""

    def sh(self, script: str, **_: Any) -> Result:
        return Result(0, "", "")


def test_a_jumper_without_wires_is_the_labs_error_and_says_which() -> None:
    with pytest.raises(LabError, match="rpi4: its wiring names no wires; say which line each of button_up, button_down, led"):
        Jumper(wiring(provider="jumper"), Silent("rpi4", Path("/none"), "arm64")).__enter__()
