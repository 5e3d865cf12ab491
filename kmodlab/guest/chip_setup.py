"""How the GPIO chip of a target's wiring comes into being there, and goes again: shell commands."""

from __future__ import annotations

from string import Template

from kmodlab.guest.shell import LAB_MODULES
from kmodlab.plan.wiring import SIMULATOR, Wiring

GPIO_SIM = "/sys/kernel/config/gpio-sim/kmodlab"
"""Where the kernel's own simulated chip is made, by making this folder."""
GPIO_SIM_LINES = 8

FAILED = 92
"""The exit status of `setup` where the chip cannot be had: the lab's fault, not a module's."""

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


def setup(wiring: Wiring) -> str:
    """Shell commands after which the chip is there; nothing where it is; they end with FAILED where it cannot be had."""
    driver = f"modprobe {wiring.driver} || exit {FAILED}\n" if wiring.driver else ""
    return driver + Template(SETUP.get(wiring.provider, "")).substitute(chip=wiring.chip)


def teardown(wiring: Wiring) -> str:
    """Shell commands that take away what `setup` brought, once no module holds a line any more."""
    return TEARDOWN.get(wiring.provider, "")
