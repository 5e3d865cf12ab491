"""A machine that refuses: UEFI Secure Boot with keys of the lab's own, so that its kernel is locked down.

The firmware's `db` holds the certificate of the kernel's key, and those of keys whose modules are to be trusted.
System management mode guards the variables, as on a real machine.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from kmodlab import signing
from kmodlab.cache import cache_dir, digest, filled, locked
from kmodlab.errors import LabError
from kmodlab.firmware import OVMF, OWNER, VARIABLES
from kmodlab.images import BootImage
from kmodlab.kernels import Kernel
from kmodlab.vm import Vm, VmState

CODE = OVMF / "OVMF_CODE_4M.secboot.fd"
TEMPLATE = OVMF / "OVMF_VARS_4M.fd"


@dataclass(frozen=True)
class SecureVm(Vm):
    """A VM of a kernel made for it by `secure_kernel`, with an image signed by `signed_image`."""

    trusted: tuple[Path, ...] = ()
    """Certificates (PEM or DER) whose keys' modules the kernel takes, beside `certificate`."""
    refused: tuple[str, ...] = ()
    """SHA-256 (hexadecimal) of module files that the firmware's `dbx` forbids."""

    def _snapshot(self) -> Path:
        snapshot = super()._snapshot()
        return snapshot.with_name(f"{snapshot.name}-{digest(*self.trusted, *self.refused)}")

    def _runtime_arguments(self) -> list[str]:
        return [
            *super()._runtime_arguments(),
            *("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={CODE}"),
            *("-drive", f"if=pflash,format=raw,unit=1,file={self.folder / VARIABLES}"),
            *("-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1"),
        ]

    def _launch(self, *, restored: bool, extra: tuple[str, ...] = (), variables: Path | None = None) -> VmState:
        if variables:
            shutil.copyfile(variables, self.folder / VARIABLES)
        else:
            self._enrol()
        return super()._launch(restored=restored, extra=extra)

    def _enrol(self) -> None:
        kernel = str(signing.kernel_key().certificate)
        own = [self.certificate] if self.certificate else []
        options = ["--set-pk", OWNER, kernel, "--add-kek", OWNER, kernel, "--add-db", OWNER, kernel, "--sb"]
        for certificate in (*own, *self.trusted):
            options += ["--add-db", OWNER, str(certificate)]
        for forbidden in self.refused:
            options += ["--add-dbx-hash", OWNER, forbidden]
        tool = Path(sys.executable).parent / "virt-fw-vars"
        _run([str(tool), "--input", str(TEMPLATE), "--output", str(self.folder / VARIABLES), *options], "enrol")


def secure_kernel(kernel: Kernel) -> Kernel:
    """The same kernel on a machine with Secure Boot. Raises LabError where that cannot be."""
    if kernel.kernel_arch != "x86_64":
        raise LabError(f"kernel {kernel.id}: Secure Boot is for x86_64 kernels only; leave it out of KERNELS")
    for file in (CODE, TEMPLATE):
        if not file.exists():
            raise LabError(f"kernel {kernel.id}: {file} is missing: install the package ovmf")
    # One processor: under emulation on a busy machine, a second one that answers a system management interrupt too late
    # was seen to crash the booting kernel with a double fault, in two boots of ten.
    machine = {"vm_machine": f"{kernel.vm_machine},smm=on", "vm_firmware": "none", "vm_cpus": 1}
    return kernel.model_copy(update=machine)


def signed_image(image: BootImage) -> BootImage:
    """A boot image whose kernel carries the lab's signature too, made when it is not cached. Raises LabError."""
    key = signing.kernel_key()
    target = cache_dir() / "images" / f"{image.folder.name}-{digest(key.certificate)}"
    with locked(target.name, wait=120, busy=f"another kmodlab is signing {image.kernel}"):
        if not target.exists():
            with filled(target) as folder:
                for file in image.folder.iterdir():
                    if file.name != image.kernel.name:
                        (folder / file.name).hardlink_to(file)
                output = str(folder / image.kernel.name)
                command = ["sbsign", "--key", str(key.private), "--cert", str(key.certificate)]
                _run([*command, "--output", output, str(image.kernel)], f"sign {image.kernel}")
    return BootImage(target)


def _run(command: list[str], what: str) -> None:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as problem:
        raise LabError(f"{command[0]} is missing: install sbsigntool, and run `make setup`") from problem
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or ["no word"])[-1]
        raise LabError(f"{Path(command[0]).name} cannot {what}: {last}")
