"""Which kernels there are, and which exact version each one is today.

`inventories/matrix/hosts.yml` names kernels as a person would ("6.12, arm64"). The archive is asked for the rest
through apt in a folder of its own, so that Debian's signatures are always checked and the machine's own apt is left alone.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kmodlab.cache import REPOSITORY, cache_dir, digest, locked, write_aside
from kmodlab.errors import LabError
from kmodlab.inventory import group_in, hosts_of, validated
from kmodlab.wiring import Wiring

Arch = Literal["x86_64", "arm64", "armhf"]
DEBIAN_ARCH = {"x86_64": "amd64", "arm64": "arm64", "armhf": "armhf"}
GNU = {"x86_64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu", "armhf": "arm-linux-gnueabihf"}
"""What compilers call an architecture."""
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SECURE = tuple(
    f'{name} "false";'
    for name in (
        *("Acquire::AllowInsecureRepositories", "Acquire::AllowWeakRepositories"),
        *("Acquire::AllowDowngradeToInsecureRepositories", "APT::Get::AllowUnauthenticated"),
    )
)
"""apt's own switches for taking what nobody signed: off, whatever this machine says."""
UPDATE_LIMIT = 600.0
"""Seconds in which another kmodlab must have fetched an archive's lists."""
FRESH_SECONDS = 6 * 3600
"""How long an answer of the archive is believed; REFRESH=1 asks again."""


class UnreachableError(LabError):
    """The archive does not answer, or not with what Debian has signed: what it holds is not known."""


class Kernel(BaseModel):
    """One kernel of the inventory. The fields' meanings stand at the top of inventories/matrix/hosts.yml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    kernel_line: str = Field(pattern=r"^\d+\.\d+$")
    kernel_arch: Arch
    kernel_package: str
    kernel_suites: tuple[str, ...] = Field(min_length=1)
    kernel_mirror: str | None = None
    kernel_archived: bool = False
    kernel_source: str | None = None
    kernel_config: str | None = None
    vm_memory: int = Field(gt=0)
    vm_cpus: int = Field(gt=0)
    vm_boot_limit: float = Field(gt=0)
    vm_qemu: str
    vm_machine: str
    vm_cpu: str = "max"
    vm_console: str
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

    @property
    def distribution(self) -> str:
        """The Debian release whose userland and compiler this kernel gets."""
        return self.kernel_suites[0]

    @property
    def config_path(self) -> Path:
        """The configuration of a kernel that the lab builds itself."""
        return REPOSITORY / (self.kernel_config or "")

    @property
    def foreign(self) -> bool:
        """Whether this machine has to emulate its programs, and to compile for it across."""
        return self.kernel_arch != native_arch()

    @property
    def cross(self) -> str:
        """What the names of its compiler and tools begin with: `aarch64-linux-gnu-`; empty where they are this machine's own."""
        return f"{GNU[self.kernel_arch]}-" if self.foreign else ""

    @property
    def offers(self) -> set[str]:
        """All hardware that modules may ask for."""
        return {*self.vm_offers, *(["gpio"] if self.vm_gpio else [])}

    @property
    def version(self) -> tuple[int, ...]:
        """The line as numbers, (6, 12)."""
        return tuple(int(part) for part in self.kernel_line.split("."))


class Resolved(BaseModel):
    """What the archive holds for a kernel today."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kernel: Kernel
    release: str
    """As `uname -r` says it."""
    version: str
    """Of the Debian packages, the same for image and headers."""
    sources: tuple[str, ...]
    """Lines for sources.list."""
    stale: bool = False
    """True where the archive could not be asked and an earlier answer is used."""

    @property
    def source_package(self) -> str:
        """The package that a kernel of the lab's own is built of, as apt takes it."""
        return f"{self.kernel.kernel_source}={self.version.rpartition('+')[0]}"


INVENTORY = REPOSITORY / "inventories/matrix/hosts.yml"


def load_inventory(path: Path = INVENTORY) -> dict[str, Kernel]:
    """All kernels of an inventory by id."""
    return {name: _kernel(path, name, values) for name, values in hosts_of(path).items()}


def default_fleet(path: Path = INVENTORY, group: str = "fleet") -> list[str]:
    """The ids that a run without KERNELS takes: those of a group of the inventory."""
    return group_in(path, group)


def _kernel(path: Path, name: str, values: dict[str, Any]) -> Kernel:
    ours = {key: value for key, value in values.items() if key in Kernel.model_fields or key.startswith(("kernel_", "vm_"))}
    return validated(path, name, Kernel, {"id": name, **ours})


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
    near = [k for k in kernels.values() if name in k.id and k.kernel_arch == native_arch()]
    if len(near) == 1:
        return near[0]
    known = " ".join(kernels)
    if near:
        raise LabError(f"KERNELS: '{name}' could be {' or '.join(k.id for k in near)}: say which")
    also = f", and no such board; there are: {' '.join(boards)}" if boards else ""
    raise LabError(f"KERNELS: no kernel '{name}' in inventories/matrix/hosts.yml; it has: {known}{also}")


def mirrors() -> tuple[str, str]:
    """Debian's archive and its security archive: from the environment, else this machine's apt, else mmdebstrap's default."""
    main = os.environ.get("KMODLAB_MIRROR") or _apt_mirror("Debian") or _mmdebstrap_mirror()
    main = main.rstrip("/")
    security = os.environ.get("KMODLAB_SECURITY_MIRROR") or _apt_mirror("Debian-Security")
    return main, (security or f"{main.removesuffix('/debian')}/debian-security").rstrip("/")


@cache
def apt_settings() -> tuple[str, ...]:
    """What this machine's own apt is told of its archive's reach and dates, as `apt-config dump` prints it: the lab's and roots'
    need it, too. Nothing else of it is heeded.

    A mirror that stands still, as a snapshot behind a registry does, has signatures whose time has run out.
    """
    wanted = (
        *("Acquire::Check-Valid-Until ", "Acquire::Check-Date "),
        *("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::https::CaInfo "),
    )
    answer = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False)
    return tuple(line for line in answer.stdout.splitlines() if line.startswith(wanted))


def _apt_mirror(label: str) -> str | None:
    command = ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in answer.stdout.splitlines():
        origin, found, uri = line.split("|", 2)
        if origin == "Debian" and found == label:
            return uri
    return None


def _mmdebstrap_mirror() -> str:
    command = ["mmdebstrap", "--simulate", '--setup-hook=cat "$1"/etc/apt/sources.list >&2; exit 1', "stable", "/dev/null"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"^deb (?:\[.*?\] )?(\S+) \S+ main", answer.stderr, re.MULTILINE)
    if not found:
        raise LabError("cannot tell which Debian mirror to use; set KMODLAB_MIRROR to its address")
    return found[1]


def sources(kernel: Kernel, main: str, security: str) -> tuple[str, ...]:
    """The sources.list lines of a kernel's suites. Debian's keyring is named: no other signature will do."""
    lines = []
    expired = " check-valid-until=no" if kernel.kernel_archived else ""
    for suite in kernel.kernel_suites:
        mirror = kernel.kernel_mirror or (security if suite.endswith("-security") else main)
        lines.append(f"deb [signed-by={KEYRING}{expired}] {mirror} {suite} main")
    return tuple(lines)


def resolve(chosen: list[Kernel], *, refresh: bool = False) -> dict[str, Resolved | LabError]:
    """Ask the archive which version each kernel is today, each distinct set of suites once and in parallel.

    A kernel that cannot be resolved has its LabError as value, so that the others still run.
    """
    main, security = mirrors()

    def one(kernel: Kernel) -> Resolved | LabError:
        try:
            return _resolve(kernel, sources(kernel, main, security), refresh)
        except LabError as problem:
            return problem

    groups: dict[tuple[str, ...], list[Kernel]] = {}
    for kernel in chosen:
        groups.setdefault((kernel.kernel_arch, *sources(kernel, main, security)), []).append(kernel)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        batches = pool.map(lambda group: [(k.id, one(k)) for k in group], groups.values())
    found = dict(pair for batch in batches for pair in batch)
    return {kernel.id: found[kernel.id] for kernel in chosen}


def _resolve(kernel: Kernel, lines: tuple[str, ...], refresh: bool) -> Resolved:
    config = [kernel.config_path] if kernel.kernel_config else []
    answer = cache_dir() / "resolved" / f"{kernel.id}-{digest(kernel.model_dump_json(), *lines, *config)}.json"
    earlier = Resolved.model_validate_json(answer.read_text()) if answer.exists() else None
    if earlier and not refresh and time.time() - answer.stat().st_mtime < FRESH_SECONDS:
        return earlier
    try:
        resolved = _ask_archive(kernel, lines)
    except UnreachableError:
        if earlier:
            return earlier.model_copy(update={"stale": True})
        raise
    except LabError as problem:
        if earlier:
            raise LabError(f"{problem} (it had {earlier.version} when it was asked before)") from problem
        raise
    answer.parent.mkdir(exist_ok=True)
    write_aside(answer, resolved.model_dump_json())
    return resolved


def _ask_archive(kernel: Kernel, lines: tuple[str, ...]) -> Resolved:
    apt = _Apt(DEBIAN_ARCH[kernel.kernel_arch], lines)
    apt.update(kernel)
    if kernel.kernel_source:
        return _newest_source(kernel, apt.show(kernel.kernel_source), lines)
    image = f"linux-image-{kernel.kernel_package}"
    for package in apt.show(image):
        version = package.get("Version", "")
        found = re.search(rf"linux-image-(\S+) \(= {re.escape(version)}\)", package.get("Depends", ""))
        if version.startswith(f"{kernel.kernel_line}.") and found:
            headers = apt.show(f"linux-headers-{found[1]}")
            if any(each.get("Version") == version for each in headers):
                return Resolved(kernel=kernel, release=found[1], version=version, sources=lines)
    suites = " ".join(kernel.kernel_suites)
    raise LabError(
        f"kernel {kernel.id}: no {image} {kernel.kernel_line}.* with its headers in {suites}; "
        f"mend its entry in inventories/matrix/hosts.yml"
    )


def lists(resolved: Resolved, arch: str) -> Path:
    """The folder of apt's lists of a kernel's suites, as they were fetched last; empty where they were not."""
    return _Apt(DEBIAN_ARCH[arch], resolved.sources).folder / "state/lists"


def download(resolved: Resolved, packages: Iterable[str], folder: Path, *, arch: str = "") -> list[Path]:
    """Put packages of a kernel's suites into a folder: the newest, or NAME=VERSION, of an architecture (this machine's own).

    Their signatures are checked as ever. LabError where the archive has one of them not, or cannot be reached.
    """
    return _Apt(DEBIAN_ARCH[arch or native_arch()], resolved.sources).download(packages, folder, resolved.kernel)


def download_kernel(resolved: Resolved, folder: Path) -> list[Path]:
    """Put a kernel's packages into a folder: its image, and what it needs of its own version.

    Until 7.2 Debian's linux-image-RELEASE holds kernel and modules; since 7.3 it only depends on the packages that do.
    """
    apt = _Apt(DEBIAN_ARCH[resolved.kernel.kernel_arch], resolved.sources)
    wanted = [f"linux-image-{resolved.release}"]
    for name in wanted:  # which grows meanwhile
        shown = next((each for each in apt.show(name) if each.get("Version") == resolved.version), {})
        needed = re.findall(rf"([^\s,]+) \(= {re.escape(resolved.version)}\)", shown.get("Depends", ""))
        wanted += [each for each in needed if each not in wanted]
    return apt.download([f"{name}={resolved.version}" for name in wanted], folder, resolved.kernel)


def _newest_source(kernel: Kernel, packages: list[dict[str, str]], lines: tuple[str, ...]) -> Resolved:
    """A kernel that the lab builds itself; its version names the source's and the configuration that it is built of."""
    versions = [version for each in packages if (version := each.get("Version", "")).startswith(f"{kernel.kernel_line}.")]
    if not versions:
        raise LabError(
            f"kernel {kernel.id}: no {kernel.kernel_source} {kernel.kernel_line}.* in {' '.join(kernel.kernel_suites)}; "
            f"mend its entry in inventories/matrix/hosts.yml"
        )
    upstream = versions[0].rpartition("-")[0]
    return Resolved(
        kernel=kernel,
        release=f"{upstream}-{kernel.kernel_package}",
        version=f"{versions[0]}+kmodlab{digest(kernel.config_path, length=8)}",
        sources=lines,
    )


class _Apt:
    """apt with its lists in a folder of kmodlab's own, for one architecture and one set of sources."""

    def __init__(self, arch: str, lines: tuple[str, ...]) -> None:
        self.folder = cache_dir() / "apt" / digest(arch, *lines)
        for part in ("state/lists/partial", "cache/archives/partial", "none"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        write_aside(self.folder / "sources.list", "".join(f"{line}\n" for line in lines))
        settings = {
            "Dir::State": self.folder / "state",
            "Dir::State::status": "/dev/null",
            "Dir::Cache": self.folder / "cache",
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "-",
            # This file is read before the machine's own settings, which would outweigh it: so they are not read.
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": self.folder / "none",
            "Dir::Etc::trusted": "/dev/null",
            "Dir::Etc::trustedparts": self.folder / "none",
            "APT::Architecture": arch,
            "APT::Architectures::": arch,
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        }
        conf = "".join(f'{key} "{value}";\n' for key, value in settings.items())
        own = "".join(f"{line}\n" for line in (*apt_settings(), *SECURE))
        write_aside(self.folder / "apt.conf", f"#clear APT::Architectures;\n#clear APT::Update;\n{conf}{own}")

    def _run(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "APT_CONFIG": str(self.folder / "apt.conf"), "LC_ALL": "C.UTF-8"}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=cwd)

    def update(self, kernel: Kernel) -> None:
        if not KEYRING.exists():
            raise LabError(
                f"{KEYRING} is missing: install debian-archive-keyring; packages are never taken without their signature"
            )
        with locked(
            f"apt-{self.folder.name}", wait=UPDATE_LIMIT, busy=f"kernel {kernel.id}: another kmodlab is asking the archive"
        ):
            answer = self._run("apt-get", "update", "-q", "--error-on=any")
        if answer.returncode:
            problems = [line for line in answer.stderr.splitlines() if line.startswith("E:")] or [answer.stderr.strip()]
            raise UnreachableError(
                f"kernel {kernel.id}: the archive cannot be read: {problems[0]}; check the network, or set KMODLAB_MIRROR"
            )

    def show(self, package: str) -> list[dict[str, str]]:
        """The versions of a package, newest first, each as a dictionary of its fields."""
        answer = self._run("apt-cache", "show", "--all-versions", package)
        versions = []
        for block in answer.stdout.strip().split("\n\n"):
            fields = (line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(" "))
            versions.append({pair[0]: pair[1] for pair in fields})
        return versions

    def download(self, packages: Iterable[str], folder: Path, kernel: Kernel) -> list[Path]:
        """Put packages, NAME or NAME=VERSION, into an empty folder. The lists are fetched again only where they are too old."""
        folder.mkdir(exist_ok=True)
        command = ("apt-get", "download", "-q", *packages)
        answer = self._run(*command, cwd=folder)
        if answer.returncode:
            self.update(kernel)
            answer = self._run(*command, cwd=folder)
        if answer.returncode:
            errors = [line for line in answer.stderr.splitlines() if line.startswith("E:")] or ["no word"]
            raise LabError(f"packages cannot be downloaded: {errors[0]}; run again with REFRESH=1, or check the network")
        return sorted(folder.glob("*.deb"))
