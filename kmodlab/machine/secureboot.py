"""A machine that refuses: UEFI Secure Boot with keys of the lab's own, so that its kernel is locked down.

The firmware's `db` holds the certificate of the kernel's key, and those of keys whose modules are to be trusted.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kmodlab.debian.roots import BootImage
from kmodlab.ground.cache import cache_dir, digest, filled, locked
from kmodlab.ground.errors import LabError
from kmodlab.ground.process import SHORT
from kmodlab.machine.firmware import OVMF, Build, Firmware
from kmodlab.plan.kernels import Kernel
from kmodlab.sign import keys


@dataclass(frozen=True)
class Platform:
    """An architecture's machine with Secure Boot."""

    build: Build
    machine: str
    """What QEMU's machine type needs for it, beside what the inventory says."""
    cpus: int | None = None
    """None: as many as the inventory says."""


PLATFORMS = {
    # System management mode guards the variables, as on a real machine. One processor: under emulation on a busy machine, a
    # second one that answers a system management interrupt too late was seen to crash the booting kernel with a double fault,
    # in two boots of ten.
    "x86_64": Platform(
        Build(
            "ovmf",
            Path("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"),
            OVMF.template,
            ("-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1"),
        ),
        ",smm=on",
        cpus=1,
    ),
    # Nothing guards the variables here but the kernel. The package's empty variable store is one that no tool can fill. With ACPI
    # the kernel would call the machine's GPIO lines by other names than without firmware.
    "arm64": Platform(
        Build("qemu-efi-aarch64", Path("/usr/share/AAVMF/AAVMF_CODE.fd"), Path("/usr/share/AAVMF/AAVMF_VARS.ms.fd")),
        ",acpi=off",
    ),
}


def secure_kernel(kernel: Kernel) -> Kernel:
    """The same kernel on a machine with Secure Boot. Raises LabError where that cannot be."""
    platform = PLATFORMS.get(kernel.kernel_arch)
    if not platform:
        raise LabError(
            f"kernel {kernel.id}: Secure Boot is for {', '.join(PLATFORMS)} kernels only", hint="leave it out of KERNELS"
        )
    platform.build.need()
    machine = {"vm_machine": f"{kernel.vm_machine}{platform.machine}", "vm_cpus": platform.cpus or kernel.vm_cpus}
    return kernel.model_copy(update=machine)


def secure_firmware(kernel: Kernel, trusted: Sequence[Path], forbidden: Sequence[str | Path] = ()) -> Firmware:
    """Firmware that starts what the lab's key for kernels signed, trusts certificates, and forbids (dbx) files or keys."""
    own = keys.kernel_key().certificate
    return Firmware(PLATFORMS[kernel.kernel_arch].build, db=(own, *trusted), dbx=tuple(forbidden), platform=own)


def signed_image(image: BootImage) -> BootImage:
    """A boot image whose kernel carries the lab's signature too, made when it is not cached. Raises LabError."""
    key = keys.kernel_key()
    target = cache_dir() / "images" / f"{image.folder.name}-{digest(key.certificate)}"
    with locked(target.name, wait=120, busy=f"another kmodlab is signing {image.kernel}"):
        if not target.exists():
            with filled(target) as folder:
                for file in image.folder.iterdir():
                    if file.name != image.kernel.name:
                        (folder / file.name).hardlink_to(file)
                _sbsign(image.kernel, folder / image.kernel.name, key)
    return BootImage(target)


def _sbsign(kernel: Path, signed: Path, key: keys.SigningKey) -> None:
    command = ["sbsign", "--key", str(key.private), "--cert", str(key.certificate), "--output", str(signed), str(kernel)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SHORT)
    except FileNotFoundError as problem:
        raise LabError("sbsign is missing: install the package sbsigntool") from problem
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or ["no word"])[-1]
        raise LabError(f"sbsign cannot sign {kernel}: {last}")
