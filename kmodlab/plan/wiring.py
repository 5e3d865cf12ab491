"""How a host's buttons and LED are wired: data of the inventory, from which kmodlab.guest.gpio drives them.

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

Provider = Literal["simulated", "gpio-sim", "qemu", "jumper"]
"""In this order: the lab's own module (roles/gpio_simulator); the kernel's gpio-sim; a chip of an emulated board, driven by QEMU;
lines that are looped to other lines, driven on the board itself."""
SIMULATOR = "kmodlab_gpio"
"""The lab's own module for kernels that have no other chip, and its sources from the repository's root."""
SIMULATOR_SOURCES = "roles/gpio_simulator/files"
Line = Annotated[int, Field(ge=0)]
Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.,:@+-]+$")]


class Wires(BaseModel):
    """The lines that a jumper wire leads to, each from the line of that role."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    button_up: Line
    button_down: Line
    led: Line


class Wiring(BaseModel):
    """One host's wiring; the fields' meanings stand at the top of this file."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

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

    def fill(self, text: str) -> str:
        """A module's parameters from the catalog, with $gpio_chip, $gpio_button_up, $gpio_button_down and $gpio_led filled in."""
        values = {"chip": self.chip, **self.lines}
        return Template(text).safe_substitute({f"gpio_{name}": value for name, value in values.items()})
