"""A machine as people have it: the firmware trusts Microsoft, Microsoft's key signed shim, and shim trusts its distribution and
what a person at the keyboard has confirmed, the machine owner's keys (MOK).

The person is played from outside: what shim's key manager shows on the serial console is read, what a person would type is typed
on the machine's keyboard.
"""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

from kmodlab.debian.roots import BootImage
from kmodlab.ground.errors import LabError
from kmodlab.machine.firmware import Firmware
from kmodlab.machine.secureboot import PLATFORMS, secure_kernel
from kmodlab.machine.vm import Vm
from kmodlab.sign import keys

GRUB = """\
linux /vmlinuz {cmdline}
initrd /initrd
boot
"""
SCREEN_LIMIT = 120.0
"""Seconds until the key manager shows its next screen, on a busy emulating machine."""
ESCAPES = re.compile(r"\x1b\[[0-9;?=]*[A-Za-z]")
"""What moves the cursor and colours the text."""
KEYS = {" ": "spc", "-": "minus", ".": "dot", "\n": "ret"}
"""QEMU's names of keys that are not their characters."""


def shim_vm(machine: Vm) -> Vm:
    """The machine, started by shim and grub as the image's distribution ships them; the firmware trusts shim's maker only."""
    kernel, build = secure_kernel(machine.kernel), PLATFORMS[machine.kernel.kernel_arch].build
    firmware = Firmware(build, vendors=("ms-uefi",), platform=keys.kernel_key().certificate)
    shim = replace(machine, kernel=kernel, firmware=firmware, loader=machine.folder / "loader")
    _fill(machine.folder / "loader", machine.image, shim.cmdline)
    return shim


def _fill(folder: Path, image: BootImage, cmdline: str) -> None:
    if not image.loader.exists():
        raise LabError(f"{image.folder} holds no boot loaders: only a machine's image does")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(image.loader, folder)
    for file in (image.kernel, image.initrd):
        shutil.copyfile(file, folder / file.name)
    (folder / "EFI/debian").mkdir()
    (folder / "EFI/debian/grub.cfg").write_text(GRUB.format(cmdline=cmdline))


@dataclass
class Person:
    """Sits at a machine, reads its screen (the serial console from `seen` on) and types."""

    vm: Vm
    seen: int = 0

    def confirm(self, request: str, password: str) -> None:
        """Confirm what waits, as the role's README tells people to; `request` is "Enroll MOK" or "Delete MOK". The machine, which
        has just been powered on, ends where a real one reboots. LabError where the screens are not as told.
        """
        self.read("Press any key to perform MOK management")
        self.press("ret")
        self.read(request)
        self.press("down", "ret")
        keys_to_view = self.read("View key 0.*Continue").count("View key")
        self.press(*["down"] * keys_to_view, "ret")
        self.read("Yes")
        self.press("down", "ret")
        self.read("Password:")
        self.type(f"{password}\n")
        self.read("Reboot")
        self.press("ret")
        self.vm.await_off(SCREEN_LIMIT)

    def read(self, pattern: str) -> str:
        """Wait until the screen shows a pattern; all that it showed since the last one. Lines are drawn anew when left."""
        deadline = time.monotonic() + SCREEN_LIMIT
        while time.monotonic() < deadline:
            content = self.vm.console.read_bytes()[self.seen :] if self.vm.console.exists() else b""
            shown = ESCAPES.sub("", content.decode(errors="replace"))
            if re.search(pattern, shown, re.DOTALL):
                self.seen += len(content)
                return shown
            if self.vm.state is None:
                raise LabError(
                    f"VM {self.vm.kernel.id} ended before it showed {pattern!r}", hint=f"its console is {self.vm.console}"
                )
            time.sleep(0.1)
        raise LabError(f"VM {self.vm.kernel.id} did not show {pattern!r} within {SCREEN_LIMIT:.0f} s; it showed {shown[-300:]!r}")

    def type(self, text: str) -> None:
        """Type a text: small letters, digits, and what KEYS names."""
        self.press(*(KEYS.get(each, each) for each in text))

    def press(self, *names: str) -> None:
        """Press keys, by QEMU's names, one after the other."""
        for name in names:
            self.vm.qmp(("send-key", {"keys": [{"type": "qcode", "data": name}], "hold-time": 50}))
