"""Which kernels there are: `inventories/matrix/hosts.yml` names them as a person would ("6.12, arm64")."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kmodlab.ground.cache import PACKAGE, REPOSITORY
from kmodlab.ground.errors import LabError
from kmodlab.plan.inventory import group_in, hosts_in
from kmodlab.plan.wiring import Wiring
from kmodlab.results import contract

Arch = Literal["x86_64", "arm64", "armhf", "um"]
"""As kernels are configured: `um` is User-Mode Linux, a program of an x86_64 machine."""
UML: Arch = "um"
DEBIAN_ARCH = {"x86_64": "amd64", "arm64": "arm64", "armhf": "armhf"}
GNU = {"x86_64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu", "armhf": "arm-linux-gnueabihf"}
"""What compilers call an architecture."""


class Kernel(BaseModel):
    """One kernel of the inventory. The fields' meanings stand at the top of inventories/matrix/hosts.yml."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    id: str
    kernel_line: str = Field(pattern=r"^\d+\.\d+$")
    kernel_arch: Arch
    kernel_package: str
    kernel_suites: tuple[str, ...] = Field(min_length=1)
    kernel_mirror: str | None = None
    kernel_archived: bool = False
    kernel_source: str | None = None
    kernel_config: str | None = None
    kernel_patch: str | None = None
    kernel_own: str = ""
    """The folder with the two packages of a kernel of the user's own, which no inventory names."""
    kernel_own_key: str = ""
    """A digest of these."""
    vm_memory: int = Field(gt=0)
    vm_cpus: int = Field(gt=0)
    vm_boot_limit: float = Field(gt=0)
    vm_qemu: str = ""
    vm_machine: str = ""
    vm_cpu: str = "max"
    vm_console: str = ""
    vm_serial: int = Field(default=0, ge=0)
    """Which of the machine's serial ports, counted from 0, is `vm_console`."""
    vm_dtb: str = ""
    """The device tree's file, as the kernel's package calls it; empty where QEMU or the firmware makes one."""
    vm_devices: tuple[str, ...] = ("virtio-blk-pci,drive=root", "virtio-net-pci,netdev=net,romfile=", "virtio-rng-pci")
    """What is plugged in, as QEMU's `-device` takes it: the root's drive is called `root`, the network `net`."""
    vm_onboard_net: bool = False
    """The network card is the board's own, not one of `vm_devices`."""
    vm_root: str = "/dev/vda"
    """What the kernel calls the root's drive."""
    vm_root_size: int = Field(default=0, ge=0)
    """MiB that the drive has at least, for controllers that take only certain sizes; 0: what the root needs."""
    vm_root_writable: bool = False
    """The controller takes no read-only drives; what is written goes into a file that vanishes with the VM."""
    vm_root_modules: tuple[str, ...] = ("virtio_pci", "virtio_mmio", "virtio_blk")
    """The kernel's modules that reach that drive."""
    vm_net_modules: tuple[str, ...] = ("virtio_net",)
    """Those that drive the network card."""
    vm_more_modules: tuple[str, ...] = ()
    """Those of what else is plugged in, which nobody would load."""
    vm_firmware: Literal["ovmf", "none"] = "none"
    vm_cmdline: str = ""
    """Words for the kernel's command line, beside the lab's own."""
    vm_offers: tuple[str, ...] = ()
    """Hardware that modules may ask for in the catalog, beside GPIO lines, which `vm_gpio` offers."""
    vm_gpio: Wiring | None = None
    """Where buttons and an LED are, and who drives their far ends."""
    vm_patience: float = Field(default=1.0, ge=1.0)
    """By how much every limit of a test is longer there: a kernel that checks itself is slow."""

    @model_validator(mode="after")
    def _source_has_a_configuration(self) -> Kernel:
        if bool(self.kernel_source) != bool(self.kernel_config):
            raise ValueError("kernel_source and kernel_config belong together: a kernel is built of both")
        return self

    @model_validator(mode="after")
    def _machine_is_named(self) -> Kernel:
        if lacking := [name for name in ("vm_qemu", "vm_machine", "vm_console") if not self.uml and not getattr(self, name)]:
            raise ValueError(f"{lacking[0]} is missing: only a kernel of the architecture um needs none")
        if self.uml and not self.kernel_source:
            raise ValueError("kernel_source is missing: no archive has headers of a kernel of the architecture um")
        return self

    @property
    def packaged_here(self) -> bool:
        """Whether its packages are of the lab's or of the user's own making, and no archive's."""
        return bool(self.kernel_source or self.kernel_own)

    @property
    def uml(self) -> bool:
        """Whether it is a program of this machine, and no machine's kernel."""
        return self.kernel_arch == UML

    @property
    def userland_arch(self) -> Arch:
        """The architecture of its programs."""
        return "x86_64" if self.uml else self.kernel_arch

    @property
    def row(self) -> contract.Kernel:
        """The kernel as the results begin with it."""
        return contract.Kernel(id=self.id, arch=self.kernel_arch, distribution=self.distribution, host=self.id)

    @property
    def line(self) -> str:
        """The upstream line, "6.12"."""
        return self.kernel_line

    @property
    def distribution(self) -> str:
        """The Debian release whose userland and compiler this kernel gets."""
        return self.kernel_suites[0]

    @property
    def config_path(self) -> Path:
        """The configuration of a kernel that the lab builds itself."""
        return PACKAGE / "debian" / (self.kernel_config or "")

    @property
    def fails_allocations(self) -> bool:
        """Whether it is known to make allocations fail when it is told to: no distribution's kernel does."""
        return bool(self.kernel_config) and "\nCONFIG_FAILSLAB=y\n" in self.config_path.read_text()

    @property
    def counts_lines(self) -> bool:
        """Whether it is known to keep what modules count of their lines: no distribution's kernel does."""
        return bool(self.kernel_config) and "\nCONFIG_GCOV_KERNEL=y\n" in self.config_path.read_text()

    @property
    def recipe(self) -> list[Path]:
        """The files that say, beside the source, what a kernel of the lab's own is like; none of a distribution's."""
        return [PACKAGE / "debian" / name for name in (self.kernel_config, self.kernel_patch) if name]

    @property
    def foreign(self) -> bool:
        """Whether this machine has to emulate its programs, and to compile for it across."""
        return self.userland_arch != native_arch()

    @property
    def cross(self) -> str:
        """What the names of its compiler and tools begin with: `aarch64-linux-gnu-`; empty where they are this machine's own."""
        return f"{GNU[self.userland_arch]}-" if self.foreign else ""

    @property
    def offers(self) -> set[str]:
        """All hardware that modules may ask for."""
        return {*self.vm_offers, *(["gpio"] if self.vm_gpio else [])}

    @property
    def version(self) -> tuple[int, ...]:
        """The line as numbers, (6, 12)."""
        return tuple(int(part) for part in self.kernel_line.split("."))


INVENTORY = REPOSITORY / "inventories/matrix/hosts.yml"


def load_inventory(path: Path = INVENTORY) -> dict[str, Kernel]:
    """All kernels of an inventory by id."""
    return hosts_in(path, Kernel, ("kernel_", "vm_"))


def default_fleet(path: Path = INVENTORY, group: str = "fleet") -> list[str]:
    """The ids that a run without KERNELS takes: those of a group of the inventory."""
    return group_in(path, group)


def native_arch() -> str:
    """This machine's architecture in the project's words."""
    return {"x86_64": "x86_64", "aarch64": "arm64", "armv7l": "armhf"}.get(platform.machine(), platform.machine())


def select(words: Iterable[str], kernels: dict[str, Kernel], fleet: list[str], boards: Iterable[str] = ()) -> list[Kernel]:
    """The kernels that KERNELS names: ids, parts of ids that are unique on this machine's architecture, or `all`.

    Names of boards are passed over: they are no kernels of this inventory.
    """
    chosen: dict[str, Kernel] = {}
    names = [name for word in words for name in word.split()] or fleet
    boards = list(boards)
    for name in (each for each in names if each not in boards):
        for kernel in list(kernels.values()) if name == "all" else [_find(name, kernels, boards)]:
            chosen[kernel.id] = kernel
    return list(chosen.values())


def _find(name: str, kernels: dict[str, Kernel], boards: list[str]) -> Kernel:
    for candidate in (name, f"{name}-{native_arch()}"):
        if candidate in kernels:
            return kernels[candidate]
    near = [k for k in kernels.values() if name in k.id and k.userland_arch == native_arch()]
    if len(near) == 1:
        return near[0]
    known = " ".join(kernels)
    if near:
        raise LabError(f"KERNELS: '{name}' could be {' or '.join(k.id for k in near)}: say which")
    also = f", and no such board; there are: {' '.join(boards)}" if boards else ""
    raise LabError(f"KERNELS: no kernel '{name}' in inventories/matrix/hosts.yml", hint=f"it has: {known}{also}")
