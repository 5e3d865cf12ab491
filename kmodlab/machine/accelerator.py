"""KVM or emulation, decided by booting a probe: /dev/kvm may open, and still not run a distribution's kernel."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path
from threading import Event, Timer
from typing import Literal

from kmodlab.debian.roots import BootImage
from kmodlab.ground.cache import cache_dir, digest, locked
from kmodlab.ground.files import write_aside
from kmodlab.machine.qemu import Handed, hold, qemu_version
from kmodlab.plan.kernels import Kernel, native_arch

PROBE_LIMIT = 8.0
"""Seconds in which KVM must bring the kernel up to its init; it needs one or two."""
SLOW_FOR = 3600.0
"""Seconds for which a probe that came to no end counts: a busy machine is asked again."""
ENDS = {b"kmodlab: probe ok": "kvm", b"KVM internal error": "tcg"}
"""What decides a probe, by what the kernel or QEMU says. Where KVM cannot go on, QEMU waits for a debugger for ever."""
SLOW = "slow"
"""The answer of a probe in which neither was said in time."""


def accelerator(kernel: Kernel, image: BootImage) -> Literal["kvm", "tcg"]:
    """How to run a kernel on this machine: as KMODLAB_ACCEL says (kvm or tcg), else as a probe does, whose answer is cached for
    this host kernel, processor and QEMU.
    """
    if os.environ.get("KMODLAB_ACCEL") in ("kvm", "tcg"):
        return "kvm" if os.environ["KMODLAB_ACCEL"] == "kvm" else "tcg"
    if kernel.kernel_arch != native_arch() or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    key = digest(platform.release(), _processor(), qemu_version(kernel.vm_qemu))
    answer = cache_dir() / f"accelerator-{key}"
    with locked(answer.name, wait=60, busy="another kmodlab has been trying KVM for a minute"):
        if not _known(answer):
            write_aside(answer, _probe(kernel, image))
    return "kvm" if answer.read_text() == "kvm" else "tcg"


def _known(answer: Path) -> bool:
    if not answer.exists():
        return False
    return answer.read_text() != SLOW or time.time() - answer.stat().st_mtime < SLOW_FOR


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line for line in lines if line.startswith(("model name", "CPU part"))), "")


def _probe(kernel: Kernel, image: BootImage) -> str:
    """Boot the kernel under KVM without a root: our initramfs says so on the console and powers off."""
    with Handed() as handed:
        command = [
            *hold(kernel.vm_qemu, kernel.id, "kvm"),
            *("-machine", kernel.vm_machine, "-accel", "kvm", "-cpu", "host", "-m", "256"),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"),
            *("-kernel", handed.name(image.kernel), "-initrd", handed.name(image.initrd)),
            *("-append", f"console={kernel.vm_console} kmodlab.probe panic=-1"),
        ]
        qemu = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=handed.files
        )
    late = Event()

    def end() -> None:
        late.set()
        qemu.kill()

    limit = Timer(PROBE_LIMIT, end)
    with qemu:
        limit.start()
        try:
            assert qemu.stdout
            said = (answer for line in qemu.stdout for words, answer in ENDS.items() if words in line)
            found = next(said, "")
            # One that ends without a word cannot run it at all.
            return found or (SLOW if late.is_set() else "tcg")
        finally:
            limit.cancel()
            qemu.kill()
