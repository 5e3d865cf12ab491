"""How a host's buttons and LED are wired: data of the inventory, from which kmodlab.gpio drives them.

vm_gpio:                     # or board_gpio, for a board
  provider: jumper           # who drives the far ends of the lines; see Provider
  chip: pinctrl-bcm2711      # label of the GPIO chip, as `gpioinfo` and logs/KERNEL/gpio.txt show it
  button_up: 17              # lines of that chip, by offset
  button_down: 27
  led: 22
  wires: {button_up: 23, button_down: 24, led: 25}  # jumper only: the line at the other end of each one's wire
  wires_chip: pinctrl-bcm2711                       # jumper only: the chip they are on, where it is another
  driver: gpio-mxc           # optional: the kernel's module that drives the chip, where nothing loads it
"""

from __future__ import annotations

from string import Template
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from kmodlab.guest import LAB_MODULES

Provider = Literal["simulated", "gpio-sim", "qemu", "jumper"]
"""In this order: the lab's own module (roles/gpio_simulator); the kernel's gpio-sim; a chip of an emulated board, driven by QEMU;
lines that are looped to other lines, driven on the board itself."""
SIMULATOR = "kmodlab_gpio"
"""The lab's own module for kernels that have no other chip, and its sources from the repository's root."""
SIMULATOR_SOURCES = "roles/gpio_simulator/files"
GPIO_SIM = "/sys/kernel/config/gpio-sim/kmodlab"
"""Where the kernel's own simulated chip is made, by making this folder."""
GPIO_SIM_LINES = 8

FAILED = 92
"""The exit status of `setup` where the chip cannot be had: the lab's fault, not a module's."""

Line = Annotated[int, Field(ge=0)]
Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.,:@+-]+$")]

SETUP: dict[str, str] = {
    "simulated": f"[ -e /sys/module/{SIMULATOR} ] || insmod {LAB_MODULES}/{SIMULATOR}.ko label=$chip || exit {FAILED}",
    "gpio-sim": f"""
modprobe gpio-sim || exit {FAILED}
[ -d {GPIO_SIM.rpartition("/")[0]} ] || mount -t configfs configfs /sys/kernel/config || exit {FAILED}
[ -d {GPIO_SIM} ] || {{
    mkdir {GPIO_SIM} {GPIO_SIM}/bank && echo {GPIO_SIM_LINES} >{GPIO_SIM}/bank/num_lines && echo $chip >{GPIO_SIM}/bank/label &&
    echo 1 >{GPIO_SIM}/live || exit {FAILED}
}}""",
}
"""Shell commands that bring a provider's chip into being, where it is not there yet."""
TEARDOWN: dict[str, str] = {
    "simulated": f"if [ -e /sys/module/{SIMULATOR} ]; then rmmod {SIMULATOR}; fi",
    "gpio-sim": f"if [ -d {GPIO_SIM} ]; then echo 0 >{GPIO_SIM}/live; rmdir {GPIO_SIM}/bank {GPIO_SIM}; fi",
}
"""Shell commands that take it away again, where it is there."""


class Wires(BaseModel):
    """The lines that a jumper wire leads to, each from the line of that role."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    button_up: Line
    button_down: Line
    led: Line


class Wiring(BaseModel):
    """One host's wiring; the fields' meanings stand at the top of this file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: Provider
    chip: Label
    button_up: Line
    button_down: Line
    led: Line
    driver: str = Field(default="", pattern=r"^[A-Za-z0-9_-]*$")
    wires: Wires | None = None
    wires_chip: Label | None = None

    @property
    def lines(self) -> dict[str, int]:
        """Offsets by role."""
        return {"button_up": self.button_up, "button_down": self.button_down, "led": self.led}

    @property
    def setup(self) -> str:
        """Shell commands after which the chip is there; they change nothing where it is."""
        driver = f"modprobe {self.driver} || exit {FAILED}\n" if self.driver else ""
        return driver + Template(SETUP.get(self.provider, "")).substitute(chip=self.chip)

    @property
    def teardown(self) -> str:
        """Shell commands that take away what `setup` brought, once no module holds a line any more."""
        return TEARDOWN.get(self.provider, "")

    def fill(self, text: str) -> str:
        """A module's parameters from the catalog, with $gpio_chip, $gpio_button_up, $gpio_button_down and $gpio_led filled in."""
        values = {"chip": self.chip, **self.lines}
        return Template(text).safe_substitute({f"gpio_{name}": value for name, value in values.items()})
