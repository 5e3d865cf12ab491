"""The UEFI firmware of a VM, and the variables it starts with: whose signatures it trusts, and what it forbids.

A distribution's kernel trusts for its modules what the firmware's `db` trusts; so that is how it knows the lab's key.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from kmodlab.ground.cache import digest
from kmodlab.ground.errors import LabError
from kmodlab.ground.process import SHORT
from kmodlab.plan.kernels import Kernel

VARIABLES = "variables.fd"
"""A VM's own variable store, in its folder."""
TOOL = Path(sys.executable).parent / "virt-fw-vars"
OWNER = "6a1f6c4e-5d0b-4c39-9c5e-2f7d3a3a5b10"
"""The lab's own GUID, which signs as owner of its entries."""


@dataclass(frozen=True)
class Build:
    """Firmware as a package ships it."""

    package: str
    code: Path
    template: Path
    """Of the variable store."""
    arguments: tuple[str, ...] = ()
    """What QEMU has to be told for it."""

    def need(self) -> None:
        """LabError where a file of it is missing."""
        for file in (self.code, self.template):
            if not file.exists():
                raise LabError(f"{file} is missing: install the package {self.package}")


OVMF = Build("ovmf", Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd"))


@dataclass(frozen=True)
class Firmware:
    """A build of it, and what its variables say before the first boot."""

    build: Build
    db: tuple[Path, ...] = ()
    """Certificates (PEM or DER) that are trusted."""
    dbx: tuple[str | Path, ...] = ()
    """What is forbidden all the same: SHA-256 (hexadecimal) of files, and certificates."""
    vendors: tuple[str, ...] = ()
    """Those whose well-known certificates are in `db`, by virt-firmware's names: `ms-uefi`."""
    platform: Path | None = None
    """The platform's and key exchange key's certificate. Secure Boot is on where there is one, and off where not."""

    @property
    def key(self) -> str:
        """A content key of all of it."""
        return digest(str(self.build), *(part for entry in self._entries() for part in entry))

    def arguments(self, folder: Path, saved: Path | None = None) -> list[str]:
        """QEMU's arguments, where it runs in the folder; writes the VM's own variable store there, or takes a saved one. Raises
        LabError.
        """
        self.build.need()
        store = folder / VARIABLES
        if not saved:
            self._enrol(store)
        else:
            shutil.copyfile(saved, store)
        return [
            *("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={self.build.code}"),
            *("-drive", f"if=pflash,format=raw,unit=1,file={VARIABLES}"),
            *self.build.arguments,
        ]

    def _entries(self) -> list[tuple[str, str | Path]]:
        """What is put into which variable, by virt-fw-vars' options."""
        return [
            *((option, self.platform) for option in ("--set-pk", "--add-kek") if self.platform),
            *(("--add-db", trusted) for trusted in self.db),
            *(("--add-dbx-cert" if isinstance(each, Path) else "--add-dbx-hash", each) for each in self.dbx),
            *(("--distro-keys", vendor) for vendor in self.vendors),
        ]

    def _enrol(self, store: Path) -> None:
        entries = self._entries()
        if not entries:
            shutil.copyfile(self.build.template, store)
            return
        # Some packages' template belongs to somebody already.
        options = ["--sb", *(word for name in ("PK", "KEK", "db", "dbx") for word in ("--delete", name))] if self.platform else []
        for option, value in entries:
            options += [option, str(value)] if option == "--distro-keys" else [option, OWNER, str(value)]
        command = [str(TOOL), "--input", str(self.build.template), "--output", str(store), *options]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SHORT)
        except FileNotFoundError as problem:
            raise LabError(f"{TOOL} is missing: it comes with virt-firmware", hint="install kmodlab anew") from problem
        if answer.returncode:
            raise LabError(f"virt-fw-vars cannot enrol: {(answer.stderr.strip().splitlines() or ['no word'])[-1]}")


def ordinary(kernel: Kernel, certificate: Path | None) -> Firmware | None:
    """The firmware of a kernel's machine as the inventory has it, Secure Boot off; None where QEMU starts the kernel itself."""
    if kernel.vm_firmware == "none":
        return None
    return Firmware(OVMF, db=(certificate,) if certificate else ())
