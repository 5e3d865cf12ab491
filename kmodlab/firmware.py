"""The firmware of a VM. UEFI's `db` holds the lab's certificate, which is how a distribution's kernel can know our signature."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from kmodlab.errors import LabError
from kmodlab.kernels import Kernel

OVMF = Path("/usr/share/OVMF")
VARIABLES = "variables.fd"
OWNER = "6a1f6c4e-5d0b-4c39-9c5e-2f7d3a3a5b10"
"""The lab's own GUID, which signs as owner of its entry in `db`."""


def arguments(kernel: Kernel, folder: Path, certificate: Path | None, saved: Path | None) -> list[str]:
    """QEMU's arguments for the firmware; writes this VM's own variable store into its folder.

    `saved`: the variable store of a snapshot, used as it was.
    """
    if kernel.vm_firmware == "none":
        return []
    code, template = OVMF / "OVMF_CODE_4M.fd", OVMF / "OVMF_VARS_4M.fd"
    for file in (code, template):
        if not file.exists():
            raise LabError(f"kernel {kernel.id}: {file} is missing: install the package ovmf")
    store = folder / VARIABLES
    if saved:
        shutil.copyfile(saved, store)
    else:
        _enrol(template, store, certificate)
    return [
        *("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}"),
        *("-drive", f"if=pflash,format=raw,unit=1,file={store}"),
    ]


def _enrol(template: Path, store: Path, certificate: Path | None) -> None:
    if not certificate:
        shutil.copyfile(template, store)
        return
    tool = Path(sys.executable).parent / "virt-fw-vars"
    command = [str(tool), "--input", str(template), "--output", str(store), "--add-db", OWNER, str(certificate)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise LabError(f"virt-fw-vars cannot enrol {certificate}: {answer.stderr.strip().splitlines()[-1:]}")
