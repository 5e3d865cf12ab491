"""An ordinary Debian host as a VM, to try the roles for real machines on: its compiler and headers are in its own root."""

from __future__ import annotations

from pathlib import Path

from kmodlab.debian.archive import resolve
from kmodlab.debian.roots import boot_image
from kmodlab.ground.errors import LabError
from kmodlab.machine.vm import Vm
from kmodlab.plan.kernels import default_fleet, load_inventory, select

MEMORY = 2048
"""MiB: it compiles, and its files are in memory."""


def machine(word: str, folder: Path) -> Vm:
    """The host that runs kernel `word` (as KERNELS names one), its state in `folder`.

    Its image is made when it is missing. LabError for an unknown kernel or one that cannot be had.
    """
    (kernel,) = select([word], load_inventory(), default_fleet())
    resolved = resolve([kernel])[kernel.id]
    if isinstance(resolved, LabError):
        raise resolved
    folder.mkdir(parents=True, exist_ok=True)
    larger = kernel.model_copy(update={"vm_memory": MEMORY})
    return Vm(larger, boot_image(resolved, "machine"), folder, folder / "console.log")
