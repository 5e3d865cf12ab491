"""The machine and the person at its keyboard: `keyboard.py start FOLDER`, `keyboard.py confirm FOLDER REQUEST PASSWORD`."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from kmodlab.build import kbuild
from kmodlab.build.modules import discover
from kmodlab.build.trees import copied
from kmodlab.debian import roots
from kmodlab.debian.archive import Resolved, download, resolve
from kmodlab.ground.cache import REPOSITORY
from kmodlab.ground.errors import LabError
from kmodlab.machine.boot_keyboard import Person, shim_vm
from kmodlab.machine.debian_host import machine
from kmodlab.machine.vm import Vm
from kmodlab.plan.kernels import default_fleet, load_inventory, select

KERNEL = "6.12-x86_64"
MODULES = ("hello-2", "startstop")
LACKING = ("sudo", "openssl")
"""Packages that the lab's machine has not, and a seat of a class has."""
OFF_LIMIT = 30.0
EFIVARS = "modprobe -q efivarfs; busybox mount -t efivarfs efivarfs /sys/firmware/efi/efivars"
"""What every distribution's init does, and the lab's does not."""
SEAT = "dpkg --install /run/built/*.deb && useradd --create-home alice"
"""A student, and what her machine had before anybody made a seat of it."""


def start(folder: str) -> None:
    vm = shim_vm(machine(KERNEL, Path(folder)))
    vm.power_on()
    vm.await_ready()
    _ssh(vm, f"{EFIVARS} && tar -x -C /run", _unsigned())
    _ssh(vm, SEAT)


def confirm(folder: str, request: str, password: str) -> None:
    """Reboot, play the person, and let the machine come up. As its root is in memory, modules and key are kept meanwhile."""
    vm = shim_vm(machine(KERNEL, Path(folder)))
    kept = _ssh(vm, "tar -c -C / run/built var/lib/kmodlab")
    vm.ssh("sync; busybox poweroff -f")
    vm.await_off(OFF_LIMIT)
    person = Person(vm, seen=vm.console.stat().st_size)
    vm.power_on()
    person.confirm(request, password)
    vm.power_on()
    vm.await_ready()
    _ssh(vm, f"{EFIVARS} && tar -x -C /", kept)
    _ssh(vm, SEAT)


def _ssh(vm: Vm, script: str, stdin: bytes = b"") -> bytes:
    command = ["ssh", "-F", str(vm.ssh_config), vm.kernel.id, "--", script]
    answer = subprocess.run(command, input=stdin, capture_output=True, timeout=120, check=False)
    if answer.returncode:
        raise LabError(f"{script}: {answer.stderr.decode(errors='replace').strip()}")
    return answer.stdout


def _unsigned() -> bytes:
    """The modules as they were built, what a student builds, and the packages that the machine lacks, in a tar."""
    (kernel,) = select([KERNEL], load_inventory(), default_fleet())
    resolved = resolve([kernel])[kernel.id]
    if not isinstance(resolved, Resolved):
        raise resolved
    root, key = roots.build_root(resolved), roots.image_key(resolved, "build")
    sources = [each for each in discover(copied(REPOSITORY / "examples")) if each.name in MODULES]
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for result in kbuild.build(root, key, resolved.release, sources).values():
            tar.add(result.ko, arcname=f"built/{result.ko.name}")
        for name in ("Makefile", "hello-1.c"):
            tar.add(REPOSITORY / "examples" / name, arcname=f"built/{name}")
        with tempfile.TemporaryDirectory() as folder:
            for package in download(resolved, LACKING, Path(folder)):
                tar.add(package, arcname=f"built/{package.name}")
    return buffer.getvalue()


if __name__ == "__main__":
    work: dict[str, Callable[..., None]] = {"start": start, "confirm": confirm}
    try:
        work[sys.argv[1]](*sys.argv[2:])
    except LabError as problem:
        sys.exit(f"enrolment: {problem}")
