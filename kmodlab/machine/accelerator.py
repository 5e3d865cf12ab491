"""KVM or emulation, decided by booting a probe: /dev/kvm may open, and still not run a distribution's kernel."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from threading import Timer
from typing import Literal

from kmodlab.debian.roots import BootImage
from kmodlab.ground.cache import cache_dir, digest, locked
from kmodlab.ground.files import write_aside
from kmodlab.machine.qemu import Handed, hold, qemu_version
from kmodlab.plan.kernels import Kernel, native_arch

PROBE_LIMIT = 8.0
"""Seconds in which KVM must bring the kernel up to its init; it needs one or two."""


def accelerator(kernel: Kernel, image: BootImage) -> Literal["kvm", "tcg"]:
    """How to run a kernel on this machine; the probe's answer is cached for this host kernel, processor and QEMU."""
    if os.environ.get("KMODLAB_ACCEL") in ("kvm", "tcg"):
        return "kvm" if os.environ["KMODLAB_ACCEL"] == "kvm" else "tcg"
    if kernel.kernel_arch != native_arch() or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    key = digest(platform.release(), _processor(), qemu_version(kernel.vm_qemu))
    answer = cache_dir() / f"accelerator-{key}"
    with locked(answer.name, wait=60, busy="another kmodlab has been trying KVM for a minute"):
        if not answer.exists():
            write_aside(answer, "kvm" if _probe(kernel, image) else "tcg")
    return "kvm" if answer.read_text() == "kvm" else "tcg"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line for line in lines if line.startswith(("model name", "CPU part"))), "")


def _probe(kernel: Kernel, image: BootImage) -> bool:
    """Boot the kernel under KVM without a root: our initramfs says so on the console and powers off."""
    with Handed() as handed:
        command = [
            *(
                *hold(kernel.vm_qemu, kernel.id, "kvm"),
                "-machine",
                kernel.vm_machine,
                "-accel",
                "kvm",
                "-cpu",
                "host",
                "-m",
                "256",
            ),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"),
            *("-kernel", handed.name(image.kernel), "-initrd", handed.name(image.initrd)),
            *("-append", f"console={kernel.vm_console} kmodlab.probe panic=-1"),
        ]
        qemu = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=handed.files
        )
    with qemu:
        limit = Timer(PROBE_LIMIT, qemu.kill)
        limit.start()
        try:
            assert qemu.stdout
            # Where KVM cannot go on, QEMU says so and then waits for a debugger for ever.
            said = next((line for line in qemu.stdout if b"kmodlab: probe ok" in line or b"KVM internal error" in line), b"")
        finally:
            limit.cancel()
            qemu.kill()
    return b"probe ok" in said
