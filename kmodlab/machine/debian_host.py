"""An ordinary Debian host as a VM, to try the roles for real machines on: its compiler and headers are in its own root."""

from __future__ import annotations

from pathlib import Path

from kmodlab.debian.archive import resolve
from kmodlab.debian.roots import Host, boot_image
from kmodlab.ground.errors import LabError
from kmodlab.machine.vm import Vm
from kmodlab.plan.kernels import default_fleet, load_inventory, select

MEMORY = 2048
"""MiB: it compiles, and its files are in memory."""


def machine(word: str, folder: Path, kind: Host = "machine", *, memory: int = MEMORY, disk: Path | None = None) -> Vm:
    """The host that runs kernel `word` (as KERNELS names one), its state in `folder`.

    A `systemd` is one whose services and timers run. `disk` is a file that it has as its second drive, read-only; one that never
    changes, because a snapshot knows it by its name.

    Its image is made when it is missing. LabError for an unknown kernel or one that cannot be had.
    """
    (kernel,) = select([word], load_inventory(), default_fleet())
    resolved = resolve([kernel])[kernel.id]
    if isinstance(resolved, LabError):
        raise resolved
    folder.mkdir(parents=True, exist_ok=True)
    larger = kernel.model_copy(update={"vm_memory": memory})
    return Vm(larger, boot_image(resolved, kind), folder, folder / "console.log", disk=disk)
